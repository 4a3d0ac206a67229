"""What both listeners make of the bytes of a client: fragments, order, back pressure, closing, draining."""

import builtins
import json
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from openpi_client import msgpack_numpy
from support.pointing import PointingRuntime, settings_in
from support.serving import served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from service.api.stream_session import StreamSession
from service.app import create_app
from service.client import Client
from service.server import websocket_protocol
from service.settings import Settings

CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9
ASK = msgpack_numpy.packb({"observation": np.array([0.5, 0.5, 0.0], np.float32)})
RESET = msgpack_numpy.packb({"reset": True, "explore": False})


@pytest.fixture(scope="module", params=["picows", "websockets"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    update = {"stream_listener": request.param, "max_body_bytes": 20_000}
    return settings_in(tmp_path_factory.mktemp("listeners")).model_copy(update=update)


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as where:
        yield where


@pytest.fixture
def address(url: str, demo: Episode) -> str:
    with Client(url) as client:
        return f"{url.replace('http', 'ws')}/v1/adaptations/{client.adapt('point', demos=[demo]).id}/stream"


@pytest.fixture
def socket(address: str) -> Iterator[ClientConnection]:
    with connect(address, compression=None) as socket:
        socket.recv()
        yield socket


def frame(payload: bytes, opcode: int = BINARY, final: bool = True, reserved: int = 0) -> bytes:
    """One frame with a mask of zeros."""
    first = opcode | (0x80 if final else 0) | reserved << 4
    n = len(payload)
    size = bytes([0x80 | n]) if n < 126 else struct.pack(">BH", 0x80 | 126, n)
    return bytes([first]) + size + bytes(4) + payload


def received(socket: ClientConnection) -> Any:
    answer = socket.recv(timeout=10)
    return json.loads(answer) if isinstance(answer, str) else msgpack_numpy.unpackb(answer)


def test_a_message_in_fragments_with_a_ping_between_is_one_frame(socket: ClientConnection) -> None:
    parts = [ASK[:5], b"", ASK[5:9], ASK[9:]]
    raw = [frame(parts[0], BINARY, final=False), frame(parts[1], CONTINUATION, final=False), frame(b"ping", PING)]
    socket.socket.sendall(b"".join([*raw, frame(parts[2], CONTINUATION, final=False)]))
    time.sleep(0.02)
    socket.socket.sendall(frame(parts[3], CONTINUATION))
    assert received(socket)["actions"].shape == (1, 2)


def test_a_text_in_fragments_may_split_a_character(socket: ClientConnection) -> None:
    word = "ä".encode()
    socket.socket.sendall(frame(word[:1], TEXT, final=False) + frame(word[1:], CONTINUATION))
    assert received(socket)["type"].endswith("malformed-body")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (frame(ASK, CONTINUATION), 1002),
        (frame(ASK, BINARY, final=False) + frame(ASK, BINARY), 1002),
        (frame(ASK, reserved=4), 1002),
        (frame(b"", PING, final=False), 1002),
        (frame(b"\xff\xfe", TEXT), 1007),
        (frame(bytes(15_000), BINARY, final=False) + frame(bytes(15_000), CONTINUATION), 1009),
        (frame(struct.pack(">H", 4000) + b"bye", CLOSE), 4000),
        (frame(b"", CLOSE), 1005),
        (frame(b"\x03", CLOSE), 1002),
        (frame(struct.pack(">H", 1006), CLOSE), 1002),
        (frame(struct.pack(">H", 5000), CLOSE), 1002),
        (frame(struct.pack(">H", 1000) + b"\xff", CLOSE), 1007),
    ],
    ids=["continues nothing", "begins anew", "reserved bit", "half a ping", "no text", "too much in parts",
         "closes", "closes without a word", "half a code", "a code of no frame", "no code at all", "no reason"],
)  # fmt: skip
def test_what_closes_a_stream_is_answered_with_its_code(socket: ClientConnection, raw: bytes, code: int) -> None:
    socket.socket.sendall(raw)
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=10)
    assert closed.value.rcvd is not None or code == 1005
    assert closed.value.rcvd is None or closed.value.rcvd.code in {code, 1000 if code == 1005 else code}


def test_frames_that_come_together_are_answered_one_by_one_and_in_order(socket: ClientConnection) -> None:
    """Plain frames, those that need a thread, and wrong ones."""
    end = msgpack_numpy.packb({"observation": np.zeros(3, np.float32), "success": None})
    socket.socket.sendall(b"".join(map(frame, [ASK, ASK, b"\xc1", RESET, ASK, ASK, ASK, end, ASK])))
    answers = [received(socket) for _ in range(9)]
    kinds = [next(iter(sorted(answer.keys() & {"actions", "reset", "finished", "status"}))) for answer in answers]
    assert kinds == ["actions", "actions", "status", "reset", "actions", "actions", "actions", "finished", "actions"]
    assert answers[7]["steps"] == 3


def test_plain_frames_are_answered_in_the_call_that_delivers_them(
    socket: ClientConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaited: list[bytes] = []
    answer = StreamSession.answer

    async def spied(self: StreamSession, frame: bytes) -> dict[str, Any]:
        awaited.append(frame)
        return await answer(self, frame)

    monkeypatch.setattr(StreamSession, "answer", spied)
    for asked in (ASK, RESET, ASK):
        socket.send(asked)
        assert received(socket).keys() & {"actions", "reset"}
    assert bool(awaited) == (settings.stream_listener == "websockets")


def test_a_client_that_reads_nothing_is_read_no_more_and_loses_nothing(socket: ClientConnection) -> None:
    n_rounds = 50
    frames = b"".join(map(frame, [RESET, *[ASK] * 40])) * n_rounds
    sender = threading.Thread(target=socket.socket.sendall, args=(frames,))
    sender.start()
    time.sleep(0.2)
    answers = [received(socket) for _ in range(41 * n_rounds)]
    sender.join()
    assert sum("reset" in answer for answer in answers) == n_rounds
    assert all("reset" in answers[i] for i in range(0, len(answers), 41))


def test_a_browser_that_keeps_the_connection_alive_may_upgrade_it(url: str, address: str) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection(url.removeprefix("http://"))
    headers = {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
    connection.request("GET", address[address.index("/v1") :], headers=headers)
    answer = connection.getresponse()
    assert answer.status == 101
    assert answer.headers["Sec-WebSocket-Accept"] == "ICX+Yqv66kxgM0FcWaLWlFLwTAI="
    connection.close()


@pytest.mark.parametrize("wrong", [{"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Version": "7"}])
def test_a_wrong_request_to_upgrade_is_refused(url: str, address: str, wrong: dict[str, str]) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection(url.removeprefix("http://"))
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", **wrong}  # fmt: skip
    connection.request("GET", address[address.index("/v1") :], headers=headers)
    assert 400 <= connection.getresponse().status < 500
    connection.close()


def test_a_server_that_ends_closes_its_streams(settings: Settings, demo: Episode, url: str) -> None:
    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as other, Client(other) as client:
        session = client.adapt("point", demos=[demo]).id
        socket = connect(f"{other.replace('http', 'ws')}/v1/adaptations/{session}/stream", compression=None)
        socket.recv()
        socket.send(ASK)
        assert "actions" in received(socket)
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


def test_a_draining_server_answers_a_frame_and_closes(settings: Settings, demo: Episode) -> None:
    app = create_app(settings, runtime_factory=PointingRuntime)
    with served(app, settings) as url, Client(url) as client:
        session = client.adapt("point", demos=[demo]).id
        with connect(f"{url.replace('http', 'ws')}/v1/adaptations/{session}/stream", compression=None) as socket:
            socket.recv()
            app.state.container.draining.set()
            socket.send(ASK)
            assert "actions" in received(socket)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012


def test_without_picows_websockets_listens_unless_picows_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert websocket_protocol("auto") is websocket_protocol("picows")
    assert websocket_protocol("websockets") == "websockets-sansio"
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("service.picows_listener"):
            raise ModuleNotFoundError("No module named 'picows'", name="picows")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert websocket_protocol("auto") == "websockets-sansio"
    with pytest.raises(InvalidConfig, match="picows is not installed"):
        websocket_protocol("picows")
