"""`wtl recognise`: who acted in some recordings, asked of a server."""

import json as json_text
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metalearn.data.errors import InvalidConfig
from wtl.cli.connection import connected
from wtl.cli.options import DEFAULT_URL, Json, Key, Url
from wtl.cli.recordings import Episodes, From, Observations, read_sources, selection_of
from wtl.cli.tables import print_table

if TYPE_CHECKING:
    from service.client import Recognition

KINDS = "adaptation:ID[@VERSION], model:NAME, expert:NAME, examples:NAME:[KIND:]PATH or random"
NONE = "none of these"


def recognise(
    episodes_from: From = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]WHO",
            help=f"Who may have acted: {KINDS}. NAME is any name for the answer. May be given several times.",
        ),
    ] = None,
    observations: Observations = None,
    episodes: Episodes = None,
    without_actions: Annotated[
        bool, typer.Option("--without-actions", help="Leave out the actions, and judge by observations alone.")
    ] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    json: Json = False,
) -> None:
    """Say who acted in recordings: an adaptation, a model, an expert, whoever acts in examples, or none of these.

    All recordings are taken to be of one agent. Read the probabilities with the number of steps, and with whether the
    evidence is enough.

    \b
    Examples:
      wtl recognise --from log.npz --candidate adaptation:ID --candidate random
      wtl recognise --from log.npz --candidate ann=examples:reach:ann.npz --candidate bob=examples:reach:bob.npz
      wtl recognise --from log.npz --candidate old=adaptation:ID@1 --candidate new=adaptation:ID@2 --json
    """
    if not episodes_from or not candidate:
        raise InvalidConfig(
            f"recognise whom in what? Name recordings with --from and candidates with --candidate: {KINDS}"
        )
    selection = selection_of(observations, "auto", episodes)
    shown = read_sources(episodes_from, None, selection)[0].episodes
    if without_actions:
        shown = tuple(episode.without_actions() for episode in shown)
    given = dict(_candidate(text, selection_of(observations, "auto", None)) for text in candidate)
    if len(given) < len(candidate):
        raise InvalidConfig("--candidate: expected a name of its own for each, as ann=examples:reach:ann.npz")
    with connected(url, key) as client:
        found = client.recognise(shown, given)
    if json:
        typer.echo(json_text.dumps(_as_json(found)))
    else:
        _print(found)


def _candidate(text: str, selection: Any) -> tuple[str, Any]:
    """`NAME=KIND:REST` as a name and what the client takes. Raises InvalidConfig."""
    name, equals, who = text.partition("=")
    if not equals or ":" in name:
        name, who = text, text
    kind, _, rest = who.partition(":")
    if kind == "random" and not rest:
        return name, "random"
    if kind == "adaptation" and rest:
        adaptation, _, version = rest.partition("@")
        if version and not version.isdecimal():
            raise InvalidConfig(f"--candidate: expected a version as in adaptation:ID@2, got {ascii(version)[:60]}")
        return name, {"adaptation": adaptation, "version": int(version) if version else None}
    if kind in {"model", "expert"} and rest:
        return name, {kind: rest}
    model, _, source = rest.partition(":")
    if kind == "examples" and model and source:
        return name, (model, read_sources([source], None, selection)[0].episodes)
    raise InvalidConfig(f"--candidate: expected {KINDS}, got {ascii(text)[:80]}")


def _as_json(found: "Recognition") -> Mapping[str, Any]:
    answer = {name: getattr(found, name) for name in ("best", "enough_evidence", "n_steps", "calibrated")}
    rows = [
        {"name": name, "probability": p, "scores": [scores.tolist() for scores in found.scores[name]]}
        for name, p in found.probabilities.items()
    ]
    return answer | {"without_actions": found.without_actions, "answers": rows}


def _print(found: "Recognition") -> None:
    ranked = sorted(found.probabilities.items(), key=lambda one: -one[1])
    rows = [(name or NONE, f"{p:.3f}", f"{sum(float(s.sum()) for s in found.scores[name]):+.1f}") for name, p in ranked]
    print_table(("who", "probability", "evidence (nats)"), rows, whole=("who",))
    enough = "enough evidence" if found.enough_evidence else "too little evidence to tell the first two apart"
    beside = "" if found.calibrated else "; the model was not calibrated: the order counts, not the numbers"
    typer.echo(f"{found.n_steps} steps, {enough}{beside}")
