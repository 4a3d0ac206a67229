"""The service in several replicas on a Ray cluster: the same application behind Ray Serve's proxies.

All replicas share one database and one store of episodes, so any of them answers any request. Requests of one
adaptation (header `x-session-id`) go to one replica as long as it is free: it has the belief in memory, and that
is all. Batches are made by each replica's engine, from whatever waits there.
"""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from metalearn.cluster.connection import connect
from metalearn.data.errors import InvalidConfig
from service.app import create_app
from service.server import check_exposed
from service.settings import Settings

NAME = "watch-try-learn"
ONGOING_REQUESTS = 256
"""In one replica; they are what its engine makes batches of. More wait at the proxy."""
STICKY = RequestRouterConfig(request_router_class="ray.serve.experimental.consistent_hash_router:ConsistentHashRouter")


class _Replica:
    """One server, without a port of its own. Settings not given come from `WTL_...` where it runs."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        settings = Settings(**given)
        check_exposed(settings)
        self._app = create_app(settings)

    def __serve_build_asgi_app__(self) -> Any:
        return self._app

    def check_health(self) -> None:
        """Raise if the inference thread has stopped; Ray Serve polls this and replaces a replica that raises."""
        container = getattr(self._app.state, "container", None)
        if container is not None and not container.engine.alive:
            raise RuntimeError("the inference thread has stopped")


Replica: Any = serve.deployment(
    name="service", max_ongoing_requests=ONGOING_REQUESTS, request_router_config=STICKY, health_check_period_s=5
)(serve.ingress()(_Replica))  # Ray has no types


def application(given: Mapping[str, Any]) -> Application:
    """Build the application of `import_path: wtl.ray_serve:application`; `args` are fields of `Settings`.

    The address of the proxies is not known here. Unless `host` says that only this machine can connect, there has to
    be an API key.
    """
    return Replica.bind({"host": "0.0.0.0", **given})  # noqa: S104 (what is assumed, not what is bound)


def serve_on_ray(settings: Settings, given: Mapping[str, Any], n_replicas: int, address: str | None) -> None:
    """Serve `settings` on a cluster until SIGTERM or SIGINT.

    Joins the cluster at `address`, or the one that this machine knows, or starts one. `given` are the fields that
    differ from what replicas would take from their environment.

    Raises:
        InvalidConfig: the service would be open to everybody, there is no cluster, or the replicas do not start.
    """
    check_exposed(settings)
    stop = threading.Event()
    with _until_signal(stop), _on_ray(address, n_replicas):
        serve.start(proxy_location="EveryNode", http_options={"host": settings.host, "port": settings.port})
        share = min(1.0, ray.cluster_resources().get("CPU", 1.0) / n_replicas)
        options = {"num_replicas": n_replicas, "ray_actor_options": {"num_cpus": share}}
        target = Replica.options(**options).bind(_portable(given))
        try:
            serve.run(target, name=NAME, route_prefix="/")
            stop.wait()
        except RuntimeError as error:
            raise InvalidConfig(f"the service does not start on Ray: {str(error).splitlines()[0]}") from error
        finally:
            serve.shutdown()


def _portable(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with absolute paths, because a replica has another working directory."""
    return {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in given.items()}


@contextmanager
def _on_ray(address: str | None, n_replicas: int) -> Iterator[None]:
    started = connect(address, n_replicas)
    try:
        yield
    finally:
        if started:
            ray.shutdown()


@contextmanager
def _until_signal(stop: threading.Event) -> Iterator[None]:
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
