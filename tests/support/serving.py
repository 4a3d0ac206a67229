"""A real server in a thread, as `serve` would run it, for tests that need a socket."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from service.server import uvicorn_config
from service.settings import Settings


@contextlib.contextmanager
def served(app: FastAPI, settings: Settings | None = None, at: int = 0, **changed: object) -> Iterator[str]:
    """The URL of `app`, served on loopback, if no port is said on a free one.

    `changed` are attributes of uvicorn's configuration.
    """
    config = uvicorn_config(app, settings or Settings())
    for name, value in changed.items():
        assert hasattr(config, name)
        setattr(config, name, value)
    with running(config, at) as url:
        yield url


@contextlib.contextmanager
def running(config: uvicorn.Config, at: int = 0) -> Iterator[str]:
    """The URL of a server in a thread, on loopback, if no port is said on a free one."""
    with socket.create_server(("127.0.0.1", at)) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)
