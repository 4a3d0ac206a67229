import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from support.corridor import Corridor, Forgetful, Learner, corridor_manifest

from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.evaluate import evaluate
from metalearn.evaluation.plots import captions
from metalearn.evaluation.report import Control, Gain, ManifestRef, MethodReport, Point, Rate, Report
from metalearn.evaluation.table import conclusions, print_report


def report_of(retrial: float = 0.9, **controls: float) -> Report:
    def interval(rate: float) -> tuple[float, float]:
        return max(0.0, rate - 0.05), min(1.0, rate + 0.05)

    def control(rate: float, real: float) -> Control:
        return Control(success=rate, ci95=interval(rate), n=100, instead_of=Rate(success=real, ci95=interval(real)))

    curve = tuple(Point(trials=t, success=rate, ci95=interval(rate)) for t, rate in enumerate((0.5, retrial)))
    gain = Gain(mean=retrial - 0.5, ci95=(retrial - 0.55, retrial - 0.45))
    given = {name: control(rate, 0.5 if name == "other_task_demo" else retrial) for name, rate in controls.items()}
    return Report(
        bundle="abc",
        manifest=ManifestRef(name="corridor", digest="0" * 64),
        n_tasks=100,
        n_episodes=100,
        seed=0,
        methods={"wtl": MethodReport(curve=curve, gain=gain)},
        controls=given,
        wall_s=1.0,
        created="2026-01-01T00:00:00+00:00",
    )


def test_json_has_the_keys_of_schema_1() -> None:
    report = evaluate({"wtl": Learner()}, Corridor(), corridor_manifest(), n_tasks=20, bundle="abc")
    value = json.loads(json.dumps(report.to_json()))
    keys = "schema bundle manifest n_tasks n_episodes seed methods controls wall_s created"
    assert list(value) == keys.split()
    assert value["schema"] == 1
    assert set(value["manifest"]) == {"name", "digest", "held_out"}
    assert set(value["methods"]["wtl"]) == {"curve", "gain", "given_first_failed"}
    assert set(value["methods"]["wtl"]["curve"][0]) == {"trials", "success", "ci95"}
    assert set(value["methods"]["wtl"]["gain"]) == {"mean", "ci95"}
    assert set(value["controls"]["flipped_reward"]) == {"success", "ci95", "n", "instead_of", "lost"}
    assert value["methods"]["expert"]["given_first_failed"] is None


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    report = report_of(other_task_trial=0.5)
    assert Report.read(report.write(tmp_path / "deep" / "report.json")) == report


def test_files_that_are_no_reports_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(InvalidConfig, match="no report at"):
        Report.read(path)
    path.write_text("[")
    with pytest.raises(InvalidConfig, match="report"):
        Report.read(path)
    path.write_text(json.dumps({**report_of().to_json(), "schema": 2}))
    with pytest.raises(InvalidConfig, match="schema: Input should be 1"):
        Report.read(path)


def test_clocks_are_no_part_of_the_result() -> None:
    assert report_of().same_result(report_of().model_copy(update={"wall_s": 9.0, "created": "later"}))
    assert not report_of(0.8).same_result(report_of(0.9))


def test_added_method_is_listed_first() -> None:
    method = report_of().methods["wtl"]
    assert list(report_of().with_method("other", method).methods) == ["other", "wtl"]
    assert list(report_of().with_method("wtl", method).methods) == ["wtl"]


def test_trying_helps_when_no_control_does_as_well() -> None:
    said = dict(conclusions(report_of(other_task_trial=0.5, same_demo_other_target=0.5, flipped_reward=0.1)))
    assert said == {"trying helps": "yes", "it heeds the score": "yes"}


def test_trying_does_not_help_when_the_trial_of_another_task_does_as_well() -> None:
    said = dict(conclusions(report_of(other_task_trial=0.86)))
    assert said["trying helps"] == "no: an attempt after another task's trial does as well"


def test_trying_is_not_shown_to_help_without_a_gain() -> None:
    assert dict(conclusions(report_of(0.52)))["trying helps"].startswith("not shown")


def test_control_without_its_counterpart_concludes_nothing() -> None:
    report = report_of(flipped_reward=0.1, other_task_trial=0.1)
    alone = {name: one.model_copy(update={"instead_of": None}) for name, one in report.controls.items()}
    said = dict(conclusions(report.model_copy(update={"controls": alone})))
    assert said["it heeds the score"].startswith("not known: a flipped score was not compared")
    assert said["trying helps"].startswith("not known: an attempt after another task's trial was not compared")


@pytest.mark.parametrize(("low", "verdict"), [(0.01, "yes"), (-0.01, "no: a flipped score does as well")])
def test_a_verdict_follows_the_paired_difference_where_there_is_one(low: float, verdict: str) -> None:
    report = report_of(flipped_reward=0.88)
    lost = Gain(mean=0.02, ci95=(low, 0.04))
    paired = {name: one.model_copy(update={"lost": lost}) for name, one in report.controls.items()}
    assert dict(conclusions(report.model_copy(update={"controls": paired})))["it heeds the score"] == verdict


def test_demo_of_another_task_that_does_as_well_shows_that_watching_does_not_help() -> None:
    assert dict(conclusions(report_of(other_task_demo=0.48)))["watching helps"].startswith("no")
    assert dict(conclusions(report_of(other_task_demo=0.2)))["watching helps"] == "yes"


def test_table_shows_figures_intervals_and_verdicts_within_80_columns() -> None:
    report = evaluate({"wtl": Learner(), "bc": Forgetful()}, Corridor(), corridor_manifest(trials=3), n_tasks=60)
    output = io.StringIO()
    print_report(report, Console(file=output, width=80))
    text = output.getvalue()
    for expected in ("bayes", "after another task's trial", "trying helps: yes", "94.0..100.0", "3 trials"):
        assert expected in text
    assert "…" not in text


def test_reports_without_returns_are_written_and_read_as_they_always_were() -> None:
    old = report_of().to_json()
    assert "returns" not in json.dumps(old)
    assert Report.from_json(old).methods["wtl"].returns is None


def test_table_and_headline_show_returns_where_they_were_measured() -> None:
    report = evaluate({"wtl": Learner()}, Corridor(), corridor_manifest(measure="return"), n_tasks=60)
    assert Report.from_json(report.to_json()) == report
    output = io.StringIO()
    print_report(report, Console(file=output, width=80))
    assert "Return of the attempt" in output.getvalue()
    assert "Mean return of the first attempt" in captions(report)[1]
