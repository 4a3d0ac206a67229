"""A server of Play's own, for a person who has none: another process, on loopback, started again if it dies."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import structlog

from metalearn.data.errors import WatchTryLearnError
from metalearn.proxies import http_client

START_TIMEOUT_S = 90.0
_LOOK_S = 0.5
_log = structlog.get_logger("play")


class NotStarted(WatchTryLearnError):
    """The server did not come up; the text says where to look."""


@contextmanager
def own_server(data: Path, models: Path | None) -> Iterator[str]:
    """Serve models, by default those that ship, from a folder of data while the block runs; yields the address.

    Raises:
        NotStarted: it ended, or was not ready in time.
    """
    data.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "wtl.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--data", str(data), *([] if models is None else ["--models", str(models)])]
    kept = _Kept(command, data / "play-server.log")
    try:
        _wait_until_ready(kept, f"http://127.0.0.1:{port}")
        threading.Thread(target=kept.look_after, name="own-server", daemon=True).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        kept.stop()


class _Kept:
    """A process that is started again when it ends, until it is stopped."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command, self.log = command, log
        self._stopped = threading.Event()
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            return subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603

    def look_after(self) -> None:
        """Start the process again whenever it has ended."""
        while not self._stopped.wait(_LOOK_S):
            if self.process.poll() is not None:
                _log.warning("the server has ended and is started again", exit_code=self.process.returncode)
                self.process = self._start()

    def stop(self) -> None:
        """End the process."""
        self._stopped.set()
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _wait_until_ready(kept: _Kept, url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with http_client(url, timeout=5) as http:
        while time.monotonic() < deadline:
            if kept.process.poll() is not None:
                raise NotStarted(
                    f"the server ended with exit code {kept.process.returncode}; see the end of {kept.log}"
                )
            try:
                if http.get("/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise NotStarted(f"the server was not ready within {START_TIMEOUT_S:.0f} s; see the end of {kept.log}")
