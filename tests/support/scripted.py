"""A server that answers with a script, or hangs up: what clients have to put up with."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = tuple[int, dict[str, str], bytes] | None
OK: Reply = (200, {"Content-Type": "application/json"}, b'{"items": [], "next_cursor": null}')
GONE: Reply = (404, {"Content-Type": "application/problem+json"}, b'{"status": 404, "title": "Gone", "detail": "no"}')

FAILED: Reply = (500, {"Content-Type": "application/problem+json"}, b'{"status": 500, "title": "The server failed"}')


def busy(status: int, **headers: str) -> Reply:
    return status, {"Content-Type": "text/plain", **headers}, b"busy"


class Scripted(ThreadingHTTPServer):
    """Answers with the replies of a script, in order; None hangs up without a word."""

    def __init__(self, *script: Reply) -> None:
        self.script, self.seen = list(script), []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((time.monotonic(), dict(self.headers)))
        answer = self.server.script.pop(0)
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        status, headers, body = answer
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = reply  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    def finish(self) -> None:
        with contextlib.suppress(ValueError, OSError):  # hung up on purpose
            super().finish()


@contextlib.contextmanager
def scripted(*script: Reply) -> Iterator[Scripted]:
    with Scripted(*script) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()
