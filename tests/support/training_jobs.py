"""Training jobs over HTTP as tests follow them; the trainer stands in for minutes of training."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import support

TRAIN = f"{sys.executable} {Path(support.__file__).with_name('trainer.py')}"

JOBS = "/v1/training-jobs"


def follow(http: httpx.Client, job: str, last: int = 0) -> list[tuple[int, str, dict[str, Any]]]:
    """Its events (number, kind, data) until the server ends the stream."""
    answer = http.get(f"{JOBS}/{job}/events", headers={"Last-Event-ID": str(last)}, timeout=60)
    if answer.status_code == 204:
        return []
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


def wait_for(condition: Any, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.03)
