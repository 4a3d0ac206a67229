"""WebSockets by picows behind uvicorn's address: a frame takes a fraction of the time that it takes in Python.

Uvicorn's own protocol class does the handshake, so that whether a stream opens is decided by the application, in every
detail as without picows. Once it is accepted, picows gets the connection. Knows no application: frames come by ASGI's
`receive`, or, to an application that asks for it, by a call (`service.api.direct_frames`).
"""

import logging
import struct
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # as picows.ws_create_server makes it
from starlette.types import Message
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.api.direct_frames import DIRECT, Reply, TakeFrame

_CLOSE_TIMEOUT_S = 10.0
_READ_BUFFER_BYTES = 16 * 1024
_CLOSE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))
"""What a close frame may say (RFC 6455 and IANA's registry): picows lets 1006 pass, and codes from 5000."""
_BINARY, _TEXT, _CONTINUATION = WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CONTINUATION


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records are all of level DEBUG: what a client breaks is no failure of the server."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(min(level, logging.DEBUG), msg, *args, **kwargs)


_log = _Quiet(logging.getLogger("picows"), {})


class PicowsProtocol(WebSocketsSansIOProtocol):
    """A protocol class for uvicorn's setting `ws`."""

    _frames: "_Frames | None" = None
    _answer: TakeFrame | None = None
    _at_application = True
    """True while the application has a frame, or has not asked for its first one."""
    _is_pumping = False

    def connection_made(self, transport: Any) -> None:
        """Begin with the handshake."""
        super().connection_made(transport)
        self._backlog: deque[bytes | str] = deque()

    def data_received(self, data: bytes) -> None:
        """Read the request; what comes before it is accepted waits for picows."""
        super().data_received(data)
        if self.handshake_initiated and not self.transport.is_closing():
            self._read(False)

    async def run_asgi(self) -> None:
        """Run the application, which may have frames delivered by a call."""
        self.scope["extensions"][DIRECT] = self._offer  # type: ignore[assignment]
        await super().run_asgi()

    async def receive(self) -> Any:
        """Return the next message. The application has dealt with the one before."""
        if self._frames is not None:
            self._at_application = False
            self._pump()
        return await self.queue.get()

    async def send(self, message: Any) -> None:
        """Send a message of the application. Raises ClientDisconnected."""
        if self._frames is None:
            if message["type"] == "websocket.accept":
                self._accept(message)
            else:
                await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        if message["type"] == "websocket.close":
            self._close(message.get("code", 1000), message.get("reason") or "")
        elif (data := message.get("bytes")) is not None:
            self._frames.transport.send(_BINARY, data)
        else:
            self._frames.transport.send(_TEXT, message["text"])

    def shutdown(self) -> None:
        """Close the connection because the server ends."""
        if self._frames is None or self.close_sent:
            super().shutdown()
            return
        self.stop_keepalive()
        self._tell_disconnect(1012)
        self._frames.transport.send_close(1012)  # type: ignore[arg-type]
        self.transport.close()

    def pause_writing(self) -> None:
        """Let the application wait, and read no more, until the client has read."""
        super().pause_writing()
        self._read(False)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._read(not self._backlog)

    def send_keepalive_ping(self) -> None:
        """Ask a silent client for a sign of life."""
        assert self._frames is not None
        self.ping_timer = None
        if not self.close_sent and not self.transport.is_closing():
            self.pending_ping_payload = struct.pack("!d", self.loop.time())
            self._frames.transport.send_ping(self.pending_ping_payload)
            if self.ping_timeout is not None:
                self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)

    def keepalive_timeout(self) -> None:
        """Give up a client that answers no ping, whose machine would not answer a closing handshake either."""
        assert self._frames is not None
        self._frames.transport.send_close(1011, b"keepalive ping timeout")  # type: ignore[arg-type]
        self.close_sent = True
        self.transport.abort()

    def take(self, data: bytes | str) -> None:
        """Take a message of the client."""
        if self.close_sent:
            return
        if self._answer is not None and not self._at_application and isinstance(data, bytes):
            self._at_application = True  # then there is no backlog either
            self._answer(data)
        else:
            self._backlog.append(data)
            self._pump()

    def closed_by_client(self, code: int, reason: str) -> None:
        """Tell the application that the client has closed the stream, or end the closing handshake."""
        assert self._frames is not None
        if not self.close_sent:
            self._tell_disconnect(code or 1005, reason)
            self._frames.transport.send_close(code or 1000)  # type: ignore[arg-type]
        self.transport.close()

    def pong_received(self, payload: bytes) -> None:
        """Note a sign of life."""
        if payload == self.pending_ping_payload and self.pong_timer is not None:
            self.pong_timer.cancel()
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()

    def answer(self, data: bytes) -> None:
        """Send the answer to a frame that was delivered by a call."""
        assert self._frames is not None
        self._frames.transport.send(_BINARY, data)
        self._at_application = False
        if self._backlog and not self._is_pumping:
            self._pump()

    def pass_on(self, message: Message) -> None:
        """Leave a frame that was delivered by a call to the coroutine that waits in `receive`."""
        self.queue.put_nowait(message)  # type: ignore[arg-type]

    def _accept(self, message: MutableMapping[str, Any]) -> None:
        """Hand the connection to picows, which wants to see a request itself before it answers."""
        if self.transport.is_closing():
            self.disconnected = True
            return
        headers = [*self.default_headers, *message.get("headers", ())]
        if message.get("subprotocol"):
            headers.append((b"Sec-WebSocket-Protocol", message["subprotocol"].encode()))
        response = WSUpgradeResponse.create_101_response(
            [(k.decode("latin-1"), v.decode("latin-1")) for k, v in headers]
        )
        self._frames = _Frames(self)
        protocol = _picows_protocol(
            lambda _: WSUpgradeResponseWithListener(response, self._frames), self.config.ws_max_size
        )
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        key = self.request.headers["Sec-WebSocket-Key"]
        head = (
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        protocol.get_buffer(len(head))[: len(head)] = head
        protocol.buffer_updated(len(head))
        self.handshake_complete = True
        self._read(True)
        self.start_keepalive()

    def _offer(self, make: Callable[[Reply], TakeFrame]) -> None:
        self._answer = make(self)

    def _pump(self) -> None:
        """Give the application the next frames, one at a time; stop reading while any wait."""
        self._is_pumping = True
        while self._backlog and not self._at_application:
            data = self._backlog.popleft()
            self._at_application = True
            if isinstance(data, str):
                self.queue.put_nowait({"type": "websocket.receive", "text": data})
            elif self._answer is None:
                self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
            else:
                self._answer(data)
        self._is_pumping = False
        self._read(not self._backlog and self.writable.is_set())

    def _read(self, wanted: bool) -> None:
        """Read from the connection, or leave what comes to the client's window."""
        if wanted == self.read_paused and not self.transport.is_closing():
            self.read_paused = not wanted
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()

    def _close(self, code: int, reason: str) -> None:
        assert self._frames is not None
        if self.transport.is_closing():
            return
        self._tell_disconnect(code, reason)
        self._frames.transport.send_close(code, reason.encode())  # type: ignore[arg-type]
        self.close_sent = True
        self._backlog.clear()
        self._read(True)  # the client's own close frame ends the connection
        self.close_timer = self.loop.call_later(_CLOSE_TIMEOUT_S, self.transport.close)

    def _tell_disconnect(self, code: int, reason: str = "") -> None:
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})


class _Frames(WSListener):
    """Joins frames to messages, for one connection, within the protocol and its limit of size."""

    def __init__(self, protocol: PicowsProtocol) -> None:
        self._protocol, self._max_bytes = protocol, protocol.config.ws_max_size
        self._begun = bytearray()
        self._kind: WSMsgType | None = None
        """The kind of the message that has begun."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._protocol.connection_lost(None)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if kind == _BINARY and frame.fin and self._kind is None:
            self._protocol.take(frame.get_payload_as_bytes())
        elif kind in (_BINARY, _TEXT, _CONTINUATION):
            self._join(kind, frame)
        elif kind == WSMsgType.CLOSE:
            code = int(frame.get_close_code())  # type: ignore[call-overload]  # an integer, or one of picows' names
            if code and not any(code in valid for valid in _CLOSE_CODES):
                raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, f"a close frame with the code {code}")
            self._protocol.closed_by_client(code, frame.get_close_reason() or "")
        elif kind == WSMsgType.PONG:
            self._protocol.pong_received(frame.get_payload_as_bytes())

    def _join(self, kind: WSMsgType, frame: WSFrame) -> None:
        """Add a frame to the message that it belongs to. Raises WSProtocolError."""
        if (kind == _CONTINUATION) == (self._kind is None):
            raise WSProtocolError(WSCloseCode.PROTOCOL_ERROR, "a frame out of place in a fragmented message")
        self._kind = kind if self._kind is None else self._kind
        self._begun += frame.get_payload_as_memoryview()
        if len(self._begun) > self._max_bytes:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"a message of more than {self._max_bytes} bytes")
        if not frame.fin:
            return
        whole, is_text = bytes(self._begun), self._kind == _TEXT
        self._begun, self._kind = bytearray(), None
        try:
            self._protocol.take(whole.decode() if is_text else whole)
        except UnicodeDecodeError as error:
            raise WSProtocolError(WSCloseCode.INVALID_TEXT, "a text frame that is not UTF-8") from error


def _picows_protocol(listener_factory: Callable[[WSUpgradeRequest], Any], max_frame_bytes: int) -> Any:
    """Make picows' protocol for one connection. Pings are this module's, so that close codes do not depend on it."""
    return WSProtocol(
        None, None, False, listener_factory, _log, True, None, False, 0, 0, WSAutoPingStrategy.PING_WHEN_IDLE, True,
        max_frame_bytes, None, _READ_BUFFER_BYTES,
    )  # fmt: skip
