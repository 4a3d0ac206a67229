"""Ways to break the files of a recording after it is written: their bytes, their JSON, and where they are.

Each takes a generator of random numbers, and gives False where it does not fit a recording.
"""

import json
from collections.abc import Callable
from pathlib import Path

from support.fuzzed_files.mutations import SCALARS, Rng

OfFiles = Callable[[Path, Rng], bool]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _any_file(folder: Path, rng: Rng) -> Path | None:
    found = _files(folder)
    return found[rng.integers(len(found))] if found else None


def _of_bytes(change: Callable[[bytes, Rng], bytes]) -> OfFiles:
    def mutate(folder: Path, rng: Rng) -> bool:
        path = _any_file(folder, rng)
        if path is None or not path.stat().st_size:
            return False
        path.write_bytes(change(path.read_bytes(), rng))
        return True

    return mutate


def _flip(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        # Headers are where structure is: half of the bits are flipped there.
        most = len(data) if rng.integers(2) else min(len(data), 512)
        changed[rng.integers(most)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _hole(data: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(len(data)))
    size = int(rng.integers(1, 64))
    return data[:start] + bytes(size) + data[start + size :]


def _huge_number(data: bytes, rng: Rng) -> bytes:
    """Eight or four bytes somewhere say an enormous number, as a length or a count might."""
    start = int(rng.integers(max(len(data) - 8, 1)))
    huge = [b"\xff" * 8, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00\x00\x10\x00\x00", b"\xff\xff\xff\xff"][rng.integers(4)]
    return data[:start] + huge + data[start + len(huge) :]


def _digits(data: bytes, rng: Rng) -> bytes:
    """A number in a text header, of JSON or of numpy, becomes another one."""
    places = [i for i, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
    if not places:
        return data[:-1]
    where = places[rng.integers(len(places))]
    return data[:where] + b"%d" % rng.integers(10) + data[where + 1 :]


def _mark(folder: Path, _: Rng) -> bool:
    texts = [path for path in _files(folder) if path.suffix == ".json"]
    for path in texts:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    return bool(texts)


def _twice(folder: Path, rng: Rng) -> bool:
    """A key of the outermost object of a JSON file is there twice."""
    texts = [path for path in _files(folder) if path.suffix == ".json"]
    if not texts:
        return False
    path = texts[rng.integers(len(texts))]
    try:
        text = path.read_text()
        value = json.loads(text)
    except ValueError:
        return False
    if not isinstance(value, dict) or not value:
        return False
    key = list(value)[rng.integers(len(value))]
    odd = SCALARS[rng.integers(len(SCALARS))]
    path.write_text(f"{{{json.dumps(key)}: {json.dumps(odd)}, {text.lstrip()[1:]}")
    return True


def _linked(folder: Path, rng: Rng) -> bool:
    """The file of a recording of one file is a link to it elsewhere."""
    files = _files(folder)
    if len(files) != 1 or files[0].parent != folder or files[0].is_symlink():
        return False
    away = folder.parent / f"{folder.name}-away"
    away.mkdir(exist_ok=True)
    target = away / files[0].name
    files[0].rename(target)
    files[0].symlink_to(target)
    return True


def _link_out(folder: Path, rng: Rng) -> bool:
    """A file of a dataset of several is a link out of it."""
    files = [path for path in _files(folder) if not path.is_symlink()]
    if len(files) < 2:
        return False
    away = folder.parent / f"{folder.name}-away"
    away.mkdir(exist_ok=True)
    path = files[rng.integers(len(files))]
    target = away / path.name
    path.rename(target)
    path.symlink_to(target)
    return True


def _hidden(folder: Path, _: Rng) -> bool:
    for home in {path.parent for path in _files(folder)}:
        (home / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    for path in _files(folder):
        (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    return True


def _gone(folder: Path, rng: Rng) -> bool:
    if (path := _any_file(folder, rng)) is not None:
        path.unlink()
    return path is not None


def _a_folder(folder: Path, rng: Rng) -> bool:
    if (path := _any_file(folder, rng)) is not None:
        path.unlink()
        path.mkdir()
    return path is not None


def _loop(folder: Path, rng: Rng) -> bool:
    if (path := _any_file(folder, rng)) is not None:
        path.unlink()
        path.symlink_to(path)
    return path is not None


FILES: dict[str, OfFiles] = {
    "cut a file": _of_bytes(lambda data, rng: data[: int(rng.integers(len(data)))]),
    "flip bits": _of_bytes(_flip),
    "hole of zeros": _of_bytes(_hole),
    "huge number": _of_bytes(_huge_number),
    "another digit": _of_bytes(_digits),
    "garbage behind": _of_bytes(lambda data, rng: data + rng.bytes(int(rng.integers(1, 64)))),
    "garbage in front": _of_bytes(lambda data, rng: rng.bytes(int(rng.integers(1, 9))) + data),
    "empty file": _of_bytes(lambda data, rng: b""),
    "pointer of Git LFS": _of_bytes(lambda data, rng: b"version https://git-lfs.example/spec/v1\noid sha256:4d7a\n"),
    "byte order mark": _mark,
    "key twice": _twice,
    "link to the file": _linked,
    "link out": _link_out,
    "hidden files": _hidden,
    "file gone": _gone,
    "folder for a file": _a_folder,
    "link to itself": _loop,
}
