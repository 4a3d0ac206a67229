"""The one place that wires the service: `create_app` makes it, `serve` runs it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable

import anyio.to_thread
import structlog
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from opentelemetry.trace import TracerProvider

from service.api import error_handlers as problems
from service.api.gauges import exposed
from service.api.middleware.access_log import Observe
from service.api.middleware.auth import Guard
from service.api.middleware.fast_act import Shortcut
from service.api.openapi import describe_bodies, operation_id
from service.api.readiness import Readiness
from service.api.routes import acting, adaptations, episodes, health, models, stream, versions
from service.api.routes import exports as archives
from service.api.routes import training_jobs as training
from service.container import Service
from service.inference import RuntimeFactory, factory_of
from service.observability.metrics import Metrics
from service.settings import Settings

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
    describe_bodies(app)
    # The later ones are around the earlier ones.
    app.add_middleware(Observe, metrics=metrics, tracer=None if traces is None else traces.get_tracer("service"))
    if traces is None:
        app.add_middleware(Shortcut, metrics=metrics)
    return app


async def _sweep(service: Service) -> None:
    work = service.tidy
    while True:
        try:
            await run_in_threadpool(work)
        except Exception:
            _log.exception("what is no longer needed could not be deleted; trying again later")
        work = service.sweep
        await asyncio.sleep(service.settings.sweep_every_s)
