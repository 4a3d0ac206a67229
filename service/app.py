"""The one place that wires the service: `create_app` makes it, `serve` runs it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import anyio.to_thread
import uvicorn
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from metalearn.bundle import Bundle
from metalearn.data.errors import InvalidConfig
from service import problems
from service.engine import Runtime, RuntimeFactory, TorchRuntime
from service.metrics import CountRequests, Metrics
from service.registry import read_bundles
from service.routes import adaptations, episodes, health, models
from service.schemas import REQUESTS, Problem
from service.settings import Settings
from service.state import Service, alone_in

_log = logging.getLogger("service")
_DESCRIPTION = """Meta-learning as a service: show a task, let the policy try it, get a better policy back.

Bodies are JSON or msgpack (numpy arrays in openpi's convention), gzipped or not. Errors are RFC 9457 problems.
"""


def create_app(
    settings: Settings,
    *,
    runtime_factory: RuntimeFactory = TorchRuntime.load,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """The application. It opens the data folder and loads the models when it starts, not before."""
    metrics = Metrics.make()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
        opening = Service.open(settings, metrics, runtime_factory, now)
        service = await run_in_threadpool(opening.__enter__)
        app.state.service = service
        sweeper = asyncio.create_task(_sweep(service))
        try:
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
    )
    app.add_middleware(CountRequests, metrics=metrics)
    problems.install(app)
    for module in (adaptations, episodes, models, health):
        app.include_router(module.router)
    _describe_bodies(app)
    return app


def serve(settings: Settings, *, runtime_factory: RuntimeFactory = TorchRuntime.load) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are answered first.

    Raises:
        InvalidConfig: nobody needs a key yet, so other machines must be allowed in explicitly; or the models
            cannot be used; or another server holds the data folder.
    """
    if not settings.loopback and not settings.allow_unauthenticated:
        raise InvalidConfig(
            f"refusing to serve on {settings.host}, where anybody could connect without a key: "
            "use 127.0.0.1, or set allow_unauthenticated (WTL_ALLOW_UNAUTHENTICATED=1)"
        )
    with alone_in(settings.data):
        # What cannot be loaded is one sentence here, and a traceback in the lifespan.
        loaded = {bundle.id: runtime_factory(bundle) for bundle in read_bundles(settings.models).values()}
        if not loaded:
            _log.warning("there is no model in %s: nothing can be adapted", settings.models)

        def load(bundle: Bundle) -> Runtime:
            return loaded.pop(bundle.id, None) or runtime_factory(bundle)

        app = create_app(settings, runtime_factory=load)
        uvicorn.run(
            app, host=settings.host, port=settings.port, workers=1, access_log=False, timeout_graceful_shutdown=10
        )


async def _sweep(service: Service) -> None:
    while True:
        await asyncio.sleep(service.settings.sweep_every_s)
        try:
            await run_in_threadpool(service.sweep)
        except Exception:
            _log.exception("expired adaptations could not be deleted; trying again later")


def _describe_bodies(app: FastAPI) -> None:
    """Routes decode bodies themselves; this puts the bodies' schemas into the OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            inputs: list[tuple[type[BaseModel], Literal["validation"]]] = [
                (schema, "validation") for schema in (*REQUESTS, Problem)
            ]
            _, definitions = models_json_schema(inputs, ref_template="#/components/schemas/{model}")
            document["components"]["schemas"] |= definitions["$defs"]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
