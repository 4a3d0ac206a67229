"""Clients that vanish in the midst of a stream, and frames that no stream should hold: what is released, what is kept.

Over real sockets, served as `wtl serve` does.
"""

import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import support
from openpi_client import msgpack_numpy
from support.pointing import PointingRuntime, settings_in
from support.serving import served
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client
from service.settings import Settings

TRAIN = f"{sys.executable} {Path(support.__file__).with_name('trainer.py')}"
JOBS = "/v1/training-jobs"
HERE = np.array([0.5, 0.5, 0.0], np.float32)


class Broken(PointingRuntime):
    """Fails at observations that begin with 13."""

    def act(self, conditionings: Any, observations: Any) -> Any:
        if observations[0][0] == 13:
            raise RuntimeError("by design")
        return super().act(conditionings, observations)


@pytest.fixture(scope="module", params=["picows", "websockets"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    listener = {"stream_listener": request.param}
    changes = {"train_command": TRAIN, "training_poll_s": 0.05, "max_body_bytes": 100_000, **listener}
    return settings_in(tmp_path_factory.mktemp("gone")).model_copy(update=changes)


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    app = create_app(settings, runtime_factory=Broken)
    with served(app, settings, ws_ping_interval=0.2, ws_ping_timeout=0.3) as where:
        yield where


@pytest.fixture
def session(url: str, demo: Episode) -> str:
    return Client(url).adapt("point", demos=[demo]).id


@pytest.fixture
def training(url: str) -> Iterator[str]:
    """A job that runs for as long as the test does."""
    with Client(url) as client:
        job = client.train("reach-m2", steps=5000).id
        wait_for(lambda: client.request("GET", f"{JOBS}/{job}")["progress"])
        yield job
        client.request("DELETE", f"{JOBS}/{job}")
        wait_for(lambda: client.request("GET", f"{JOBS}/{job}")["state"] == "stopped")


def stream(url: str, session: str) -> ClientConnection:
    return connect(f"{url.replace('http', 'ws')}/v1/adaptations/{session}/stream", compression=None)


def ask(socket: ClientConnection, message: Any) -> Any:
    socket.send(msgpack_numpy.packb(message))
    answer = socket.recv()
    return json.loads(answer) if isinstance(answer, str) else msgpack_numpy.unpackb(answer)


def wait_for(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def quiet(url: str) -> bool:
    """Whether nothing is open but the question itself."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return "wtl_streams 0.0" in lines and "wtl_requests_in_flight 1.0" in lines


def reset(connection: socket.socket) -> None:
    """Vanish without a word: what is on its way is lost."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def followed(url: str, job: str) -> tuple[socket.socket, bytes]:
    """A follower with a socket of its own, once the first events are there."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(f"GET {JOBS}/{job}/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    text = b""
    while b"event: progress" not in text:
        text += connection.recv(4096)
    return connection, text


def test_followers_that_vanish_are_released_and_the_next_one_misses_nothing(url: str, training: str) -> None:
    for _ in range(10):
        connection, text = followed(url, training)
        assert b"text/event-stream" in text
        reset(connection)
    wait_for(lambda: quiet(url))
    with httpx.stream("GET", f"{url}{JOBS}/{training}/events", headers={"Last-Event-ID": "1"}) as answer:
        numbers = list(islice((int(line[4:]) for line in answer.iter_lines() if line.startswith("id: ")), 3))
    assert numbers == [2, 3, 4]
    wait_for(lambda: quiet(url))


def test_a_stream_whose_client_vanishes_is_released_and_nothing_is_half_recorded(url: str, session: str) -> None:
    for n_steps in range(5):
        with stream(url, session) as gone:
            gone.recv()
            for _ in range(n_steps):
                ask(gone, {"observation": HERE})
            gone.send(msgpack_numpy.packb({"observation": HERE}))
            reset(gone.socket)
    wait_for(lambda: quiet(url))
    assert Client(url).adaptation(session).version == 1
    with stream(url, session) as next_one:
        next_one.recv()
        assert "actions" in ask(next_one, {"observation": HERE})
        assert ask(next_one, {"observation": HERE, "success": True})["version"] == 2
    assert [len(trial) for trial in Client(url).adaptation(session).episodes().trials] == [1]


def test_an_episode_whose_end_is_never_answered_is_a_trial_or_nothing(url: str, session: str) -> None:
    for _ in range(5):
        with stream(url, session) as gone:
            gone.recv()
            for _ in range(3):
                ask(gone, {"observation": HERE})
            gone.send(msgpack_numpy.packb({"observation": HERE, "success": False}))
            reset(gone.socket)
    wait_for(lambda: quiet(url))
    adaptation = Client(url).adaptation(session)
    trials = adaptation.episodes().trials
    assert adaptation.version - 1 == adaptation.n_trials == len(trials)
    assert {len(trial) for trial in trials} <= {3}


def test_a_client_that_answers_no_ping_is_closed(url: str, session: str) -> None:
    with stream(url, session) as frozen:
        frozen.recv()
        assert not quiet(url)
        frozen.protocol.receive_data = lambda data: None  # type: ignore[method-assign]
        wait_for(lambda: quiet(url))
        frozen.socket.close()


GARBLED = b"\x81\x82\x00\x00\x00\x00\xff\xfe"  # a text frame that is not UTF-8
UNMASKED = b"\x82\x01a"
RESERVED = b"\x83\x81\x00\x00\x00\x00a"
HUGE = b"\x82\xff" + struct.pack(">Q", 100_001) + b"\x00" * 4


@pytest.mark.parametrize(
    ("raw", "code"),
    [(UNMASKED, 1002), (RESERVED, 1002), (GARBLED, 1007), (HUGE, 1009)],
    ids=lambda value: str(value)[:9],
)
def test_frames_that_break_the_protocol_close_the_stream_and_nothing_else(
    url: str, session: str, raw: bytes, code: int
) -> None:
    with stream(url, session) as socket:
        socket.recv()
        ask(socket, {"observation": HERE})
        socket.socket.sendall(raw)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
    assert Client(url).adaptation(session).version == 1
    with stream(url, session) as socket:
        socket.recv()
        assert "actions" in ask(socket, {"observation": HERE})
    wait_for(lambda: quiet(url))


def test_a_failure_of_the_server_is_said_and_ends_the_stream(url: str, session: str) -> None:
    with stream(url, session) as socket:
        socket.recv()
        assert ask(socket, {"observation": np.array([13, 0, 0])})["type"].endswith("internal-error")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    with stream(url, session) as socket:
        socket.recv()
        assert "actions" in ask(socket, {"observation": HERE})


def test_frames_count_as_requests_do(settings: Settings, tmp_path: Path, demo: Episode) -> None:
    settings = settings.model_copy(update={"rate": "6/hour", "data": tmp_path})
    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as url:
        session = Client(url).adapt("point", demos=[demo]).id
        with stream(url, session) as socket:
            socket.recv()
            answers = [ask(socket, {"observation": HERE}) for _ in range(6)]
            assert ["actions" in answer for answer in answers] == [True] * 4 + [False] * 2
            assert (answers[4]["status"], answers[4]["expected"]) == (429, "at most 6 in 3600 s")
        assert httpx.get(f"{url}/v1/models").status_code == 429


def test_streams_have_a_limit_per_tenant_and_one_per_process(settings: Settings, tmp_path: Path, demo: Episode) -> None:
    settings = settings.model_copy(update={"tenant_streams": 2, "data": tmp_path})

    def refused(url: str, session: str) -> tuple[int, str, dict[str, Any]]:
        with pytest.raises(InvalidStatus) as refused:
            stream(url, session)
        answer = refused.value.response
        return answer.status_code, answer.headers["retry-after"], json.loads(answer.body)

    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as url, Client(url) as client:
        session, job = client.adapt("point", demos=[demo]).id, client.train("reach-m2", steps=5000).id
        with stream(url, session):
            connection, _ = followed(url, job)
            status, wait_s, problem = refused(url, session)
            assert (status, wait_s, problem["type"]) == (429, "5", "urn:problem-type:wtl:too-many-streams")
            again = httpx.get(f"{url}{JOBS}/{job}/events")
            assert (again.status_code, again.headers["retry-after"]) == (429, "5")
            connection.close()
            wait_for(lambda: "wtl_requests_in_flight 1.0" in httpx.get(f"{url}/metrics").text)
            with stream(url, session) as third:
                assert third.recv()
        client.request("DELETE", f"{JOBS}/{job}")
        wait_for(lambda: client.request("GET", f"{JOBS}/{job}")["state"] == "stopped")
        wait_for(lambda: quiet(url))

    one = settings.model_copy(update={"streams": 1})
    with served(create_app(one, runtime_factory=PointingRuntime), one) as url:
        with stream(url, session):
            status, wait_s, problem = refused(url, session)
            assert (status, wait_s, problem["type"]) == (503, "5", "urn:problem-type:wtl:busy")
        wait_for(lambda: quiet(url))
        with stream(url, session) as next_one:
            assert next_one.recv()
