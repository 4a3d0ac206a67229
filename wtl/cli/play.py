"""`wtl play`."""

from pathlib import Path
from typing import Annotated

import typer

from wtl.cli import completions
from wtl.cli.options import Key, ModelsFolder


def play(
    family: Annotated[
        str | None,
        typer.Argument(
            metavar="[FAMILY]",
            help="Family of tasks: a name such as reach-m2, or your own as module:Class. [default: one that the server "
            "has a model of]",
            autocompletion=completions.families,
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="WTL_URL", help="Server to play on. [default: one is started on loopback]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model that plays. [default: the one that was trained on FAMILY]"),
    ] = None,
    models: ModelsFolder = None,
    data: Annotated[
        Path, typer.Option(help="Folder for pictures, and for the state of a server that is started.")
    ] = Path("data"),
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the page. [default: 8010, or a free one]")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Draw the same tasks every time.")] = None,
    key: Key = None,
) -> None:
    """Show a task in a browser, watch the policy try it, say how it went, and see the next attempt succeed.

    You steer with the mouse, the keyboard, sliders or a gamepad, or let the expert show the task. The environment runs
    here, and everything that is learned is an adaptation on the server: the address of the page names it, so a bookmark
    comes back to it.

    \b
    Examples:
      wtl play --open                                          # reach, with the model that ships
      wtl play key-to-door                                     # with the arrow keys
      wtl play own_task:Doors --models runs/doors              # your own family, and the model trained on it
      wtl play reach-m2 --server http://127.0.0.1:8000         # on a server that runs already
    """
    from wtl.cli.connection import explained
    from wtl.play.launch import Wanted
    from wtl.play.launch import play as run

    wanted = Wanted(family, model, server, key, models, data, seed)
    with explained(server or "its address", "--server"):
        run(wanted, port, typer.echo, open_browser=open_browser)
