import json
from pathlib import Path

import pytest

from metalearn.benchmark.page import HTML, PLOTS, page_text
from metalearn.benchmark.parts.grid import grid_manifest
from metalearn.benchmark.report import read_report
from metalearn.benchmark.store import accumulated_seconds, cached, locked, read_json, seconds_at, write_json
from metalearn.benchmark.suites import METHODS, SUITES, Grid, find_suite
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.manifest import load_manifest
from wtl.cli import main

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def test_a_step_is_made_once_and_again_when_what_it_was_made_from_changed(tmp_path: Path) -> None:
    made: list[str] = []

    def make() -> dict[str, object]:
        made.append("x")
        return {"n": len(made)}

    path = tmp_path / "deep" / "step.json"
    assert cached(path, "a", make)["n"] == cached(path, "a", make)["n"] == 1
    assert cached(path, "b", make)["n"] == 2


def test_a_file_that_was_cut_short_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    write_json(path, {"made_from": "a", "n": 1})
    path.write_text(path.read_text()[:10])
    assert read_json(path) is None
    assert cached(path, "a", lambda: {"n": 2})["n"] == 2
    assert [one.name for one in tmp_path.iterdir()] == ["step.json"]


def test_a_step_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, object]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "step.json", "a", fail)
    assert list(tmp_path.iterdir()) == []


def test_seconds_add_up_over_calls_even_where_one_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "wall_s.json"
    write_json(path, 100.0)
    with pytest.raises(KeyboardInterrupt), accumulated_seconds(path):
        raise KeyboardInterrupt
    assert 100 <= seconds_at(path) < 101


def test_seconds_are_those_of_the_clock_that_was_asked(tmp_path: Path) -> None:
    ticks = iter([1.0, 3.5, 10.0, 11.0])
    for _ in range(2):
        with accumulated_seconds(tmp_path / "cpu_s.json", lambda: next(ticks)):
            pass
    assert seconds_at(tmp_path / "cpu_s.json") == 3.5


OF_OTHER_KINDS = {"mirror", "asks", "ask-words"}
REPORTED = sorted(path.parent for path in RESULTS.glob("*/report.json") if path.parent.name not in OF_OTHER_KINDS)


@pytest.mark.parametrize("folder", REPORTED, ids=lambda one: one.name)
def test_every_committed_page_is_what_its_committed_report_says(folder: Path) -> None:
    drawn = [name for name in (*PLOTS, HTML) if (folder / name).exists()]
    assert (folder / "README.md").read_text() == page_text(read_report(folder / "report.json"), drawn)


def test_a_second_worker_waits_for_the_first(tmp_path: Path) -> None:
    class GaveUpError(Exception):
        pass

    def waiting() -> None:
        raise GaveUpError

    with locked(tmp_path, waiting), pytest.raises(GaveUpError), locked(tmp_path, waiting):
        pass
    with locked(tmp_path, waiting):
        pass


def test_rows_of_the_grid_differ_in_demonstrations_alone() -> None:
    manifest, grid = load_manifest("reach-m2"), Grid(tasks=100)
    one, three = (grid_manifest(manifest, grid, demos) for demos in (1, 3))
    assert (one.n_tasks, one.budget.trials, three.budget.demos) == (100, 5, 3)
    assert one == three.model_copy(update={"budget": one.budget})


def test_suites_name_methods_of_the_table_and_a_typo_gets_a_suggestion() -> None:
    assert all(set(suite.methods) <= set(METHODS) for suite in SUITES.values())
    with pytest.raises(InvalidConfig, match="did you mean reach-m2"):
        find_suite("reach_m2")


def test_smaller_suites_train_and_measure_less() -> None:
    smoke = find_suite("smoke")
    assert smoke.seeded_experiment(1).seed == 1
    assert (
        smoke.seeded_experiment(0).training.total_steps
        < find_suite("reach-m2").seeded_experiment(0).training.total_steps
    )
    assert smoke.load_manifest().n_tasks == smoke.test_tasks


def test_without_a_suite_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark"]) == 0
    assert "reach-m2" in capsys.readouterr().out


def test_mistakes_at_the_door_are_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "smoke", "--page", "--out", str(tmp_path)]) == 2
    assert "run the suite first" in capsys.readouterr().err
    (tmp_path / "report.json").write_text(json.dumps({"schema": 1}))
    assert main(["benchmark", "smoke", "--page", "--out", str(tmp_path)]) == 2
    work = ["--runs", str(tmp_path / "work"), "--out", str(tmp_path)]
    assert main(["benchmark", "smoke", "--part", "grit", *work]) == 2
    assert "unknown part 'grit'" in capsys.readouterr().err
    assert main(["benchmark", "smoke", "--methods", "wlt", *work]) == 2
    assert "unknown method 'wlt'" in capsys.readouterr().err
