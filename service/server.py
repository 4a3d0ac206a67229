"""Serves the application over sockets until a signal comes. Errors at the start are reported in one sentence."""

import contextlib
import math
import signal
import threading
import time
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from metalearn.bundle import Bundle
from metalearn.data.errors import InvalidConfig
from metalearn.proxies import http_client
from service.api.shutdown import Shutdown
from service.app import create_app
from service.inference import Runtime, RuntimeFactory, factory_of
from service.observability import logging as logs
from service.observability.tracing import exporting
from service.registry.models_folder import ModelsFolder, reason
from service.security.api_keys import ApiKeys
from service.settings import Settings, StreamListener
from service.storage.database import Database
from service.storage.database_url import missing_file

_log = structlog.get_logger("service")


def serve(settings: Settings, *, runtime_factory: RuntimeFactory | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are answered first.

    Raises:
        InvalidConfig: other machines could connect without a key, or a model, the database or a proxy cannot be used.
    """
    check_exposed(settings)
    if settings.ray_address is not None:
        http_client(settings.ray_address).close()  # in the lifespan an error would end in a traceback
    with logs.configured(settings.log_format):
        factory = runtime_factory or factory_of(settings.runtime)
        loaded = _load(settings, factory)
        Database(settings.database_url, connections=1).close()  # in the lifespan an error would end in a traceback
        if not loaded:
            _log.warning("there is no model: nothing can be adapted", models=str(settings.models))

        def load(bundle: Bundle) -> Runtime:
            return loaded.pop(bundle.id, None) or factory(bundle)

        traces = exporting() if settings.traces else None
        app = create_app(settings, runtime_factory=load, traces=traces)
        try:
            _run(app, settings)
        finally:
            if traces is not None:
                traces.shutdown()


def _load(settings: Settings, factory: RuntimeFactory) -> dict[str, Runtime]:
    """Load the models before the lifespan, where an error would end in a traceback.

    If some of several bundles cannot be loaded, the registry says so and serves the others.

    Raises:
        InvalidConfig: there is no such folder, or it has bundles, none of which can be used.
    """
    found, loaded = ModelsFolder.read(settings.models), {}
    unusable = dict(found.unusable)
    for name, bundle in found.bundles.items():
        try:
            loaded[bundle.id] = factory(bundle)
        except Exception as error:  # whatever a damaged graph makes its library raise
            unusable[name] = reason(error, settings.models)
    if unusable and not loaded:
        reasons = "; ".join(f"{name}: {why}" for name, why in unusable.items())
        raise InvalidConfig(f"no bundle in {settings.models} can be used: {reasons}")
    return loaded


def check_exposed(settings: Settings) -> None:
    """Raise InvalidConfig if anybody could connect without a key, or if the database cannot be used."""
    guarded = False
    if missing_file(settings.database_url) is None:  # one that is not there has no keys, and is made when it is needed
        with contextlib.closing(Database(settings.database_url, connections=1)) as database:
            guarded = any(key.usable(time.time()) for key in ApiKeys(database).all())
    if not settings.loopback and not guarded and not settings.allow_unauthenticated:
        raise InvalidConfig(
            f"refusing to serve on {settings.host}, where anybody could connect without a key: make one "
            "(wtl keys create), use 127.0.0.1, or set allow_unauthenticated (WTL_ALLOW_UNAUTHENTICATED=1)"
        )


class _Server(uvicorn.Server):
    """A uvicorn server that drains before it stops: streams end, and load balancers notice that it is not ready."""

    def __init__(self, config: uvicorn.Config, shutdown: Shutdown, drain_s: float) -> None:
        super().__init__(config)
        self._shutdown, self._drain_s = shutdown, drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain and then stop at the first signal, stop at once at the second."""
        if self._shutdown.draining.is_set() or self._drain_s == 0:
            self._stop(sig, frame)
        else:
            self._shutdown.draining.set()
            timer = threading.Timer(self._drain_s, self._stop, (sig, frame))
            timer.daemon = True
            timer.start()

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._shutdown.stop()


def uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Configure uvicorn for `app`."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="auto" if settings.stream_listener == "websockets" else "service.event_loop:new_event_loop",
        log_config=None,
        access_log=False,
        ws=websocket_protocol(settings.stream_listener),
        # Actions are too small to be worth compressing.
        ws_per_message_deflate=False,
        ws_max_size=settings.max_body_bytes,
        server_header=False,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(settings.shutdown_s),
    )


def websocket_protocol(listener: StreamListener) -> Any:
    """Return uvicorn's setting for the protocol of WebSockets. Raises InvalidConfig if picows is wanted and missing."""
    if listener != "websockets":
        try:
            from service.picows_listener import PicowsProtocol

            return PicowsProtocol
        except ImportError as error:
            if listener == "picows":
                raise InvalidConfig(
                    "stream_listener: picows is not installed; install it (pip install picows), or choose auto"
                ) from error
    return "websockets-sansio"  # it needs no task per frame, so it is faster than uvicorn's default


def _run(app: FastAPI, settings: Settings) -> None:
    # Uvicorn raises the signal again after the last response, but a requested end is no failure.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        _Server(uvicorn_config(app, settings), app.state.shutdown, settings.drain_s).run()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
