"""`wtl inspect`: seconds of looking at tasks or recordings, before an hour is spent on them."""

import json
from typing import Annotated

import typer
from rich.console import Console

from wtl.cli import completions
from wtl.cli.options import Json, Threads
from wtl.threads import use_threads


def inspect(
    family: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:CLASS|NAME",
            help="Your own family of tasks, or one that ships.",
            autocompletion=completions.families,
        ),
    ],
    tasks: Annotated[
        int | None,
        typer.Option(min=8, help="Number of tasks to compare. [default: as many as about 20 seconds allow]"),
    ] = None,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Look at a family of tasks before training on it: what is in it, what it shows, and what looks wrong.

    The exit code is 1 if something is certainly wrong.

    \b
    Examples:
      wtl inspect my_tasks:Doors
      wtl inspect reach-m2 --tasks 64
      wtl inspect my_tasks:Doors --json | jq .findings
    """
    use_threads(threads)
    from metalearn.inspection import inspect_family
    from metalearn.inspection.page import print_inspection

    told = Console(stderr=True)
    with told.status("") as status:
        found = inspect_family(family, n_tasks=tasks, tell=status.update)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        print_inspection(found)
    if found.certainly_wrong:
        raise typer.Exit(1)
