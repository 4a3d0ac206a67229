"""Followers of a training's events: every event once, whatever happens on the way, and an end."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import support
from support.pointing import PointingRuntime, settings_in
from support.scripted import GONE, Reply, busy, scripted
from support.serving import served

from service.app import create_app
from service.client import AsyncClient, Client, ClientError, JobEvent
from service.client.event_stream import EventReader

TRAIN = f"{sys.executable} {Path(support.__file__).with_name('trainer.py')}"
STATE = {
    "id": "mine", "experiment": "reach-m2", "state": "running", "progress": None, "error": None, "model": None,
    "model_version": None, "created_at": "", "started_at": None, "finished_at": None,
}  # fmt: skip
JOB: Reply = (200, {"Content-Type": "application/json"}, json.dumps(STATE).encode())
Follow = Callable[..., list[JobEvent]]


def follow_blocking(url: str, **options: float) -> list[JobEvent]:
    with Client(url, api_key="wtl_k") as client:
        return list(client.job("mine").follow(**options))


def follow_awaiting(url: str, **options: float) -> list[JobEvent]:
    async def main() -> list[JobEvent]:
        async with AsyncClient(url, api_key="wtl_k") as client:
            return [event async for event in (await client.job("mine")).follow(**options)]

    return asyncio.run(main())


both = pytest.mark.parametrize("follow", [follow_blocking, follow_awaiting])


def events(*numbers: int, last: str = "running", cut: bool = False) -> Reply:
    """A stream with these events, the newest of which says `last`."""
    text = ": here\n\n"
    for number in numbers:
        state = last if number == numbers[-1] else "running"
        data = json.dumps({"at": "now", "state": state})
        text += f"event: state\ndata: {data}\nid: {number}\n\n"
    body = text.encode() + (b"event: state\ndata: {" if cut else b"")
    length = {"Content-Length": str(len(body) + 100)} if cut else {}
    return 200, {"Content-Type": "text/event-stream", "Connection": "close", **length}, body


@both
def test_every_event_comes_once_across_lost_connections_and_a_restart(follow: Follow) -> None:
    script = (JOB, events(1, 2), events(3, cut=True), None, busy(503), busy(502), events(4, 5, last="failed"))
    with scripted(*script) as server:
        found = follow(server.url)
    assert [event.number for event in found] == [1, 2, 3, 4, 5]
    assert [event.ended for event in found] == [False] * 4 + [True]
    assert (found[0].kind, found[0].at, found[0].data) == ("state", "now", {"state": "running"})
    asked = [headers["Last-Event-ID"] for _, headers in server.seen[1:]]
    assert asked == ["0", "2", "3", "3", "3", "3"]
    assert {headers["Authorization"] for _, headers in server.seen} == {"Bearer wtl_k"}


@both
def test_who_has_seen_everything_is_told_so(follow: Follow) -> None:
    with scripted(JOB, events(), (204, {}, b"")) as server:
        assert follow(server.url, after=7) == []
    assert [headers["Last-Event-ID"] for _, headers in server.seen[1:]] == ["7", "7"]


@both
def test_a_refusal_ends_it_and_so_does_silence(follow: Follow) -> None:
    with scripted(JOB, GONE) as server, pytest.raises(ClientError, match="Gone: no"):
        follow(server.url)
    with scripted(JOB, None) as server, pytest.raises(ClientError, match="cannot be reached"):
        follow(server.url, patience_s=0)
    with scripted(JOB, busy(503)) as server, pytest.raises(ClientError, match="503"):
        follow(server.url, patience_s=0)
    other = (200, {"Content-Type": "text/event-stream"}, b"data: no JSON\n\n")
    with scripted(JOB, other) as server, pytest.raises(ClientError, match="an invalid event"):
        follow(server.url)


def test_patience_is_for_one_silence_and_waits_grow() -> None:
    clock, lost = [0.0], httpx.ConnectError("no")
    reader = EventReader("a/b", 0, patience_s=60, clock=lambda: clock[0])
    assert reader.path == "/v1/training-jobs/a%2Fb/events"
    waits = []
    for clock[0] in (0.0, 30.0, 59.0):
        reader.connection_lost(lost)
        waits.append(reader.wait_s)
    assert 0 < waits[0] < waits[2] <= 0.4
    assert reader.accept(httpx.Response(200))
    for clock[0] in (61.0, 120.0):
        reader.connection_lost(lost)
    clock[0] = 121.0
    with pytest.raises(ClientError, match="cannot be reached"):
        reader.connection_lost(lost)
    reader.accept(httpx.Response(200))
    reader.accept(httpx.Response(429, headers={"Retry-After": "5"}))
    assert reader.wait_s == 5


@pytest.mark.slow
def test_a_real_training_is_followed_across_a_restart_of_its_server(tmp_path: Path) -> None:
    changes = {"train_command": TRAIN, "training_poll_s": 0.05}
    settings = settings_in(tmp_path).model_copy(update=changes)
    found: list[JobEvent] = []
    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as url, Client(url) as client:
        job = client.train("reach-m2", steps=60, name="trained", job_id="mine")
        for event in job.follow():
            found.append(event)
            if event.kind == "progress":
                break
        port = int(url.rpartition(":")[2])
        stopped = client.train("reach-m2", steps=5000, job_id="other").stop()
        assert stopped.state in {"queued", "stopped"}
    with Client(url) as client:
        listening = client.events(EventReader("mine", found[-1].number, patience_s=30))
        reader = threading.Thread(target=lambda: found.extend(listening))
        reader.start()  # before there is a server
        time.sleep(0.3)
        with served(create_app(settings, runtime_factory=PointingRuntime), settings, at=port):
            reader.join(timeout=30)
            assert not reader.is_alive()
            assert [one.state for one in client.jobs()] == ["succeeded", "stopped"]
            assert "secrets" in client.job("mine").log()
    assert [event.number for event in found] == list(range(1, len(found) + 1))
    assert (found[-1].data["state"], found[-1].data["model"]) == ("succeeded", "trained")
