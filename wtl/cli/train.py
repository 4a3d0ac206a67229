"""`wtl train` and `wtl experiments`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from metalearn.data.errors import InvalidConfig
from wtl.cli import completions
from wtl.cli.options import Family, Minutes, RayAddress, Seed, Settings, Steps, Threads, Workers
from wtl.cli.recordings import (
    Actions,
    Filter,
    LinksUnder,
    Observations,
    Parts,
    Resample,
    SkipBad,
    Success,
    selection_of,
)
from wtl.cli.tables import print_table
from wtl.cli.task_sets import Demos, Rate, TaskBy, describe, read_task_set
from wtl.next_lines import command
from wtl.threads import use_threads

if TYPE_CHECKING:
    from metalearn.config import Experiment, TrainingConfig
    from metalearn.data.dataset import Dataset


def train(
    experiment: Annotated[
        str | None,
        typer.Argument(
            help="Name of an experiment; `wtl experiments` lists them.", autocompletion=completions.experiments
        ),
    ] = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run. [default: runs/EXPERIMENT]")] = None,
    family: Family = None,
    dataset: Annotated[
        str | None, typer.Option(help="Train on the recorded episodes in this folder or at this URL.")
    ] = None,
    episodes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[KIND:]PATH",
            help="Train on the recordings in this file, folder of files or dataset, as `wtl formats` lists them. May "
            "be given several times.",
        ),
    ] = None,
    task_by: TaskBy = "file",
    demos: Demos = 1,
    observations: Observations = None,
    parts: Parts = False,
    actions: Actions = None,
    success: Success = "auto",
    filter_key: Filter = None,
    resample: Resample = None,
    skip_bad: SkipBad = False,
    links_under: LinksUnder = None,
    rate: Rate = None,
    steps: Steps = None,
    minutes: Minutes = None,
    settings: Settings = None,
    workers: Workers = 0,
    threads: Threads = None,
    ray: Annotated[bool, typer.Option("--ray", help="Collect episodes in Ray actors.")] = False,
    ray_address: RayAddress = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Number of Ray actors that collect. [default: the free CPUs]")
    ] = None,
    learners: Annotated[
        str,
        typer.Option(metavar="N|MIN:MAX", help="Number of Ray processes that learn together; 0: this process learns."),
    ] = "0",
    staleness: Annotated[
        int | None,
        typer.Option(
            min=0, help="Collect trials while training goes on, with weights that are at most this many steps old."
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Keep a copy of the run at this URL, and resume from it.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Train the baselines that `wtl evaluate` compares with.")] = True,
    mlflow: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Log metrics to MLflow too: http://..., sqlite:///FILE, or a folder."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device to learn on, as torch names it: cpu, cuda, cuda:1.")] = "cpu",
) -> None:
    """Meta-train a policy and write its bundle to OUT/bundle.

    When it is stopped by Ctrl-C or SIGTERM it leaves a checkpoint, and the same command resumes from it.

    \b
    Examples:
      wtl train reach-m2                   # minutes on 2 cores
      wtl train reach-m2 --seed 1 --out runs/second
      wtl train --family my_tasks:Doors --minutes 10    # your own Gymnasium environments
      wtl train reach-m2 --set model.n_frames=16 --set training.learning_rate=1e-3    # `wtl settings` lists them
      wtl train --dataset recordings       # recorded episodes, no simulator
      wtl train --episodes lerobot:DIR --task-by instruction    # recordings of others, no simulator
      wtl train --episodes recordings --observations eef_pos,object    # a folder with one file for each task
      wtl train reach-m2 --ray --actors 2  # collect in Ray actors
      wtl train reach-m2 --ray --learners 1:4 --staleness 100 --storage s3://bucket/runs
      wtl train ml10-large --device cuda --workers 15    # learn on a GPU in bfloat16, simulate on the CPU's cores
    """
    use_threads(threads)
    from metalearn.baselines.bundled import usual_baselines
    from metalearn.cluster.jobs import persistent_path
    from metalearn.data.task_sets import TaskRule
    from metalearn.settings import decided, parse
    from metalearn.tasks.registry import find_family
    from metalearn.training.learner import Compute
    from wtl.runs import make_collector, metric_listeners, run_training

    compute = Compute(device=device, precision="float32" if device == "cpu" else "bfloat16")
    if episodes and dataset:
        raise InvalidConfig("--episodes and --dataset are both recorded episodes: leave one of them out")
    wanted = decided(
        _experiment(experiment, family, dataset or (episodes[0] if episodes else None)),
        parse(settings or ()),
        seed=seed,
        steps=steps,
        minutes=minutes,
        staleness=staleness,
    )
    data: str | Dataset | None = dataset
    if episodes:
        if _learners(learners):
            hint = "`wtl convert dataset:DIR` makes a data set of the recordings, which --dataset DIR streams to them"
            raise InvalidConfig(f"--episodes cannot be used with --learners: {hint}")
        selection = selection_of(
            observations,
            success,
            None,
            actions=actions,
            filter_key=filter_key,
            resample=resample,
            skip_bad=skip_bad,
            links_under=links_under,
            parts=parts,
        )
        spec = find_family(wanted.family).spec if wanted.family else None
        selection = selection if spec is None else selection.for_model(spec)
        made = read_task_set(episodes, selection, TaskRule(demos), task_by=task_by, rate_hz=rate, spec=spec)
        typer.echo(describe(made))
        data = made.training
    usual = Path("runs") / (wanted.name if seed is None else f"{wanted.name}-seed{seed}")
    folder = persistent_path(out or usual, Path.cwd(), Path.home())
    url = f"{storage.rstrip('/')}/{folder.name}" if storage else None
    names = usual_baselines() if baselines else ()
    on_ray, together = ray or ray_address is not None, _learners(learners)
    if (actors or together) and not on_ray:
        raise InvalidConfig("--actors and --learners need --ray; without Ray use --workers")
    if together and device != "cpu":
        raise InvalidConfig(
            f"--device {device} cannot be used with --learners, which compute on CPUs: leave one of them out"
        )
    with (
        make_collector(actors or workers, on_ray, ray_address, together) as collector,
        metric_listeners(wanted, folder, on_ray, mlflow) as listeners,
    ):
        bundle = run_training(wanted, folder, data, collector, names, Console(), compute, listeners, url, together)
    name = folder / "bundle"
    typer.echo(f"\n{bundle.name} is trained: {name}\n\nWhat to type next:")
    if wanted.family:  # else nothing here can be tried in
        typer.echo("  " + command("evaluate", name))
    typer.echo("  " + command("serve", "--models", name))


def _name_of(recordings: str) -> str:
    """A name for the model, from the place of its recordings."""
    stem = Path(recordings.rpartition(":")[2]).resolve().stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64] or "recorded"


def _learners(text: str) -> int | tuple[int, int]:
    """`N` or `MIN:MAX`. Raises InvalidConfig."""
    parts = text.split(":")
    if not all(part.isdecimal() for part in parts) or len(parts) > 2:
        raise InvalidConfig(f"--learners: expected N or MIN:MAX, got {text!r}")
    numbers = [int(part) for part in parts]
    if len(numbers) == 2 and not 1 <= numbers[0] <= numbers[1]:
        raise InvalidConfig(f"--learners: expected 1 <= MIN <= MAX, got {text!r}")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def experiments() -> None:
    """List the experiments that `wtl train` knows by name."""
    from metalearn.experiments import EXPERIMENTS

    rows = [
        (
            one.name,
            one.family,
            one.manifest or "-",
            "automatic" if one.decides_tasks else f"{one.data.n_tasks:,}",
            _length(one.training),
        )
        for one in EXPERIMENTS.values()
    ]
    print_table(
        ("experiment", "family", "manifest", "tasks", "length"), rows, whole=("experiment", "family", "manifest")
    )


def _length(training: "TrainingConfig") -> str:
    if training.minutes is not None:
        return f"{training.minutes:g} min at most"
    return f"{training.total_steps:,} steps"


def _experiment(name: str | None, family: str | None, dataset: str | None) -> "Experiment":
    """The named experiment, or a new one for the user's own family or dataset, which may take the usual minutes."""
    from metalearn.experiments import find_experiment, own_experiment
    from metalearn.tasks.registry import find_family

    if name is not None:
        experiment = find_experiment(name)
        if family is not None:
            experiment = experiment.model_copy(update={"family": family, "manifest": None})
    elif family is not None:
        own = find_family(family)
        experiment = own_experiment(own.name, family)
    elif dataset is not None:
        experiment = own_experiment(_name_of(dataset), "")
    else:
        known = "an experiment (`wtl experiments` lists them), a --family, a --dataset or --episodes"
        raise InvalidConfig(f"train what? Name {known}")
    return experiment
