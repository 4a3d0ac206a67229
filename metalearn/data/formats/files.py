"""Episodes in one file of named arrays, with the names of a request body: read and written through any codec.

One episode alone is `observations`, `actions`, `rewards`, `success`; several are under `demos/0/...`, `trials/0/...`
or `episodes/0/...`. Which suffix means which codec is said in `table`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge
from metalearn.data.formats.arrays import Limits
from metalearn.data.formats.selection import Recorded, Selection

Decoder = Callable[[bytes, Limits], Any]
Encoder = Callable[[Mapping[str, Any]], bytes]
_GROUPS = ("demos", "trials", "episodes")
_FIELDS = tuple(field.name for field in fields(Episode))


def read_file(
    path: str | Path,
    selection: Selection = Selection(),  # noqa: B008  frozen
    limits: Limits = Limits(),  # noqa: B008  frozen
    *,
    decode: Decoder,
) -> Recorded:
    """The episodes of a file. They are whole ones already, so that `selection` only chooses among them.

    Raises:
        InvalidData: a damaged file or a wrong value, naming the file and the field.
        OSError: it cannot be read.
    """
    path = Path(path)
    if (size := path.stat().st_size) > limits.n_bytes:
        raise TooLarge(str(path), f"at most {limits.n_bytes} bytes", str(size))
    try:
        found = to_recorded(decode(path.read_bytes(), limits))
        chosen = [found.episodes[i] for i in selection.pick(len(found.episodes))]
        return Recorded.of(chosen, found.rate_hz)
    except InvalidData as error:
        raise error.in_file(path) from error


def write_file(path: str | Path, encode: Encoder, episodes: Sequence[Episode], rate_hz: float | None = None) -> None:
    """Write episodes to a file. Raises InvalidData, OSError."""
    value: dict[str, Any] = {"episodes": [episode.to_dict() for episode in episodes]}
    Path(path).write_bytes(encode(value if rate_hz is None else value | {"rate_hz": rate_hz}))


def decode_json(data: bytes, _: Limits = Limits()) -> Any:  # noqa: B008  frozen
    """A JSON value. Raises InvalidBytes."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidBytes("body", "JSON", str(error) or type(error).__name__) from error


def to_recorded(value: Any) -> Recorded:
    """The episodes in a body. Raises InvalidData."""
    if not isinstance(value, Mapping):
        raise InvalidBytes("body", "a JSON object", type(value).__name__)
    groups = [(name, value[name]) for name in _GROUPS if value.get(name)] or [("", [value])]
    episodes = []
    for group, items in groups:
        for i, item in enumerate(items if isinstance(items, list) else [items]):
            where = f"{group}[{i}]" if group else ""
            episodes.append(_to_episode(item, where))
    return Recorded.of(episodes, value.get("rate_hz"))


def _to_episode(item: Any, where: str) -> Episode:
    try:
        if not isinstance(item, Mapping) or item.get("observations") is None:
            raise InvalidData("observations", "an array", "none")
        return Episode.of(**{name: item.get(name) for name in _FIELDS})
    except InvalidData as error:
        raise error.within(where) if where else error from error
