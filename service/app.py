"""The one place that wires the service: `create_app` makes it, `serve` runs it."""

import asyncio
import contextlib
import math
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any, Literal

import anyio.to_thread
import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from opentelemetry.trace import TracerProvider
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from metalearn.bundle import Bundle
from metalearn.data.errors import InvalidConfig
from service import cards, logs, problems, schemas
from service.codecs import JSON, MSGPACK
from service.database import Database
from service.engine import Runtime, RuntimeFactory, factory_of
from service.figures import exposed
from service.guard import Guard
from service.jobs import schemas as jobs
from service.keys import Keys
from service.metrics import Metrics
from service.observe import Observe
from service.readiness import Readiness
from service.registry import read_bundles
from service.routes import acting, adaptations, archives, episodes, health, models, stream, training, versions
from service.routes.parameters import operation_id
from service.settings import Settings
from service.shortcut import Shortcut
from service.state import Service
from service.traces import exporting

_log = structlog.get_logger("service")
_DESCRIPTION = """Meta-learning as a service: show a task, let the policy try it, get a better policy back.

Bodies are JSON or msgpack (numpy arrays in openpi's convention), gzipped or not. Errors are RFC 9457 problems.
"""


def create_app(
    settings: Settings,
    *,
    runtime_factory: RuntimeFactory | None = None,
    now: Callable[[], float] = time.time,
    traces: TracerProvider | None = None,
) -> FastAPI:
    """The application. It opens the data folder and loads the models when it starts, not before.

    Args:
        settings: how it behaves.
        runtime_factory: what makes a bundle act, if not the runtime that the settings name.
        now: the clock that adaptations expire by.
        traces: where spans go; None: nowhere.
    """
    factory = runtime_factory or factory_of(settings.runtime)
    metrics = Metrics.make()
    draining = threading.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
        opening = Service.open(settings, metrics, factory, draining, now)
        service = await run_in_threadpool(opening.__enter__)
        app.state.service, app.state.readiness = service, Readiness(service)
        sweeper = asyncio.create_task(_sweep(service))
        try:
            with exposed(service, now):
                yield
        finally:
            sweeper.cancel()
            await run_in_threadpool(opening.__exit__, None, None, None)

    app = FastAPI(
        title="watch, try, learn",
        description=_DESCRIPTION,
        version="1",
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        telemetry={"tracer_provider": traces, "tracing": traces is not None, "metrics": False, "logs": False},
    )
    app.state.draining = draining
    app.add_middleware(Guard, now=now)
    problems.install(app)
    for module in (acting, stream, adaptations, versions, episodes, archives, models, training, health):
        app.include_router(module.router)
    _describe_bodies(app)
    # The later ones are around the earlier ones.
    app.add_middleware(Observe, metrics=metrics, tracer=None if traces is None else traces.get_tracer("service"))
    if traces is None:
        app.add_middleware(Shortcut, metrics=metrics)
    return app


def serve(settings: Settings, *, runtime_factory: RuntimeFactory | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are answered first.

    Raises:
        InvalidConfig: other machines could connect, and nobody has a key; or the models or the database cannot
            be used.
    """
    check_exposed(settings)
    with logs.configured(settings.log_format):
        factory = runtime_factory or factory_of(settings.runtime)
        # What cannot be loaded is one sentence here, and a traceback in the lifespan.
        loaded = {bundle.id: factory(bundle) for bundle in read_bundles(settings.models).values()}
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


def check_exposed(settings: Settings) -> None:
    """Raises InvalidConfig: anybody could come in; or the database cannot be used."""
    with contextlib.closing(Database(settings.database_url, connections=1)) as database:
        guarded = any(key.usable(time.time()) for key in Keys(database).all())
    if not settings.loopback and not guarded and not settings.allow_unauthenticated:
        raise InvalidConfig(
            f"refusing to serve on {settings.host}, where anybody could connect without a key: make one "
            "(wtl keys create), use 127.0.0.1, or set allow_unauthenticated (WTL_ALLOW_UNAUTHENTICATED=1)"
        )


class _Server(uvicorn.Server):
    """Uvicorn that says so before it stops: what streams can end, and a load balancer can look elsewhere."""

    def __init__(self, config: uvicorn.Config, draining: threading.Event, drain_s: float) -> None:
        super().__init__(config)
        self._draining, self._drain_s = draining, drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, then stops; a second one stops at once."""
        if self._draining.is_set() or self._drain_s == 0:
            self._draining.set()
            super().handle_exit(sig, frame)
        else:
            self._draining.set()
            timer = threading.Timer(self._drain_s, super().handle_exit, (sig, frame))
            timer.daemon = True
            timer.start()


def uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How `app` is served over sockets."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        # Actions are smaller than what compressing them costs; the protocol without a task per frame is the faster one.
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=settings.max_body_bytes,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_s),
    )


def _run(app: FastAPI, settings: Settings) -> None:
    # Uvicorn raises the signal again when everything was answered; an end that was asked for is no failure.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        _Server(uvicorn_config(app, settings), app.state.draining, settings.drain_s).run()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


async def _sweep(service: Service) -> None:
    work = service.tidy
    while True:
        try:
            await run_in_threadpool(work)
        except Exception:
            _log.exception("what is no longer needed could not be deleted; trying again later")
        work = service.sweep
        await asyncio.sleep(service.settings.sweep_every_s)


def _describe_bodies(app: FastAPI) -> None:
    """Routes decode bodies themselves; this puts the bodies' schemas into the OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            inputs: list[tuple[type[BaseModel], Literal["validation"]]] = [
                (schema, "validation")
                for schema in (*schemas.REQUESTS, *cards.REQUESTS, *jobs.REQUESTS, schemas.Problem)
            ]
            _, definitions = models_json_schema(inputs, ref_template="#/components/schemas/{model}")
            document["components"]["schemas"] |= definitions["$defs"]
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}, {}]  # without one where nobody needs one
            _describe_answers(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_answers(document: dict[str, Any]) -> None:
    """What `/v1` answers in JSON it answers in msgpack too."""
    operations = (item for path, item in document["paths"].items() if path.startswith("/v1/"))
    for response in (r for item in operations for one in item.values() for r in one["responses"].values()):
        content = response.get("content", {})
        if JSON in content:
            content[MSGPACK] = content[JSON]
