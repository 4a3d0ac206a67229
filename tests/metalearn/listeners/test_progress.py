"""Progress on a terminal and in a log: nothing that was measured is lost, and a log is neither silent nor flooded."""

import io

import pytest
from rich.console import Console

from metalearn.listeners import progress
from metalearn.listeners.progress import ending_in_words, show_progress, success_in_words


def shown(*events: tuple[object, ...], terminal: bool) -> str:
    output = io.StringIO()
    with show_progress(Console(file=output, force_terminal=terminal, width=80)) as show:
        for event in events:
            show(*event)
    return output.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_finished_stage_is_a_line_with_what_was_measured(terminal: bool) -> None:
    text = shown(("train", 5, 10), ("train", 10, 10, "trial 50%"), terminal=terminal)
    assert "0 s  train        10/10  trial 50%\n" in text


def test_a_log_has_the_begin_the_measured_and_the_end_of_a_stage() -> None:
    steps = [("train", done, 100, "trial 50%" if done == 40 else "") for done in range(1, 101)]
    lines = shown(*steps, terminal=False).splitlines()
    assert [line.split()[3] for line in lines] == ["1/100", "40/100", "100/100"]


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_measured_and_when_it_ends_are_said(terminal: bool) -> None:
    measured = success_in_words((0.31, 0.654, 1.0))
    assert measured == "success 31 / 65 / 100% after 0-2 trials"
    text = shown(("train", 5, 10), ("train", 10, 10, measured, 300.0), terminal=terminal)
    assert f"train        10/10  {measured}  5 min left\n" in text


def test_what_was_measured_last_is_still_shown_beside_what_follows() -> None:
    text = shown(("train", 10, 10, "success 65%", 60.0), ("calibrate", 1, 2, "", 30.0), terminal=True)
    assert "success 65%" in text.split("calibrate")[-1]


def test_a_moving_estimate_alone_does_not_flood_a_log() -> None:
    text = shown(*(("train", done, 100, "", 100.0 - done) for done in range(1, 100)), terminal=False)
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (-3.0, "0 s left"), (42.4, "42 s left"), (600.0, "10 min left"), (7500.0, "2 h 5 min left")],
)
def test_the_time_left_is_in_words(seconds: float | None, words: str) -> None:
    assert ending_in_words(seconds) == words


def test_success_of_a_run_without_trials_is_after_none_and_unmeasured_success_is_nothing() -> None:
    assert (success_in_words((0.5,)), success_in_words(())) == ("success 50% after 0 trials", "")


def test_a_log_says_now_and_then_that_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    assert shown(*(("train", done, 100) for done in range(1, 4)), terminal=False).count("\n") == 3


def test_stages_take_turns_and_may_come_again() -> None:
    text = shown(("train", 5, 10), ("collect", 1, 1), ("train", 6, 10), ("collect", 1, 1), terminal=False)
    assert [line.split()[2] for line in text.splitlines()] == ["train", "collect", "collect"]
    assert shown(("train", 5, 10), ("collect", 1, 1), ("collect", 1, 1), terminal=True).count("collect      1/1") == 2
