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


def half_sent(url: str, head: str) -> Callable[[], tuple[int, str, dict[str, object], float]]:
    """Send the head of a request and half of its body; return a function that reads the answer and its delay."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(f"{head}\r\nHost: {host}:{port}\r\n\r\n".encode() + b'{"model": ')

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
    "head",
    [
        "POST /v1/adaptations HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100",
        "POST /v1/adaptations/0123456789abcdef01234567/act HTTP/1.1\r\nContent-Type: application/json\r\n"
        "Content-Length: 100",
        "PUT /v1/models/point/aliases/stable HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100",
    ],
    ids=["create", "act, on the fast path", "alias"],
)
def test_a_half_sent_body_is_refused_as_soon_as_the_server_stops(app: FastAPI, settings: Settings, head: str) -> None:
    with served(app, settings) as url:
        read = half_sent(url, head)
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
        read = half_sent(url, "POST /v1/adaptations HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100")
        assert read()[0] == 408


def test_idle_connections_outlive_those_of_a_load_balancer(app: FastAPI, settings: Settings) -> None:
    assert uvicorn_config(app, settings).timeout_keep_alive == 75
    assert uvicorn_config(app, settings.model_copy(update={"keep_alive_s": 3.2})).timeout_keep_alive == 4
