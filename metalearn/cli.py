"""`wtl`, the command line. What a command needs is imported when it runs, so that `wtl --help` answers at once.

A user's mistake is one sentence on standard error and exit code 2, never a traceback.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from metalearn.data.errors import InvalidConfig, WatchTryLearnError

if TYPE_CHECKING:
    from metalearn.bundle import Bundle
    from metalearn.config import Experiment

app = typer.Typer(
    name="wtl",
    help="Watch, try, learn: meta-train a policy that learns new tasks from a demonstration and its own trials.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Seed = Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Another seed than the usual one.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `wtl` and return its exit code."""
    sys.path.insert(0, str(Path.cwd()))  # where the user's own module:Class is
    try:
        return app(args=arguments, prog_name="wtl", standalone_mode=False) or 0
    except typer.TyperException as error:
        sentence, code = error.format_message(), error.exit_code
    except WatchTryLearnError as error:
        sentence, code = str(error), 2
    except OSError as error:
        sentence, code = ": ".join(str(part) for part in (error.filename, error.strerror) if part), 2
    except (KeyboardInterrupt, typer.Abort):
        sentence, code = "interrupted", 130
    print(f"wtl: {sentence}", file=sys.stderr)  # noqa: T201
    return code


def _print_version(wanted: bool | None) -> None:
    if wanted:
        print(installed_version("watch-try-learn"))  # noqa: T201
        raise typer.Exit


@app.callback()
def _wtl(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and exit.")
    ] = None,
) -> None:
    pass


@app.command()
def train(
    experiment: Annotated[str | None, typer.Argument(help="A named experiment: `wtl experiments` lists them.")] = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/EXPERIMENT if not given.")] = None,
    family: Annotated[str | None, typer.Option(help="Your own family of tasks, as module:Class.")] = None,
    episodes: Annotated[Path | None, typer.Option(help="Learn from this folder of recorded episodes.")] = None,
    steps: Annotated[int | None, typer.Option(min=10, help="Gradient steps in all, instead of the usual.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Collect in so many processes; 0: in this one.")] = 0,
    ray: Annotated[bool, typer.Option("--ray", help="Collect in Ray actors, here or on a cluster.")] = False,
    ray_address: Annotated[str | None, typer.Option(help="The cluster of --ray, as host:port.")] = None,
    baselines: Annotated[bool, typer.Option(help="Train the baselines of the table too.")] = True,
    device: Annotated[str, typer.Option(help="Learn on this device, as torch names it: cpu, cuda, cuda:1.")] = "cpu",
) -> None:
    """Meta-train a policy and leave its bundle in OUT/bundle.

    Stopped by Ctrl-C or SIGTERM it leaves a checkpoint, and the same command goes on from it.

    \b
    Examples:
      wtl train reach-m2                   # minutes on 2 cores
      wtl train reach-m2 --seed 1 --out runs/second
      wtl train --family my_tasks:Doors    # your own Gymnasium environments
      wtl train --episodes recordings      # recorded episodes, no simulator
      wtl train reach-m2 --ray             # collect in Ray actors
      wtl train ml10-large --device cuda --workers 15    # learn on a GPU in bfloat16, simulate on the CPU's cores
    """
    from metalearn.baselines.methods import BASELINES
    from metalearn.cluster.jobs import lasting
    from metalearn.session import run_training, where_to_collect
    from metalearn.training.learner import Compute

    compute = Compute(device=device, precision="float32" if device == "cpu" else "bfloat16")
    wanted = _experiment(experiment, family, episodes, seed, steps)
    usual = Path("runs") / (wanted.name if seed is None else f"{wanted.name}-seed{seed}")
    folder = lasting(out or usual, Path.cwd(), Path.home())
    with where_to_collect(workers, ray or ray_address is not None, ray_address) as collector:
        names = BASELINES if baselines else ()
        bundle = run_training(wanted, folder, episodes, collector, names, Console(), compute)
    name = folder / "bundle"
    typer.echo(f"\n{bundle.name} is trained: {name}\n\nWhat to type next:")
    typer.echo(f"  wtl evaluate {name}" + (f" --manifest {wanted.manifest}" if wanted.manifest else " --manifest NAME"))
    typer.echo(f"  wtl serve --models {name}")


@app.command()
def evaluate(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or the name of a shipped model.")],
    manifest: Annotated[
        str | None, typer.Option(help="The benchmark: its name or a JSON file. The experiment's if not given.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="The manifest's family, if it is your own module:Class.")] = None,
    seed: Seed = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="So many episodes, instead of the manifest's.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the report here (PNG).")] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the report in the bundle.")] = False,
) -> None:
    """Measure a bundle on tasks that it has never seen, beside baselines, bound and controls.

    \b
    Examples:
      wtl evaluate reach --manifest reach-m2
      wtl evaluate runs/reach-m2 --json report.json --picture report.png
      wtl evaluate reach --seed 7 --episodes 500    # fresh unseen tasks
    """
    from metalearn.evaluation.table import print_report
    from metalearn.session import run_evaluation

    folder = _bundle_folder(bundle)
    for path in (json, picture):
        if path and path.is_dir():
            raise InvalidConfig(f"{path} is a folder; name a file")
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)  # fail before the work rather than after it
    report = run_evaluation(folder, manifest, family, seed, episodes, picture, save, Console(stderr=True))
    print_report(report, Console())
    if json:
        typer.echo(f"report: {report.write(json)}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen at. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="[default: 8000]")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of adaptations and episodes. [default: data]")] = None,
    models: Annotated[Path | None, typer.Option(help="Folder of bundles; the shipped models if not given.")] = None,
) -> None:
    """Serve models over REST: demonstrations in, policy out; scored trials in, better policy out.

    \b
    Examples:
      wtl serve                                 # then open http://127.0.0.1:8000/docs
      wtl serve --port 9000 --models runs/demo/models
    """
    from pydantic import ValidationError

    from service.app import serve as run
    from service.settings import Settings

    given = {"host": host, "port": port, "data": data, "models": models}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidConfig(f"settings: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    _check_free(settings.host, settings.port)
    run(settings)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for models, report and picture.")] = Path("runs/demo"),
    tasks: Annotated[int, typer.Option(min=1, max=1_000_000, help="Unseen tasks to adapt to.")] = 1000,
    seed: Seed = None,
) -> None:
    """Train reach-m2 from scratch, serve it, and adapt to unseen tasks over REST: the whole story, in minutes.

    \b
    Examples:
      wtl demo
      wtl demo --tasks 200 --out /tmp/demo
    """
    from metalearn.baselines.methods import methods_of
    from metalearn.demo import run_demo
    from metalearn.experiments import find_experiment
    from metalearn.session import run_training, where_to_collect

    def train_named(name: str, folder: Path) -> Path:
        with where_to_collect(0, False, None) as collector:
            run_training(find_experiment(name), folder, None, collector, ("bc",), Console())
        return folder / "bundle"

    run_demo(out, train=train_named, adapters=methods_of, n_tasks=tasks, seed=seed or 0)


@app.command()
def benchmark(
    suite: Annotated[str | None, typer.Argument(help="Which suite; without one they are listed.")] = None,
    methods: Annotated[str | None, typer.Option(help="Only these of the suite's methods, as a,b,c.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Training seeds, instead of the suite's number.")] = None,
    part: Annotated[
        str | None, typer.Option(help="Only these: methods,grid,tracks,speed,optimisers,generalisation.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report. [default: benchmarks/results/SUITE]")] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder of the work. [default: runs/benchmark/SUITE]")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Collect in so many processes; 0: in this one.")] = 0,
    page: Annotated[bool, typer.Option("--page", help="Only draw the page again, from its report.json.")] = False,
) -> None:
    """Train what is not trained, measure everything side by side, and write a report and a page with pictures.

    Whatever is done is kept in the folder of the work: stopped or killed, the same command goes on where it was.
    Several commands may work on different parts of one suite at a time.

    \b
    Examples:
      wtl benchmark                                  # list the suites
      wtl benchmark smoke                            # everything in a minute, figures of no meaning
      wtl benchmark reach-m2 --seeds 1 --methods wtl,bc,replay
      wtl benchmark reach-m2 --part optimisers       # episodes to match one demo and one trial
      wtl benchmark reach-m2 --page                  # draw the page again
    """
    if suite is None:
        from metalearn.benchmark.suites import list_suites

        Console().print(list_suites())
    elif page:
        from metalearn.benchmark.page import draw_page_again

        typer.echo(f"page: {draw_page_again(suite, out)}")
    else:
        from metalearn.benchmark.command import run_named
        from metalearn.session import where_to_collect
        from metalearn.terminal import stop_request

        chosen, wanted = _listed(methods), _listed(part)
        with where_to_collect(workers, False, None) as collector, stop_request() as request:
            stopped = run_named(suite, wanted, chosen, seeds, out, runs, collector, request.asked, Console())
        if stopped:
            raise typer.Exit(128 + (request.signal or 0))


def _listed(text: str | None) -> tuple[str, ...]:
    """`a,b` as ("a", "b")."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


@app.command()
def experiments() -> None:
    """List the named experiments."""
    from rich.table import Table

    from metalearn.experiments import EXPERIMENTS

    table = Table("experiment", "family", "manifest", "tasks", "steps", box=None, pad_edge=False)
    for one in EXPERIMENTS.values():
        table.add_row(one.name, one.family, one.manifest, f"{one.data.n_tasks:,}", f"{one.training.total_steps:,}")
    Console().print(table)


@app.command()
def models(
    folder: Annotated[Path | None, typer.Argument(help="Folder of bundles; the shipped models if not given.")] = None,
) -> None:
    """List the bundles in a folder, with what they were measured at."""
    from rich.table import Table

    from metalearn.bundle import Bundle
    from service.settings import SHIPPED_MODELS

    if folder is not None and not folder.is_dir():
        raise InvalidConfig(f"no folder of bundles at {folder}")
    found = sorted((folder or SHIPPED_MODELS).glob("*/bundle.json"))
    table = Table("model", "id", "observation", "action", "success after 0, 1, ... trials", box=None, pad_edge=False)
    for path in found:
        bundle = Bundle.load(path.parent)
        size = ("discrete " if bundle.spec.discrete else "") + str(bundle.spec.action_size)
        table.add_row(bundle.name, bundle.id[:12], str(bundle.spec.observation_size), size, _curve(bundle))
    Console().print(table if found else f"no bundles in {folder or SHIPPED_MODELS}")


def _curve(bundle: "Bundle") -> str:
    if bundle.report is None:
        return "not measured"
    try:
        return ", ".join(f"{100 * point['success']:.1f}%" for point in bundle.report["methods"]["wtl"]["curve"])
    except (KeyError, TypeError, ValueError):
        return "measured by something else"


def _experiment(
    name: str | None, family: str | None, episodes: Path | None, seed: int | None, steps: int | None
) -> "Experiment":
    """The named experiment, or one made up for the user's own family or episodes, with what was asked to differ."""
    from metalearn.config import DataConfig, Experiment
    from metalearn.experiments import find_experiment
    from metalearn.tasks.registry import find_family

    if name is not None:
        experiment = find_experiment(name)
        if family is not None:
            experiment = experiment.model_copy(update={"family": family, "manifest": None})
    elif family is not None:
        own = find_family(family)
        n_tasks = min(DataConfig().n_tasks, len(own.splits["train"]))
        experiment = Experiment(name=own.name, family=family, data=DataConfig(n_tasks=n_tasks))
    elif episodes is not None:
        experiment = Experiment(name=episodes.resolve().name, family="")
    else:
        raise InvalidConfig("train what? Name an experiment (`wtl experiments` lists them), --family or --episodes")
    experiment = experiment if seed is None else experiment.with_seed(seed)
    return experiment if steps is None else experiment.with_steps(steps)


def _bundle_folder(name: str) -> Path:
    """The folder that a user means: a bundle's, a run's, or a shipped model by its name."""
    from service.settings import SHIPPED_MODELS

    given = Path(name)
    for folder in (given, given / "bundle", SHIPPED_MODELS / given.name):
        if (folder / "bundle.json").exists():
            return folder
    shipped = ", ".join(sorted(path.parent.name for path in SHIPPED_MODELS.glob("*/bundle.json"))) or "none"
    raise InvalidConfig(f"no bundle at {name} (shipped models: {shipped})")


def _check_free(host: str, port: int) -> None:
    """Say that a port is taken before anything is loaded."""
    import socket

    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidConfig(f"cannot listen at {host}:{port}: {reason}; choose another --port") from error


if __name__ == "__main__":
    sys.exit(main())
