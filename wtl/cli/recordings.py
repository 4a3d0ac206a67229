"""Where recordings come from: `--from KIND:PATH` and what chooses among them, shared by adapt, check and convert."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli import completions
from wtl.cli.tables import print_table

if TYPE_CHECKING:
    from metalearn.data.formats import Recorded

From = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="[KIND:]PATH",
        help="Demonstrations: a file, or KIND:PATH as `wtl formats` lists them. May be given several times.",
        autocompletion=completions.sources,
    ),
]
TrialsFrom = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[KIND:]PATH", help="Scored trials, from the same places as --from. May be given several times."
    ),
]
Observations = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Keys of a dataset whose values make an observation, in this order.")
]
Success = Annotated[
    str,
    typer.Option(
        help="What counts as success in a dataset: auto, reward, terminated, yes, no, unknown, or a key of it."
    ),
]
Episodes = Annotated[
    str | None, typer.Option(metavar="NUMBERS", help="Read only these episodes of --from, counted from 0: 0,3,5-9.")
]


def read_sources(
    sources: Sequence[str] | None, observations: str | None, success: str, episodes: str | None = None
) -> "Recorded":
    """The episodes of every source, and their rate if the sources agree on one. Raises InvalidData, InvalidConfig."""
    from metalearn.data.formats import Recorded, Selection, read_episodes

    keys = tuple(key.strip() for key in (observations or "").split(",") if key.strip())
    selection = Selection(keys, success, None if episodes is None else _numbers(episodes))
    found = [read_episodes(source, selection) for source in sources or ()]
    rates = {one.rate_hz for one in found if one.rate_hz is not None}
    return Recorded(tuple(e for one in found for e in one.episodes), rates.pop() if len(rates) == 1 else None)


def formats() -> None:
    """List the kinds of recordings that --from reads, and which of them `wtl convert` writes.

    \b
    Examples:
      wtl formats
    """
    from metalearn.data.formats import FORMATS

    rows = [
        (one.name, one.description, one.usage, "yes" if one.write else "no", one.media_type or "-")
        for one in FORMATS.values()
    ]
    columns = ("kind", "what it is", "--from", "written", "content type")
    print_table(columns, rows, whole=("kind", "--from"))


def _numbers(text: str) -> tuple[int, ...]:
    """`0,3,5-9` as numbers. Raises InvalidConfig."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or len(part) > 20 or int(last or first) > 10**7:
            raise InvalidConfig(f"--episodes: expected numbers such as 0,3,5-9, got {ascii(text)[:60]}")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
