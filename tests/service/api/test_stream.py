"""The WebSocket: openpi's own client, episodes that become trials, and frames that break nothing."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgpack
import numpy as np
import pytest
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from support.pointing import PointingRuntime, settings_in
from support.serving import served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client
from service.security.api_keys import ApiKeys
from service.settings import Settings
from service.storage.database import Database


@pytest.fixture(scope="module", params=["picows", "websockets"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("stream")).model_copy(update={"stream_listener": request.param})


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as where:
        yield where


@pytest.fixture
def session(url: str, demo: Episode) -> str:
    return Client(url).adapt("point", demos=[demo]).id


def address(url: str, session: str) -> str:
    return f"{url.replace('http', 'ws')}/v1/adaptations/{session}/stream"


@pytest.fixture
def socket(url: str, session: str) -> Iterator[ClientConnection]:
    with connect(address(url, session), compression=None) as socket:
        msgpack_numpy.unpackb(socket.recv())
        yield socket


def ask(socket: ClientConnection, message: Any) -> Any:
    socket.send(message if isinstance(message, bytes | str) else msgpack_numpy.packb(message))
    answer = socket.recv()
    return json.loads(answer) if isinstance(answer, str) else msgpack_numpy.unpackb(answer)


HERE = np.array([0.5, 0.5, 0.0], np.float32)


def test_openpis_client_acts_starts_anew_and_makes_a_trial(url: str, session: str) -> None:
    policy = WebsocketClientPolicy(address(url, session))
    metadata = policy.get_server_metadata()
    assert (metadata["model"], metadata["model_version"], metadata["session"]) == ("point", 1, session)
    assert metadata["spec"]["horizon"] == 50
    for message in ({"observation/state": HERE, "prompt": "go"}, {"observation": HERE, "reward": 0.0}):
        answer = policy.infer(message)
        assert answer["actions"].shape == (1, 2)
        assert set(answer["server_timing"]) == {"decode_ms", "queue_ms", "infer_ms", "total_ms"}
    assert policy.infer({"reset": True, "explore": False}) == {"reset": True, "version": 1, "explore": False}
    np.testing.assert_allclose(policy.infer({"observation": HERE})["actions"], [[0.5, 0.5]])
    done = policy.infer({"observation": HERE + 0.25, "reward": 1.0, "success": True})
    assert done == {"finished": True, "version": 2, "n_trials": 1, "steps": 1}
    assert Client(url).adaptation(session).version == 2
    assert policy.infer({"observation": HERE})["actions"].shape == (1, 2)
    policy._ws.close()


def test_one_hypothesis_per_episode_and_another_may_be_drawn_in_the_next(socket: ClientConnection) -> None:
    first = set()
    for _ in range(30):
        ask(socket, {"reset": True, "explore": True})
        acted = {ask(socket, {"observation": HERE})["actions"].tobytes() for _ in range(5)}
        assert len(acted) == 1
        first |= acted
    assert len(first) == 2


@pytest.mark.parametrize(
    ("frame", "type_of", "field"),
    [
        ("text", "malformed-body", None),
        (b"\xc1", "malformed-body", None),
        (b"", "malformed-body", None),
        (msgpack.packb([1, 2]), "malformed-body", None),
        ({"observation": np.zeros(4)}, "invalid-payload", "observation"),
        ({"observation": [0, "a", 0]}, "invalid-payload", "observation"),
        ({"observation": np.array([0, np.nan, 0])}, "invalid-payload", "observation"),
        ({"a": HERE, "b": HERE}, "invalid-payload", "observation"),
        ({}, "invalid-payload", "observation"),
        ({"observation": HERE, "reward": "much"}, "invalid-payload", "reward"),
        ({"observation": HERE, "more": 1}, "invalid-payload", "more"),
        ({"reset": False}, "invalid-payload", "reset"),
        ({"observation": HERE, "success": 0.5}, "invalid-payload", "success"),
    ],
)
def test_a_bad_frame_is_explained_and_nothing_is_lost(
    socket: ClientConnection, frame: Any, type_of: str, field: str | None
) -> None:
    ask(socket, {"observation": HERE})
    problem = ask(socket, frame)
    assert problem["type"].endswith(type_of)
    assert problem.get("field") == field
    assert ask(socket, {"observation": HERE, "success": None})["steps"] == 1


def test_an_episode_ends_at_its_horizon_and_an_empty_one_teaches_nothing(socket: ClientConnection) -> None:
    assert ask(socket, {"observation": HERE, "success": True})["type"].endswith("episode-empty")
    assert ask(socket, {"observation": HERE, "reward": 1.0})["field"] == "reward"
    for _ in range(50):
        assert "actions" in ask(socket, {"observation": HERE})
    assert ask(socket, {"observation": HERE})["type"].endswith("episode-over")
    assert ask(socket, {"observation": HERE, "success": False})["steps"] == 50


def test_who_leaves_in_the_midst_leaves_nothing(url: str, session: str) -> None:
    before = Client(url).adaptation(session)
    for _ in range(20):
        with connect(address(url, session), compression=None) as socket:
            socket.recv()
            ask(socket, {"observation": HERE})
            socket.send(msgpack_numpy.packb({"observation": HERE}))
            socket.socket.close()
    client = Client(url)
    assert client.adaptation(session) == before
    until_s = time.monotonic() + 10
    while "wtl_streams 0.0" not in (text := httpx.get(f"{url}/metrics").text).splitlines():
        assert time.monotonic() < until_s, [line for line in text.splitlines() if line.startswith("wtl_streams")]
        time.sleep(0.02)


def test_a_key_is_asked_for_as_openpis_client_sends_it(settings: Settings, tmp_path: Path, demo: Episode) -> None:
    settings = settings.model_copy(update={"data": tmp_path})
    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as url:
        session = Client(url).adapt("point", demos=[demo]).id
        with closing(Database(settings.database_url)) as database:
            secret, _ = ApiKeys(database).create("default", ["adapt"], now=time.time())
        time.sleep(0.1)
        policy = WebsocketClientPolicy(address(url, session), api_key=secret)
        assert policy.infer({"observation": HERE})["actions"].shape == (1, 2)
        with pytest.raises(Exception, match="401"):
            WebsocketClientPolicy(address(url, session), api_key="wtl_nobody")


def test_an_unknown_session_is_no_stream_and_a_deleted_one_ends(url: str, session: str) -> None:
    with pytest.raises(Exception, match="404"):
        connect(address(url, "0" * 24))
    with connect(address(url, session), compression=None) as socket:
        socket.recv()
        Client(url).adaptation(session).delete()
        assert ask(socket, {"observation": HERE})["type"].endswith("adaptation-not-found")
        with pytest.raises(ConnectionClosed):
            socket.recv()


def test_a_trial_from_elsewhere_is_in_the_next_episode(url: str, session: str, socket: ClientConnection) -> None:
    trial = Episode.of([[0, 0, 0], [1, 0, 0]], [[1, 0]], [0], False)
    Client(url).adaptation(session).add_trials([trial])
    assert ask(socket, {"reset": True})["version"] == 2
