"""Recordings to train on: `wtl train --episodes FROM` and `wtl convert dataset:DIR --from FROM`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metalearn.data.errors import InvalidConfig, InvalidData
from wtl.cli.options import finite
from wtl.cli.recordings import say

if TYPE_CHECKING:
    from metalearn.data.formats import Recorded, Selection
    from metalearn.data.spec import Spec
    from metalearn.data.task_sets import TaskRule, TaskSet

TaskBy = Annotated[
    str,
    typer.Option(
        metavar="file|instruction|KEY",
        help="What says which episodes are of one task: the file or dataset that they are in, the instruction that "
        "goes with them, or a key of the dataset that has one value in each episode.",
    ),
]
Demos = Annotated[
    int, typer.Option(min=0, help="Episodes of a task that are its demonstrations; the other good ones are imitated.")
]
Rate = Annotated[
    float | None,
    typer.Option(min=0, callback=finite, metavar="HZ", help="Steps per second, where the recordings do not say it."),
]
Horizon = Annotated[
    int | None, typer.Option(min=1, help="Most steps of an episode. [default: those of the longest recorded]")
]
HeldOut = Annotated[
    float,
    typer.Option(
        min=0, max=0.9, callback=finite, help="Share of the tasks that go to DIR-held-out and are not trained on."
    ),
]


def read_task_set(
    sources: Sequence[str],
    selection: "Selection",
    rule: "TaskRule",
    *,
    task_by: str,
    rate_hz: float | None,
    horizon: int | None = None,
    spec: "Spec | None" = None,
    clip: bool = False,
) -> "TaskSet":
    """The recordings as tasks to train on; says what was left out. Raises InvalidData, InvalidConfig, OSError."""
    from metalearn.data.fitting import fit_recorded
    from metalearn.data.spec import Spec
    from metalearn.data.task_sets import make_task_set

    named = _by_name(sources, selection, task_by)
    if spec is None:
        rates = {part.rate_hz for part in named.values()} if rate_hz is None else {rate_hz}
        rate = rates.pop() if len(rates) == 1 else None
        if not rate:
            raise InvalidConfig("the recordings do not say their rate, or differ in it: give --rate, steps per second")
        spec = Spec.of_episodes([episode for part in named.values() for episode in part.episodes], rate, horizon)
    fitted = {}
    for name, part in named.items():
        try:
            fitted[name] = fit_recorded(part, spec, "episodes", clip=clip, skip_bad=selection.skip_bad)
        except InvalidData as error:
            raise error.within(name) from error
    say(list(fitted.values()), remarks=True)
    made = make_task_set({name: part.episodes for name, part in fitted.items()}, spec, rule)
    for one in made.skipped:
        typer.echo(f"left out task {one.episode}: {one.reason}", err=True)
    return made


def save_task_set(made: "TaskSet", folder: Path) -> Path | None:
    """Write the data set, and beside it the tasks that are held out; returns where those are."""
    for target in (folder, _aside(folder)):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InvalidConfig(f"{target} is not an empty folder: give another one")
    made.training.save(folder)
    if made.held_out is None:
        return None
    made.held_out.save(_aside(folder))
    return _aside(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-held-out")


def describe(made: "TaskSet") -> str:
    """How much there is to train on, in one line."""
    tasks = made.training.tasks
    demos, experts, trials = (sum(len(getattr(r, role)) for r in tasks) for role in ("demos", "experts", "trials"))
    return f"{len(tasks)} tasks: {demos} demonstrations, {experts} episodes to imitate, {trials} failed trials"


def _by_name(sources: Sequence[str], selection: "Selection", task_by: str) -> "dict[str, Recorded]":
    """The recordings by the names of their tasks; those of one name in several sources are one task."""
    from dataclasses import replace

    from metalearn.data.fitting import joined
    from metalearn.data.formats import read_episodes
    from metalearn.data.task_sets import by_task

    files = [file for source in sources for file in _expanded(source)]
    short = [Path(file).stem for file in files]
    found: dict[str, list[Recorded]] = {}
    by_file = task_by == "file"
    for file, name in zip(files, short, strict=True):
        recorded = read_episodes(file, replace(selection, task_by="" if by_file else task_by))
        say([replace(recorded, episodes=(), remarks=(), tasks=())], remarks=False)
        whole = {name if short.count(name) == 1 else file: replace(recorded, skipped=())}
        own = whole if by_file else by_task(recorded)
        for task, part in own.items():
            found.setdefault(task, []).append(part)
    return {task: joined(parts) for task, parts in found.items()}


def _expanded(source: str) -> list[str]:
    """The source; or the files in a folder that is given without a kind. Raises InvalidConfig."""
    from metalearn.data.formats import FORMATS

    folder = Path(source)
    if not folder.is_dir():
        return [source]
    suffixes = tuple(suffix for entry in FORMATS.values() for suffix in entry.suffixes)
    files = sorted(str(path) for path in folder.iterdir() if path.name.endswith(suffixes) and not _described(path))
    if not files:
        kinds = " or ".join(f"{name}:{source}" for name, entry in FORMATS.items() if "DIR" in entry.path)
        raise InvalidConfig(f"{source}: expected files ending in {', '.join(suffixes)}, or a kind, as {kinds}")
    return files


def _described(path: Path) -> bool:
    """Whether a JSON file only describes the HDF5 file of the same stem, as ManiSkill's do."""
    from metalearn.data.formats import FORMATS

    return path.suffix == ".json" and any(path.with_suffix(suffix).exists() for suffix in FORMATS["hdf5"].suffixes)
