"""Reads bytes and JSON of files that others wrote: byte order marks, Git LFS pointers, and links out of a dataset.

Every command that reads JSON from a file reads it here, so that all of them take the same files. Knows no format.
"""

import json
import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from metalearn.data.errors import InvalidBytes
from metalearn.data.values import Array

_POINTER = re.compile(rb"version https?://\S*git-lfs\S*\r?\n")


def parse_json(data: bytes, field: str = "body") -> Any:
    """A JSON value in UTF-8 (also with a byte order mark), UTF-16 or UTF-32.

    Raises:
        InvalidBytes: it is none, or an object in it has a name twice, of which parsers silently take the last one.
    """
    refuse_pointer(data, field)
    try:
        return json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InvalidBytes(field, "JSON", reason) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{ascii(twice)[:60]} twice in one object")
    return found


def read_json(path: Path) -> Any:
    """The JSON value in a file.

    Raises:
        InvalidBytes: it is none, naming the file.
        OSError: the file cannot be read.
    """
    return parse_json(path.read_bytes(), f"{path}: file")


def read_json_bytes(path: Path) -> bytes:
    """The bytes of a JSON file in UTF-8 without its byte order mark, for a parser of its own. Raises as `read_json`."""
    data = path.read_bytes()
    refuse_pointer(data, f"{path}: file")
    return data.removeprefix(BOM_UTF8)


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file.

    Raises:
        InvalidBytes: it is a Git LFS pointer, naming the file.
        OSError, SafetensorError: the file cannot be read, or is none.
    """
    refuse_pointer_at(path, f"{path}: file")
    return load_file(path)


def refuse_pointer(data: bytes, field: str) -> None:
    """Raise InvalidBytes for the few lines that Git LFS leaves in a checkout in place of a file."""
    if _POINTER.match(data):
        raise InvalidBytes(
            field, "the content of the file", "a Git LFS pointer to it (`git lfs pull` fetches the file)"
        )


def refuse_pointer_at(path: Path, field: str = "file") -> None:
    """Raise InvalidBytes if a file is the pointer of Git LFS to its content, and OSError if it cannot be read."""
    with path.open("rb") as file:
        refuse_pointer(file.read(200), field)


def own_file(path: Path, home: Path, links_under: Path | None) -> Path:
    """Return `path` if it leads to a file of the dataset in `home`, or through links into the folder `links_under`.

    Datasets are untrusted, and a link in one could lead to any file of this machine. The cache of a hub keeps its
    files elsewhere and links to them, which is why a user can name one folder more.

    Raises:
        InvalidBytes: a link to anywhere else, with the folder to name; or one that leads nowhere.
    """
    try:
        target = path.resolve()
    except RuntimeError as error:  # Python 3.13 gives the path itself, which then cannot be opened
        raise InvalidBytes(f"{path}: file", "a file of the dataset", "a link that leads back to itself") from error
    allowed = [home.resolve(), *([] if links_under is None else [links_under.resolve()])]
    if not any(target.is_relative_to(folder) for folder in allowed):
        hint = f"a link out of it; if {target.parent} is trusted, name it with --links-under"
        raise InvalidBytes(f"{path}: file", "a file of the dataset", hint)
    return path
