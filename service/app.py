"""Makes the application: middleware, routes, error handlers, and the container that opens and closes with it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import anyio.to_thread
import structlog
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from opentelemetry.trace import TracerProvider
from starlette.middleware.cors import CORSMiddleware

from service.api import error_handlers
from service.api.gauges import shared_state_gauges
from service.api.middleware.access_log import AccessLogMiddleware
from service.api.middleware.auth import AuthMiddleware
from service.api.middleware.fast_act import FastActMiddleware
from service.api.middleware.front_door import CORS, FrontDoorMiddleware, HeadMiddleware, PrefixMiddleware
from service.api.openapi import TAGS, describe, operation_id
from service.api.readiness import Readiness
from service.api.routes import (
    acting,
    adaptations,
    datasets,
    episodes,
    experiments,
    exports,
    health,
    models,
    operators,
    pages,
    recognitions,
    stored_episodes,
    stream,
    training_jobs,
    versions,
)  # fmt: skip
from service.api.routes.console import console_routers
from service.api.scopes import public_paths
from service.api.shutdown import Shutdown
from service.container import Container
from service.inference import RuntimeFactory, factory_of
from service.observability.metrics import Metrics
from service.security.web_access import WebAccess
from service.settings import Settings

_log = structlog.get_logger("service")

_DESCRIPTION = """Meta-learning as a service: show a task, let the policy try it, get a better policy back.

Bodies are JSON or msgpack (numpy arrays in openpi's convention), gzipped or not. Errors are RFC 9457 problems.
"""

_ROUTERS = (
    acting.router, stream.router, adaptations.router, versions.router, episodes.router, stored_episodes.router,
    exports.router, recognitions.router, models.changes, models.router, experiments.router, datasets.router,
    training_jobs.router, operators.caller, operators.router, health.router, health.scraped, pages.router,
)  # fmt: skip


def create_app(
    settings: Settings,
    *,
    runtime_factory: RuntimeFactory | None = None,
    now: Callable[[], float] = time.time,
    monotonic: Callable[[], float] | None = None,
    traces: TracerProvider | None = None,
) -> FastAPI:
    """Make the application. It opens the data folder and loads the models when it starts, not before.

    Args:
        settings: the settings of the server.
        runtime_factory: makes a runtime of a bundle; that of the settings if absent.
        now: the wall clock, in seconds since 1970.
        monotonic: a clock that does not jump; that of the system, or `now` if only that is given.
        traces: the destination of spans; None: no spans are made.

    Raises:
        InvalidConfig: an allowed host or origin in the settings is none.
    """
    steady = monotonic or (time.monotonic if now is time.time else now)
    factory = runtime_factory or factory_of(settings.runtime)
    metrics = Metrics.make()
    shutdown = Shutdown()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.request_threads
        manager = Container.open(settings, metrics, factory, shutdown.draining, now, steady)
        container = await run_in_threadpool(manager.__enter__)
        app.state.container, app.state.readiness = container, Readiness(container)
        sweeper = asyncio.create_task(_sweep(container))
        try:
            with shared_state_gauges(container):
                yield
        finally:
            sweeper.cancel()
            await run_in_threadpool(manager.__exit__, None, None, None)

    app = FastAPI(
        title="watch, try, learn",
        description=_DESCRIPTION,
        openapi_tags=TAGS,
        version="1",
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,  # `pages` has it, with examples for the models that are served
        generate_unique_id_function=operation_id,
        telemetry={"tracer_provider": traces, "tracing": traces is not None, "metrics": False, "logs": False},
    )
    app.state.shutdown = shutdown
    access = WebAccess(settings.allowed_hosts, settings.allowed_origins, settings.host)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(AuthMiddleware, now=now)
    if access.origins:
        app.add_middleware(CORSMiddleware, allow_origins=sorted(access.origins), **CORS)
    app.add_middleware(FrontDoorMiddleware, access=access, shutdown=shutdown)
    error_handlers.install(app)
    for router in (*_ROUTERS, *(console_routers() if settings.shows_console else ())):
        app.include_router(router)
    app.state.public_paths = public_paths(app.routes)
    describe(app)
    # Middleware that is added later wraps the one before.
    app.add_middleware(
        AccessLogMiddleware, metrics=metrics, tracer=None if traces is None else traces.get_tracer("service")
    )
    if traces is None:
        app.add_middleware(FastActMiddleware, metrics=metrics, access=access)
    if settings.root_path:
        app.add_middleware(PrefixMiddleware, prefix=settings.root_path)
    return app


async def _sweep(container: Container) -> None:
    work = container.tidy
    while True:
        try:
            await run_in_threadpool(work)
        except Exception:
            _log.exception("the cleanup of expired data failed; trying again later")
        work = container.sweep
        await asyncio.sleep(container.settings.sweep_every_s)
