"""Runs every command of `wtl` with --help, without arguments, and as given; prints what happened as JSON.

As a script it needs nothing but an installed `wtl`. Its arguments are two lists as JSON: libraries to hide, and further
command lines.
"""

import contextlib
import io
import json
import sys
import traceback
from typing import Any

RUNS_ON = ("serve", "demo", "play")
"""Without arguments these would do their work rather than ask for something."""


def main(hidden: list[str], more: list[list[str]]) -> None:
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    import typer

    from wtl import cli

    names = [path for path, _ in commands(typer.main.get_command(cli.app))]
    wanted = [[*name, "--help"] for name in names] + [name for name in names if name[0] not in RUNS_ON] + more
    sys.stdout.write(json.dumps([run(cli.main, arguments) for arguments in wanted]))


def commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[list[str], Any]]:
    """Every command and group, with its path of names."""
    below = getattr(command, "commands", {}).items()
    found = [([*path], command)] if path else []
    return found + [one for name, child in below for one in commands(child, (*path, name))]


def run(wtl: Any, arguments: list[str]) -> dict[str, Any]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = wtl(arguments)
        except BaseException:
            code, _ = None, err.write(traceback.format_exc())
    return {"arguments": arguments, "code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), json.loads(sys.argv[2]))
