"""The smoke suite from end to end: slow, as it trains seven small policies."""

from pathlib import Path

import pytest

from metalearn.benchmark.page import write_page
from metalearn.benchmark.report import SuiteReport, read_report
from metalearn.benchmark.run import run_suite
from metalearn.benchmark.suites import Direct, Generalisation, Grid, Suite, find_suite
from metalearn.data.errors import InvalidConfig
from metalearn.training.collect import SerialCollector
from metalearn.training.events import Stopped

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TINY = find_suite("smoke").model_copy(
    update={
        "seeds": 1,
        "steps": 6,
        "test_tasks": 12,
        "train_tasks": 24,
        "grid": Grid(max_demos=1, max_trials=1, tasks=6),
        "direct": Direct(names=("search",), tasks=1, episodes=40),
        "generalisation": Generalisation(sizes=(8, 24), long_steps=1.5, tasks=6),
    }
)


class Stopper:
    """Stops at the n-th thing that is told."""

    def __init__(self, n: int | None = None) -> None:
        self.left, self.stages = n, []

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.stages.append(stage)
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Stopped("stopped")


def run(folder: Path, suite: Suite = TINY, stop_at: int | None = None, **asked: object) -> tuple[SuiteReport, Stopper]:
    stopper = Stopper(stop_at)
    report = run_suite(suite, folder / "work", folder / "out", collector=SerialCollector(), progress=stopper, **asked)
    return report, stopper


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SuiteReport, Stopper]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, *run(folder)


def test_a_suite_reports_everything_that_it_promises(whole: tuple[Path, SuiteReport, Stopper]) -> None:
    folder, report, _ = whole
    assert {"wtl", "trial-only", "replay", "random", "expert", "bayes"} == set(report.methods)
    assert {"other_task_trial", "same_demo_other_target", "other_task_demo"} <= set(report.controls)
    suite = report.suite
    assert suite.left_out == {}
    assert [(cell.demos, cell.trials) for cell in suite.grid] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert suite.tracks["reach-m2"].curve == report.methods["wtl"].curve
    assert suite.optimisers["search"].n_tasks == 1
    assert suite.generalisation is not None and suite.generalisation.after_long is not None
    assert [point.tasks for point in suite.generalisation.sizes] == [8, 24]
    assert suite.generalisation.steps[-1].step == suite.generalisation.after_long.steps == 9
    assert set(suite.comparisons) == {"trial-only", "replay"}
    assert suite.trained["wtl"].adaptation_ms is not None
    assert min(suite.trained["wtl"].train_cpu_s) > 0
    assert suite.speed["simulator_steps_per_s"] > suite.speed["collection_steps_per_s"]
    assert read_report(folder / "out" / "report.json") == report


def test_comparisons_are_differences_of_the_curves(whole: tuple[Path, SuiteReport, Stopper]) -> None:
    _, report, _ = whole
    for name, differences in report.suite.comparisons.items():
        pairs = zip(report.methods["wtl"].curve, report.methods[name].curve, strict=True)
        expected = [ours.success - theirs.success for ours, theirs in pairs]
        assert [one.mean for one in differences] == pytest.approx(expected)


def test_what_is_done_is_not_done_again(whole: tuple[Path, SuiteReport, Stopper]) -> None:
    folder, report, _ = whole
    again, stopper = run(folder, parts=("methods", "grid", "optimisers", "generalisation"))
    assert again.same_result(report)
    assert not {"wtl seed 0", "demonstrate", "grid, 0 demos"} & set(stopper.stages)


def test_a_run_that_is_stopped_again_and_again_finds_the_same(
    whole: tuple[Path, SuiteReport, Stopper], tmp_path: Path
) -> None:
    _, report, stopper = whole
    n_told = len(stopper.stages)
    for stop_at in (n_told // 7, n_told // 5, n_told // 4):
        with pytest.raises(Stopped):
            run(tmp_path, stop_at=stop_at)
    resumed, _ = run(tmp_path)
    assert resumed.same_result(report)
    assert resumed.timeless() != report.model_copy(update={"n_tasks": 1}).timeless()


def test_the_page_is_made_from_the_report_alone(whole: tuple[Path, SuiteReport, Stopper], tmp_path: Path) -> None:
    folder, report, _ = whole
    page = write_page(report, tmp_path)
    assert page.read_text() == (folder / "out" / "README.md").read_text()
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == ["curve.png", "evidence.png", "generalisation.png", "grid.png", "optimisers.png"]
    assert all(f"({name})" in page.read_text() for name in pictures)
    assert all(path.stat().st_size < 150_000 for path in tmp_path.glob("*.png"))


def test_a_method_that_fails_is_left_out_with_the_reason_and_the_others_go_on(
    whole: tuple[Path, SuiteReport, Stopper],
) -> None:
    folder, _, _ = whole
    strange = TINY.model_copy(update={"methods": ("wtl", "no-such-method", "replay")})
    report, _ = run(folder, strange, parts=("methods",))
    assert report.suite.left_out == {"no-such-method": "unknown method"}
    assert "replay" in report.methods


def test_a_folder_of_another_experiment_is_refused(whole: tuple[Path, SuiteReport, Stopper]) -> None:
    folder, _, _ = whole
    with pytest.raises(InvalidConfig, match="another version of smoke"):
        run(folder, TINY.model_copy(update={"steps": 8}))
