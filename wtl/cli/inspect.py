"""`wtl inspect`: seconds of looking at tasks or recordings, before an hour is spent on them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from wtl.cli import completions
from wtl.cli.options import Json, Threads
from wtl.cli.recordings import Actions, Observations, SkipBad, Success, selection_of
from wtl.cli.task_sets import Demos, Rate, TaskBy, read_task_set
from wtl.threads import use_threads

if TYPE_CHECKING:
    from metalearn.data.dataset import Dataset


def inspect(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:CLASS|NAME|[KIND:]PATH",
            help="Your own family of tasks, one that ships, or recordings, as `wtl formats` lists them.",
            autocompletion=completions.families,
        ),
    ],
    tasks: Annotated[
        int | None,
        typer.Option(
            min=8, help="Tasks of a family to compare. [default: as many as 20 seconds allow, and at least 48]"
        ),
    ] = None,
    as_json: Json = False,
    task_by: TaskBy = "file",
    demos: Demos = 1,
    observations: Observations = None,
    actions: Actions = None,
    success: Success = "auto",
    rate: Rate = None,
    skip_bad: SkipBad = False,
    threads: Threads = None,
) -> None:
    """Look at a family of tasks or at recordings before training on them: what they show, and what looks wrong.

    Nothing is trained and nothing is written. The exit code is 1 if something is certainly wrong.

    \b
    Examples:
      wtl inspect my_tasks:Doors
      wtl inspect reach-m2 --tasks 64
      wtl inspect my_tasks:Doors --json | jq .findings
      wtl inspect dataset:recordings       # what `wtl convert dataset:DIR` wrote
      wtl inspect lerobot:pusht --task-by instruction
    """
    use_threads(threads)
    from metalearn.data.task_sets import TaskRule
    from metalearn.inspection import inspect_dataset, inspect_family
    from metalearn.inspection.page import print_inspection

    dataset: Dataset | None = None
    if _is_recorded(what):
        selection = selection_of(observations, success, None, actions=actions, skip_bad=skip_bad)
        dataset = (
            _stored(what) or read_task_set([what], selection, TaskRule(demos), task_by=task_by, rate_hz=rate).training
        )
    told = Console(stderr=True)
    with told.status("") as status:
        if dataset is None:
            found = inspect_family(what, n_tasks=tasks, tell=status.update)
        else:
            found = inspect_dataset(what, dataset, tell=status.update)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        print_inspection(found)
    if found.certainly_wrong:
        raise typer.Exit(1)


def _is_recorded(what: str) -> bool:
    """Whether an argument names recordings: a kind of them, or a file or folder that is there."""
    from metalearn.data.formats import FORMATS

    kind, colon, _ = what.partition(":")
    return (bool(colon) and kind in {"dataset", *FORMATS}) or Path(what).exists()


def _stored(what: str) -> "Dataset | None":
    """The data set in a folder that holds one; None for other recordings. Raises InvalidConfig."""
    from metalearn.data.dataset import INDEX_FILE, Dataset

    kind, colon, path = what.partition(":")
    folder = Path(path if colon and kind == "dataset" else what)
    if kind == "dataset" or (folder / INDEX_FILE).exists():
        return Dataset.load(folder)
    return None
