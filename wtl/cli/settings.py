"""`wtl settings`: what `--set NAME=VALUE` can set."""

from typing import Annotated

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli import completions
from wtl.cli.tables import print_table


def settings(
    word: Annotated[
        str | None,
        typer.Argument(
            help="Only settings with this in their name or meaning. [default: all]",
            autocompletion=completions.setting_names,
        ),
    ] = None,
) -> None:
    """List the fields of an experiment that --set can set: their defaults, what they mean, and what they can be.

    \b
    Examples:
      wtl settings
      wtl settings frames
      wtl settings training.
      wtl train reach-m2 --minutes 5 --set model.n_frames=16 --set model.fourier=0.5,1
    """
    from metalearn.settings import settings as known

    sought = (word or "").lower()
    found = [one for one in known().values() if sought in one.name.lower() or sought in one.meaning.lower()]
    if not found:
        raise InvalidConfig(f"no setting has {word!r} in its name or meaning; `wtl settings` lists all of them")
    rows = [(one.name, one.shown_default, f"{one.meaning}\n  {one.values}") for one in found]
    print_table(("setting", "default", "meaning"), rows, whole=("setting",))
