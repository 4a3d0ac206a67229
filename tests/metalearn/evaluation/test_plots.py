from pathlib import Path
from typing import Any

import pytest
from support.corridor import Corridor, Forgetful, Learner, ShownCorridor, corridor_manifest

from metalearn.data.episode import Episode
from metalearn.evaluation.evaluate import evaluate, tell_stories
from metalearn.evaluation.plots import captions, draw_report
from metalearn.evaluation.report import Report

PNG = b"\x89PNG\r\n\x1a\n"


class DrawnCorridor(Corridor):
    def __init__(self) -> None:
        self.drawn: list[tuple[bool | None, int]] = []

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        self.drawn.append((episode.success, index))
        axes.plot(episode.observations[:, 0])


@pytest.fixture(scope="module")
def report() -> Report:
    return evaluate({"wtl": Learner(), "bc": Forgetful()}, Corridor(), corridor_manifest(), n_tasks=60)


def test_family_draws_three_tasks_and_the_demo_is_no_outcome(report: Report, tmp_path: Path) -> None:
    family = DrawnCorridor()
    stories = tell_stories(Learner(), family, corridor_manifest())
    path = draw_report(report, tmp_path / "runs" / "report.png", family, stories)
    assert path.read_bytes().startswith(PNG)
    expected = [(success, story.index) for story in stories for success in (None, False, True)]
    assert family.drawn == expected


def test_curve_alone_is_drawn_for_a_family_that_cannot_draw(report: Report, tmp_path: Path) -> None:
    stories = tell_stories(Learner(), Corridor(), corridor_manifest())
    assert draw_report(report, tmp_path / "report.png", Corridor(), stories).read_bytes().startswith(PNG)


def test_single_attempts_are_drawn_as_bars(tmp_path: Path) -> None:
    report = evaluate({"wtl": Learner()}, ShownCorridor(), corridor_manifest(trials=0), n_tasks=20)
    assert draw_report(report, tmp_path / "report.png").read_bytes().startswith(PNG)


def test_captions_say_the_figures(report: Report) -> None:
    headline, sentence = captions(report)
    assert headline == "Watch, try, learn: corridor"
    first = 100 * report.methods["wtl"].curve[0].success
    assert f"{first:.1f}% of 60 tasks; after one scored try, in 100.0%" in sentence
