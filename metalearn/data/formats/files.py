"""Episodes in one file of named arrays, with the names of a request body: read and written through any codec.

One episode alone is `observations`, `actions`, `rewards`, `success`; several are under `demos/0/...`, `trials/0/...`
or `episodes/0/...`. Which suffix means which codec is said in `table`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge
from metalearn.data.formats.arrays import Limits, Unread
from metalearn.data.formats.doubts import listed
from metalearn.data.formats.selection import WORDS, Recorded, Selection, usable
from metalearn.data.names import near, refuse_unknown
from metalearn.data.quality import QualityWarning
from metalearn.data.reading import parse_json
from metalearn.data.values import describe, number

Decoder = Callable[[bytes, Limits], Any]
Converter = Callable[[Any, Selection], Recorded]
Encoder = Callable[[Mapping[str, Any]], bytes]
_GROUPS = ("demos", "trials", "episodes")
_FIELDS = tuple(field.name for field in fields(Episode))
_NEARLY = 0.9  # `action` is a slip of the pen for `actions`, and `action_names` is not
_REQUEST = ("model", "ask", "rate_hz")
_MIXED = (QualityWarning("another-role", "the file holds demos and trials, and this is not one of its demos"),)
_ASK = (QualityWarning("ask-unused", "the file asks for something, which is not read with its episodes"),)


def read_file(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = Limits(),  # noqa: B008  frozen
    *,
    decode: Decoder,
    convert: Converter | None = None,
) -> Recorded:
    """The episodes of a file. They are whole ones already: `selection` chooses among them, and may say their success.

    Args:
        path: of the file.
        selection: as above.
        limits: how much is read.
        decode: the value in the file's bytes.
        convert: the episodes in that value, where it is no request body.

    Raises:
        InvalidData: a damaged file or a wrong value, naming the file and the field.
        OSError: it cannot be read.
    """
    path = Path(path)
    if selection.task_by:
        raise InvalidData(f"{path}: task", "one task in a file of this format", f"tasks by {selection.task_by}")
    if (size := path.stat().st_size) > limits.n_bytes:
        raise TooLarge(str(path), f"at most {limits.n_bytes} bytes", str(size))
    try:
        return (convert or to_recorded)(decode(path.read_bytes(), limits), selection)
    except InvalidData as error:
        raise error.in_file(path) from error


def write_file(path: str | Path, encode: Encoder, episodes: Sequence[Episode], rate_hz: float | None = None) -> None:
    """Write episodes to a file. Raises InvalidData, OSError."""
    value: dict[str, Any] = {"episodes": [episode.to_dict() for episode in episodes]}
    Path(path).write_bytes(encode(value if rate_hz is None else value | {"rate_hz": rate_hz}))


def decode_json(data: bytes, _: Limits = Limits()) -> Any:  # noqa: B008  frozen
    """A JSON value. Raises InvalidBytes."""
    return parse_json(data)


def to_recorded(value: Any, selection: Selection = Selection()) -> Recorded:  # noqa: B008  frozen
    """The episodes in a body. Raises InvalidData."""
    if not isinstance(value, Mapping):
        raise InvalidBytes("body", "a JSON object", type(value).__name__)
    _check_selection(selection)
    groups = {name: value[name] for name in _GROUPS if value.get(name) is not None and value[name] != []}
    ignored = _check_fields(value, (*_GROUPS, *_REQUEST) if groups else (*_FIELDS, *_GROUPS, *_REQUEST))
    items = [(f"{group}[{i}]", item) for group, many in groups.items() for i, item in enumerate(_listed(group, many))]
    items = items or [("", {name: value.get(name) for name in _FIELDS})]

    def one(index: int) -> tuple[Episode, tuple[QualityWarning, ...]]:
        where, item = items[index]
        episode, remarks = _to_episode(item, selection)
        roles = _MIXED if len(groups) > 1 and not where.startswith("demos") else ()
        return episode, (*remarks, *roles)

    kept, skipped = usable(selection, [where for where, _ in items], one)
    asked = () if value.get("ask") is None else _ASK
    remarks = tuple((*own, *ignored, *asked) for _, own in kept)
    return Recorded(tuple(episode for episode, _ in kept), _rate(value.get("rate_hz")), remarks, skipped)


def _check_selection(selection: Selection) -> None:
    """Raise InvalidData if a selection cannot be made among whole episodes."""
    if selection.parts:
        raise InvalidData("parts", "no such choice, since this file holds whole episodes", "parts")
    for name in ("observations", "actions"):
        if keys := getattr(selection, name):
            got = keys if isinstance(keys, str) else ", ".join(keys)
            raise InvalidData(name, "no such choice, since this file holds whole episodes", got)
    if selection.filter_key:
        raise InvalidData("filter", "none, since this file lists no subsets of its episodes", selection.filter_key)
    if selection.success not in {"auto", "reward", *WORDS}:
        words = ", ".join(("auto", "reward", *WORDS))
        raise InvalidData("success", f"one of {words}, since this file holds whole episodes", selection.success)


def _check_fields(given: Mapping[str, Any], known: Collection[str]) -> tuple[QualityWarning, ...]:
    """Refuse unknown fields, but for arrays that can be no field at all, of which a remark is made."""
    passed = [name for name, value in given.items() if isinstance(value, Unread) and near(name, known, _NEARLY) is None]
    refuse_unknown((name for name in given if name not in passed), known)
    if not passed:
        return ()
    return (
        QualityWarning("arrays-unread", f"the file has arrays that are no numbers, and not read: {listed(passed)}"),
    )


def _listed(group: str, items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise InvalidData(group, f"episodes {group}/0/..., {group}/1/...", type(items).__name__)
    return items


def _to_episode(item: Any, selection: Selection) -> tuple[Episode, tuple[QualityWarning, ...]]:
    if not isinstance(item, Mapping):
        raise InvalidData("observations", "an array", "none")
    remarks = _check_fields(item, _FIELDS)
    for name in _FIELDS:
        if isinstance(found := item.get(name), Unread):
            raise InvalidData(name, "numbers", found.what)
    if item.get("observations") is None:
        raise InvalidData("observations", "an array", "none")
    episode = Episode.of(**{name: item.get(name) for name in _FIELDS})
    if selection.success == "auto":
        return episode, remarks
    rewarded = None if episode.rewards is None else bool((episode.rewards > 0).any())
    return replace(episode, success=WORDS.get(selection.success, rewarded)), remarks


def _rate(value: object) -> float | None:
    rate = number("rate_hz", value)
    if isinstance(value, bool | np.bool_) or (rate is not None and rate <= 0):
        raise InvalidData("rate_hz", "a positive number", describe(value))
    return rate
