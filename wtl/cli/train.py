"""`wtl train` and `wtl experiments`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from metalearn.data.errors import InvalidConfig
from wtl.cli.options import Seed

if TYPE_CHECKING:
    from metalearn.config import Experiment


def train(
    experiment: Annotated[str | None, typer.Argument(help="A named experiment: `wtl experiments` lists them.")] = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/EXPERIMENT if not given.")] = None,
    family: Annotated[str | None, typer.Option(help="Your own family of tasks, as module:Class.")] = None,
    episodes: Annotated[str | None, typer.Option(help="Learn from recorded episodes: a folder, or its URL.")] = None,
    steps: Annotated[int | None, typer.Option(min=10, help="Gradient steps in all, instead of the usual.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Collect in so many processes; 0: in this one.")] = 0,
    ray: Annotated[bool, typer.Option("--ray", help="Collect in Ray actors, here or on a cluster.")] = False,
    ray_address: Annotated[str | None, typer.Option(help="The cluster of --ray, as host:port.")] = None,
    actors: Annotated[int | None, typer.Option(min=1, help="So many of --ray; default: free CPUs.")] = None,
    learners: Annotated[str, typer.Option(help="Learn in N processes of --ray, or in MIN:MAX; 0: in this one.")] = "0",
    staleness: Annotated[
        int | None, typer.Option(min=0, help="Gradient steps that own trials may lag behind, to collect meanwhile.")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="Keep the run at this URL too, and go on from there.")] = None,
    baselines: Annotated[bool, typer.Option(help="Train the baselines of the table too.")] = True,
    mlflow: Annotated[
        str | None, typer.Option(help="Log figures to this MLflow too: http://..., sqlite:///FILE, or a folder.")
    ] = None,
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
      wtl train reach-m2 --ray --actors 2  # collect in Ray actors
      wtl train reach-m2 --ray --learners 1:4 --staleness 100 --storage s3://bucket/runs
      wtl train ml10-large --device cuda --workers 15    # learn on a GPU in bfloat16, simulate on the CPU's cores
    """
    from metalearn.baselines.bundled import BASELINES
    from metalearn.cluster.jobs import persistent_path
    from metalearn.training.learner import Compute
    from wtl.runs import figures_to, run_training, where_to_collect

    compute = Compute(device=device, precision="float32" if device == "cpu" else "bfloat16")
    wanted = _experiment(experiment, family, episodes, seed, steps)
    usual = Path("runs") / (wanted.name if seed is None else f"{wanted.name}-seed{seed}")
    if staleness is not None:
        wanted = wanted.with_staleness(staleness)
    folder = persistent_path(out or usual, Path.cwd(), Path.home())
    url = f"{storage.rstrip('/')}/{folder.name}" if storage else None
    on_ray, names, together = ray or ray_address is not None, BASELINES if baselines else (), _learners(learners)
    if (actors or together) and not on_ray:
        raise InvalidConfig("--actors and --learners are of --ray: give that too, or --workers")
    if together and device != "cpu":
        raise InvalidConfig(f"--device: learners of --learners compute on CPUs, got {device!r}: leave one out")
    with (
        where_to_collect(actors or workers, on_ray, ray_address, together) as collector,
        figures_to(wanted, folder, on_ray, mlflow) as act_response,
    ):
        bundle = run_training(
            wanted, folder, episodes, collector, names, Console(), compute, act_response, url, together
        )
    name = folder / "bundle"
    typer.echo(f"\n{bundle.name} is trained: {name}\n\nWhat to type next:")
    typer.echo(f"  wtl evaluate {name}" + (f" --manifest {wanted.manifest}" if wanted.manifest else " --manifest NAME"))
    typer.echo(f"  wtl serve --models {name}")


def _learners(text: str) -> int | tuple[int, int]:
    """`N` or `MIN:MAX`. Raises InvalidConfig."""
    parts = text.split(":")
    if not all(part.isdecimal() for part in parts) or len(parts) > 2:
        raise InvalidConfig(f"--learners: expected a number, or fewest:most, got {text!r}")
    numbers = [int(part) for part in parts]
    if len(numbers) == 2 and not 1 <= numbers[0] <= numbers[1]:
        raise InvalidConfig(f"--learners: expected at least one, and no more than the most, got {text!r}")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def experiments() -> None:
    """List the named experiments."""
    from rich.table import Table

    from metalearn.experiments import EXPERIMENTS

    table = Table("experiment", "family", "manifest", "tasks", "steps", box=None, pad_edge=False)
    for one in EXPERIMENTS.values():
        table.add_row(one.name, one.family, one.manifest, f"{one.data.n_tasks:,}", f"{one.training.total_steps:,}")
    Console().print(table)


def _experiment(
    name: str | None, family: str | None, episodes: str | None, seed: int | None, steps: int | None
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
        experiment = Experiment(name=Path(episodes).resolve().name, family="")
    else:
        raise InvalidConfig("train what? Name an experiment (`wtl experiments` lists them), --family or --episodes")
    experiment = experiment if seed is None else experiment.with_seed(seed)
    return experiment if steps is None else experiment.with_steps(steps)
