"""Where recordings come from: `--from KIND:PATH` and what chooses among them, shared by adapt, check and convert."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli import completions
from wtl.cli.tables import print_table

if TYPE_CHECKING:
    from metalearn.data.formats import Recorded, Selection
    from metalearn.data.spec import Spec

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
Parts = Annotated[
    bool,
    typer.Option(
        "--parts",
        help="Keep the keys as parts of a Dict observation, with their names; without --observations all of them. "
        "Pictures beside other keys, and what a model with parts reads, are kept so in any case.",
    ),
]
Actions = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Key of a dataset that holds the actions, where it is not the usual one."),
]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="KEY",
        help="Read only this subset of a dataset, such as train: robomimic's mask, LeRobot's split.",
    ),
]
Resample = Annotated[
    str | None,
    typer.Option(
        metavar="[FROM:]HZ",
        help="Bring recordings to this many steps per second. FROM is the rate of those that do not say it: 50:20.",
    ),
]
Success = Annotated[
    str,
    typer.Option(
        help="What counts as success in a dataset: auto, reward, terminated, yes, no, unknown, or a key of it "
        "(an array, or an attribute in HDF5)."
    ),
]
Episodes = Annotated[
    str | None, typer.Option(metavar="NUMBERS", help="Read only these episodes of --from, counted from 0: 0,3,5-9.")
]


SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out episodes that cannot be used, and say which and why, not stop."),
]
Clip = Annotated[
    bool, typer.Option("--clip", help="Move actions that are out of bounds to the bounds, and say which episodes.")
]
LinksUnder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Follow links of a dataset into this folder, such as the cache of a download."),
]


def selection_of(
    observations: str | None,
    success: str,
    episodes: str | None,
    *,
    actions: str | None = None,
    filter_key: str | None = None,
    resample: str | None = None,
    skip_bad: bool = False,
    links_under: Path | None = None,
    parts: bool = False,
) -> "Selection":
    """What the options choose. Raises InvalidConfig for one that chooses nothing, or is not understood."""
    from metalearn.data.formats import Selection

    keys = [] if observations is None else [key.strip() for key in observations.split(",")]
    if not all(keys) or (observations is not None and not keys):
        raise InvalidConfig(f"--observations: expected keys such as eef_pos,gripper, got {observations!a}")
    if not success.strip():
        raise InvalidConfig("--success: expected auto, reward, terminated, yes, no, unknown, or a key, got nothing")
    for option, key in (("--actions", actions), ("--filter", filter_key)):
        if key is not None and not key.strip():
            raise InvalidConfig(f"{option}: expected a key, got nothing")
    if links_under is not None and not links_under.is_dir():
        raise InvalidConfig(f"--links-under: expected a folder, got {links_under}")
    chosen = None if episodes is None else _numbers(episodes)
    recorded_hz, resample_hz = (None, None) if resample is None else _rates(resample)
    return Selection(
        tuple(keys),
        success.strip(),
        chosen,
        actions=None if actions is None else actions.strip(),
        filter_key=(filter_key or "").strip(),
        resample_hz=resample_hz,
        recorded_hz=recorded_hz,
        skip_bad=skip_bad,
        links_under=links_under,
        parts=parts,
    )


def has_keys(sources: Sequence[str]) -> bool:
    """Whether one of them is a dataset, whose observations have keys. Raises InvalidConfig."""
    from metalearn.data.formats import find_format

    return any(find_format(source)[0].decode is None for source in sources)


def read_sources(demos: Sequence[str] | None, trials: Sequence[str] | None, selection: "Selection") -> "list[Recorded]":
    """The demonstrations, of which `selection` chooses some, and the trials. Raises InvalidData, InvalidConfig."""
    from metalearn.data.fitting import joined, say_skipped
    from metalearn.data.formats import Recorded, Selection, find_format, read_episodes

    # Keys are for datasets that have some: beside one, a file of whole episodes is read without.
    whole = {source: find_format(source)[0].decode is not None for source in (*(demos or ()), *(trials or ()))}
    unkeyed = replace(selection, observations=(), actions=None, success=Selection().success, filter_key="", parts=False)

    def read(source: str, chosen: Selection) -> Recorded:
        found = read_episodes(source, chosen)
        named = tuple(replace(one, episode=f"{source}: {one.episode}") for one in found.skipped)
        return say_skipped(replace(found, skipped=named))

    parts = []
    for sources, episodes in ((demos, selection.episodes), (trials, None)):
        given = [(one, unkeyed if whole[one] and not all(whole.values()) else selection) for one in sources or ()]
        parts.append(joined([read(source, replace(chosen, episodes=episodes)) for source, chosen in given]))
    return parts


def fitted(parts: "Sequence[Recorded]", spec: "Spec", *, clip: bool, skip_bad: bool) -> "list[Recorded]":
    """Demonstrations and trials as episodes of this spec. Raises InvalidData."""
    from metalearn.data.fitting import fit_recorded, say_skipped

    found = []
    for role, part in zip(("demos", "trials"), parts, strict=True):
        fit = fit_recorded(part, spec, role, clip=clip, skip_bad=skip_bad)
        news = say_skipped(replace(fit, skipped=fit.skipped[len(part.skipped) :]))
        found.append(replace(fit, remarks=news.remarks))
    return found


def say(parts: "Sequence[Recorded]", *, remarks: bool) -> None:
    """Print on standard error what was left out, and the remarks where no report has them."""
    for part in parts:
        for one in part.skipped:
            typer.echo(f"left out {one.episode}: {one.reason}", err=True)
        counted = Counter(remark for own in part.remarks for remark in own if remark.code != "others-skipped")
        for remark, n in counted.items() if remarks else ():
            typer.echo(f"{remark.code} ({n} episode{'s' * (n > 1)}): {remark.message}", err=True)


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


def _rates(text: str) -> tuple[float | None, float]:
    """`50:20` or `20` as steps per second. Raises InvalidConfig."""
    parts = text.split(":")
    try:
        rates = [float(part) for part in parts]
    except ValueError:
        rates = []
    if len(rates) not in {1, 2} or not all(0 < rate < math.inf for rate in rates):
        raise InvalidConfig(f"--resample: expected steps per second, as 20, or 50:20, got {ascii(text)[:60]}")
    return (rates[0] if len(rates) == 2 else None), rates[-1]


def _numbers(text: str) -> tuple[int, ...]:
    """`0,3,5-9` as numbers. Raises InvalidConfig."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or len(part) > 20 or int(last or first) > 10**7:
            raise InvalidConfig(f"--episodes: expected numbers such as 0,3,5-9, got {ascii(text)[:60]}")
        if last and int(last) < int(first):
            raise InvalidConfig(
                f"--episodes: expected the smaller number first, as in {last}-{first}, got {part.strip()}"
            )
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
