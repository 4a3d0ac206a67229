"""Episodes in one .npz, .safetensors or .json file, named as in a request body.

One episode alone is `observations`, `actions`, `rewards`, `success`; several are under `demos/0/...`, `trials/0/...`
or `episodes/0/...`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidBytes, InvalidData, TooLarge
from metalearn.data.formats.arrays import Limits, decode_npz, decode_safetensors, encode_npz, encode_safetensors
from metalearn.data.formats.selection import Recorded

_GROUPS = ("demos", "trials", "episodes")
_FIELDS = ("observations", "actions", "rewards", "success")


def read_file(path: Path, limits: Limits = Limits()) -> Recorded:  # noqa: B008  frozen
    """The episodes of a file.

    Raises:
        InvalidData: an unknown suffix, a damaged file or a wrong value, naming the file and the field.
        OSError: it cannot be read.
    """
    decode = _DECODERS.get(path.suffix.lower())
    if decode is None:
        raise InvalidData(str(path), f"a file ending in {', '.join(_DECODERS)}", path.suffix or "none")
    if (size := path.stat().st_size) > limits.n_bytes:
        raise TooLarge(str(path), f"at most {limits.n_bytes} bytes", str(size))
    try:
        return to_recorded(decode(path.read_bytes(), limits))
    except InvalidData as error:
        raise error.in_file(path) from error


def write_file(path: Path, episodes: Sequence[Episode], rate_hz: float | None = None) -> None:
    """Write episodes, in the format that the suffix says. Raises InvalidData, OSError."""
    encode = _ENCODERS.get(path.suffix.lower())
    if encode is None:
        raise InvalidData(str(path), f"a file ending in {', '.join(_ENCODERS)}", path.suffix or "none")
    present = [{name: getattr(episode, name) for name in _FIELDS} for episode in episodes]
    value: dict[str, Any] = {"episodes": present}
    path.write_bytes(encode(value if rate_hz is None else value | {"rate_hz": rate_hz}))


def to_recorded(value: Mapping[str, Any]) -> Recorded:
    """The episodes in a body. Raises InvalidData."""
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


def _read_json(data: bytes, _: Limits) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidBytes("body", "JSON", str(error) or type(error).__name__) from error
    if not isinstance(value, dict):
        raise InvalidBytes("body", "a JSON object", type(value).__name__)
    return value


_DECODERS: Mapping[str, Callable[[bytes, Limits], dict[str, Any]]] = {
    ".npz": decode_npz,
    ".safetensors": decode_safetensors,
    ".json": _read_json,
}
_ENCODERS: Mapping[str, Callable[[Mapping[str, Any]], bytes]] = {
    ".npz": encode_npz,
    ".safetensors": encode_safetensors,
}
