"""The event log of a run: what other processes read of it."""

import json
from pathlib import Path

from metalearn.config import EVENT_LOG
from metalearn.listeners.event_log import event_log
from metalearn.training.events import Event


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / EVENT_LOG).read_text().splitlines()]


def test_a_line_says_what_the_run_does_how_good_it_is_and_when_it_ends(tmp_path: Path) -> None:
    with event_log(tmp_path) as log:
        log(Event("train", 10, 100, loss=2.0, success=(0.25, 0.5, 0.75), ends_in_s=90.0))
    started, progress, finished = lines(tmp_path)
    assert (started["kind"], finished["kind"]) == ("started", "finished")
    assert progress | {"at": 0} == {
        "kind": "progress", "at": 0, "phase": "train", "done": 10, "total": 100, "loss": 2.0,
        "trial": 0.25, "retrial": 0.5, "success": [0.25, 0.5, 0.75], "ends_in_s": 90.0,
    }  # fmt: skip


def test_a_measurement_is_written_at_once_and_an_estimate_of_the_end_is_not(tmp_path: Path) -> None:
    with event_log(tmp_path) as log:
        for done in range(1, 10):
            log(Event("train", done, 100, ends_in_s=100.0 - done))
        log(Event("train", 10, 100, success=(0.5,)))
    assert [line["done"] for line in lines(tmp_path) if line["kind"] == "progress"] == [1, 10]
