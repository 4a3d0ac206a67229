"""The end of a server: what is running is answered, what is half sent is refused at once, idle connections are kept."""

import json
import socket
import threading
import time
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from support.pointing import PointingRuntime
from support.serving import served

from service.app import create_app
from service.server import uvicorn_config
from service.settings import Settings


def half_sent(url: str, line: str) -> Callable[[], tuple[int, str, dict[str, object], float]]:
    """Send the head of a request and half of its body; return a function that reads the answer and its delay."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"{line} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    connection.sendall(head.encode() + b'{"model": ')

    def read() -> tuple[int, str, dict[str, object], float]:
        started_s = time.monotonic()
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        connection.close()
        top, _, body = answer.decode().partition("\r\n\r\n")
        return int(top.split()[1]), top.lower(), json.loads(body), time.monotonic() - started_s

    return read


@pytest.mark.parametrize(
    "line",
    ["POST /v1/adaptations", f"POST /v1/adaptations/{'0' * 24}/act", "PUT /v1/models/point/aliases/stable"],
    ids=["create", "act, on the fast path", "alias"],
)
def test_a_half_sent_body_is_refused_as_soon_as_the_server_stops(app: FastAPI, settings: Settings, line: str) -> None:
    with served(app, settings) as url:
        read = half_sent(url, line)
        time.sleep(0.2)
        threading.Timer(0.1, app.state.shutdown.stop).start()
        status, top, problem, waited_s = read()
    assert (status, problem["type"]) == (503, "urn:problem-type:wtl:shutting-down")
    assert "content-type: application/problem+json" in top
    assert "connection: close" in top
    assert waited_s < 2


def test_a_slow_body_is_refused_after_its_time_and_not_as_a_shutdown(settings: Settings) -> None:
    settings = settings.model_copy(update={"body_timeout_s": 0.2})
    app = create_app(settings, runtime_factory=PointingRuntime)
    app.state.shutdown.draining.set()  # draining alone refuses nothing
    with served(app, settings) as url:
        read = half_sent(url, "POST /v1/adaptations")
        assert read()[0] == 408


def test_idle_connections_outlive_those_of_a_load_balancer(app: FastAPI, settings: Settings) -> None:
    assert uvicorn_config(app, settings).timeout_keep_alive == 75
    assert uvicorn_config(app, settings.model_copy(update={"keep_alive_s": 3.2})).timeout_keep_alive == 4
