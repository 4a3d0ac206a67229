"""SIGTERM: what was taken is finished, what is new is refused, the exit code says that all went well."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import support
from support.pointing import settings_in
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

SLOW_SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from support.pointing import PointingRuntime, settings_in
from service.server import serve

class Slow(PointingRuntime):
    def act(self, *arguments):
        time.sleep(0.4)
        return super().act(*arguments)

settings = settings_in(Path(sys.argv[2]))
serve(settings.model_copy(update={"port": int(sys.argv[3]), "batch_rows": 1}), runtime_factory=Slow)
"""


@pytest.fixture
def slow_server(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]", Path]]:
    settings_in(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", tmp_path / "server.log"
    command = [sys.executable, "-c", SLOW_SERVER, str(Path(support.__file__).parents[1]), str(tmp_path), str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stderr=output, env=os.environ | {"WTL_LOG_FORMAT": "json"})
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                break
        except httpx.TransportError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
    yield url, server, log
    if server.poll() is None:
        server.kill()
    server.wait()


def test_sigterm_answers_what_was_taken_and_refuses_what_is_new(
    slow_server: tuple[str, "subprocess.Popen[bytes]", Path], wire: dict[str, object]
) -> None:
    url, server, log = slow_server
    adaptation = httpx.post(f"{url}/v1/adaptations", json={"model": "point", "demos": [wire]}).json()["id"]
    refused = httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer wtl_very_secret"})
    assert refused.status_code == 401
    with pytest.raises(InvalidStatus, match="404"):
        connect(f"{url.replace('http', 'ws')}/v1/adaptations/{'0' * 24}/stream")
    started = threading.Barrier(5)

    def act(_: int) -> int:
        with httpx.Client(timeout=30) as http:
            http.get(f"{url}/livez")  # the connection stands before the signal comes
            started.wait()
            body = {"observations": [[0.125, 0.0, 0.0]]}
            return http.post(f"{url}/v1/adaptations/{adaptation}/act", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(act, i) for i in range(4)]
        started.wait()
        time.sleep(0.3)  # the first one is in the model, the others wait for it
        server.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/livez", timeout=5)
        assert [answer.result() for answer in answers] == [200] * 4
    assert server.wait(timeout=20) == 0

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    access = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["status"]) for line in access] == [("POST", 201), ("GET", 401), ("WS", 404)]
    assert {line["level"] for line in lines} <= {"info", "warning"}  # a refusal is no failure of ours
    for line in access:
        assert line["duration_ms"] > 0
        assert len(line["request_id"]) == 24
    assert {"uvicorn.error", "service.access"} <= {line["logger"] for line in lines}
    assert "secret" not in log.read_text()
    assert "0.125" not in log.read_text()
