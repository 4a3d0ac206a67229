"""The option `--ask`, which says what is asked for beyond the task itself. Knows no kind of ask by name."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from metalearn.data.errors import InvalidConfig, InvalidData

Asks = Annotated[
    list[str] | None,
    typer.Option(
        "--ask",
        metavar="KIND[=VALUE]",
        help="What to ask for beyond the task itself, as return=120, better, goal=0.3,0.2 or a JSON object. "
        "Repeat it for several kinds; {} asks for nothing again.",
    ),
]


def asked(given: Sequence[str] | None) -> dict[str, Any] | None:
    """What the options ask for, as JSON; None without any.

    Raises:
        InvalidConfig: no kind of ask, or two values of one kind.
        InvalidData: a value that its kind does not have.
    """
    if not given:
        return None
    from metalearn.data.asks import Ask

    found: dict[str, Any] = {}
    for text in given:
        for kind, value in _of_json(text) if text.lstrip().startswith("{") else [_of_words(text)]:
            if kind in found:
                raise InvalidConfig(f"--ask: expected {kind} once, got it twice")
            found[kind] = value
    try:
        return Ask.from_json(found).to_json()
    except InvalidData as error:
        raise InvalidConfig(f"--{error}") from error


def _of_json(text: str) -> list[tuple[str, Any]]:
    try:
        pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list)
    except ValueError as error:
        raise InvalidConfig(f"--ask: expected KIND=VALUE or a JSON object, got {text[:80]!a} ({error})") from error
    return pairs


def _of_words(text: str) -> tuple[str, Any]:
    from metalearn.data.asks import KINDS

    name, _, value = text.partition("=")
    kind = next((kind for kind in KINDS if kind.name == name.strip()), None)
    if kind is None:
        known = ", ".join(kind.name for kind in KINDS)
        raise InvalidConfig(f"--ask: expected KIND=VALUE with a kind of {known}, got {text[:80]!a}")
    if not value.strip() and "=" in kind.typed:
        raise InvalidConfig(f"--ask: expected a value of {kind.name}, as {kind.typed}, got none")
    return kind.name, kind.from_text(value.strip() or "true")
