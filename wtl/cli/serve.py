"""`wtl serve` and `wtl demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metalearn.data.errors import InvalidConfig
from wtl.cli.options import ModelsFolder, RayAddress, Seed, Threads
from wtl.threads import use_threads


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen at. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen at. [default: 8000]")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for the database and the episodes. [default: data]")] = None,
    models: ModelsFolder = None,
    ray_serve: Annotated[bool, typer.Option("--ray-serve", help="Serve in replicas on a Ray cluster.")] = False,
    replicas: Annotated[int, typer.Option(min=1, max=1000, help="Number of replicas for --ray-serve.")] = 1,
    ray_address: RayAddress = None,
) -> None:
    """Serve models over REST. Settings can also come from the environment, as WTL_PORT=9000.

    \b
    Examples:
      wtl serve                                 # then open http://127.0.0.1:8000/docs
      wtl serve --port 9000 --models runs/demo/models
      wtl serve --ray-serve --replicas 4        # on a Ray cluster
    """
    from pydantic import ValidationError

    from metalearn.config import faults
    from service.server import serve as run
    from service.settings import Settings

    options = {"host": host, "port": port, "data": data, "models": models}
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InvalidConfig(f"settings: {faults(error, values=False)}") from error
    if not ray_serve and (replicas > 1 or ray_address is not None):
        raise InvalidConfig("--replicas and --ray-address need --ray-serve")
    _check_free(settings.host, settings.port)
    if ray_serve:
        from wtl.ray_serve import serve_on_ray

        serve_on_ray(settings, given, replicas, ray_address)
    else:
        run(settings)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the models, the report and its plot.")] = Path("runs/demo"),
    tasks: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of test tasks to adapt to.")] = 1000,
    seed: Seed = None,
    threads: Threads = None,
) -> None:
    """Train reach-m2 from scratch, serve it, and adapt it to test tasks over REST. This takes some minutes.

    \b
    Examples:
      wtl demo
      wtl demo --tasks 200 --out /tmp/demo
    """
    use_threads(threads)
    from metalearn.baselines.bundled import methods_of
    from metalearn.experiments import find_experiment
    from wtl.demo import run_demo
    from wtl.runs import make_collector, run_training

    def train_named(name: str, folder: Path) -> Path:
        with make_collector(0, False, None) as collector:
            run_training(find_experiment(name), folder, None, collector, ("bc",), Console())
        return folder / "bundle"

    run_demo(out, train=train_named, adapters=methods_of, n_tasks=tasks, seed=seed or 0)


def _check_free(host: str, port: int) -> None:
    """Raise InvalidConfig if the port is taken, before anything is loaded."""
    import socket

    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidConfig(f"cannot listen at {host}:{port}: {reason}; choose another --port") from error
