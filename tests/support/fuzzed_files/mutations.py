"""Ways to break a recording: of its members before it is written, and of its files after.

Each takes a generator of random numbers. One that does not fit a recording gives None, or False.
"""

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from support.fuzzed_files.told import Array, Tree

Rng = np.random.Generator
OfTree = Callable[[Tree, Rng], Tree | None]
OfFiles = Callable[[Path, Rng], bool]


@dataclass(frozen=True)
class Slip(Exception):
    """A name that is nearly another one: `new` stands where `old` stood."""

    new: str
    old: str

    def undone(self, tree: Tree) -> Tree:
        """The members with the name as it was."""
        return {_replaced(name, self.new, self.old): value for name, value in tree.items()}


def _replaced(name: str, before: str, after: str) -> str:
    for ends in ("", "/", "@", "#"):
        if name == before or (ends and name.startswith(before + ends)):
            return after + name.removeprefix(before)
    return name


def _pick(tree: Tree, rng: Rng, arrays: bool = False) -> str | None:
    names = [name for name, value in tree.items() if not arrays or (isinstance(value, np.ndarray) and value.ndim)]
    return names[rng.integers(len(names))] if names else None


def _changed(change: Callable[[Array, Rng], object]) -> OfTree:
    """A mutation of one array."""

    def mutate(tree: Tree, rng: Rng) -> Tree | None:
        name = _pick(tree, rng, arrays=True)
        if name is None or not tree[name].size or tree[name].dtype.kind not in "biuf":
            return None
        return tree | {name: change(tree[name], rng)}

    return mutate


def _drop(tree: Tree, rng: Rng) -> Tree:
    gone = _pick(tree, rng)
    return {name: value for name, value in tree.items() if name != gone}


def _drop_group(tree: Tree, rng: Rng) -> Tree | None:
    name = _pick(tree, rng)
    if name is None or "/" not in name:
        return None
    gone = name.rpartition("/")[0]
    return {name: value for name, value in tree.items() if not name.startswith((f"{gone}/", f"{gone}@"))}


def near_name(tree: Tree, rng: Rng) -> tuple[Tree, Slip] | None:
    """One part of a path is misspelled, for all members below it."""
    name = _pick(tree, rng)
    if name is None:
        return None
    cuts = [i for i, letter in enumerate(name) if letter in "/#"] + ([] if "@" in name else [len(name)])
    old = name[: cuts[rng.integers(len(cuts))]] if cuts else name.partition("@")[0]
    start = max(old.rfind("/"), old.rfind("#")) + 1
    part = old[start:]
    if len(part) < 3 or part.isdecimal():
        return None
    where = int(rng.integers(1, len(part) - 1))
    spelled = [
        part[:-1],
        part + ("_" if part[-1].isdecimal() else part[-1]),
        part.capitalize(),
        part[:where] + part[where + 1] + part[where] + part[where + 2 :],
        part[:where] + part[where + 1 :],
    ]
    new = old[:start] + spelled[rng.integers(len(spelled))]
    if new == old or any(_replaced(one, new, "") != one for one in tree):
        return None
    return {_replaced(one, old, new): value for one, value in tree.items()}, Slip(new, old)


def _strange_name(tree: Tree, rng: Rng) -> Tree | None:
    name = _pick(tree, rng)
    if name is None or "@" in name or "#" in name:
        return None
    new = name.rpartition("/")[0] + "/" + "".join(rng.choice(list(string.ascii_lowercase), 9))
    return {new.lstrip("/") if one == name else one: value for one, value in tree.items()}


def _foreign(tree: Tree, rng: Rng) -> Tree | None:
    name = _pick(tree, rng, arrays=True)
    if name is None:
        return None
    extras = [
        np.arange(3),
        np.zeros((2, 2), np.float32),
        np.asarray("some text"),
        np.float64(3.5),
        np.asarray(["a", "b"]),
    ]
    home = name.rpartition("/")[0]
    n = len(tree[name])
    extra = extras[rng.integers(len(extras))] if rng.integers(2) else np.arange(n)
    return tree | {f"{home}/zz_foreign".lstrip("/"): extra}


def _copy(tree: Tree, rng: Rng) -> Tree | None:
    name = _pick(tree, rng, arrays=True)
    return None if name is None else tree | {f"{name}_copy": tree[name]}


def _swap(tree: Tree, rng: Rng) -> Tree | None:
    one, other = _pick(tree, rng, arrays=True), _pick(tree, rng, arrays=True)
    return None if one is None or other is None else tree | {one: tree[other], other: tree[one]}


def _order(tree: Tree, rng: Rng) -> Tree:
    names = list(tree)
    return {names[i]: tree[names[i]] for i in rng.permutation(len(names))}


def _wider(tree: Tree, rng: Rng) -> Tree | None:
    floats = [name for name, value in tree.items() if isinstance(value, np.ndarray) and value.dtype == np.float32]
    return tree | {name: tree[name].astype(np.float64) for name in floats} if floats else None


def _cut(array: Array, rng: Rng) -> Array:
    return array[: int(rng.choice([0, 1, 2, len(array) - 1, max(len(array) - 2, 0)]))]


def _cut_all(tree: Tree, rng: Rng) -> Tree:
    gone = int(rng.integers(1, 4))
    return {
        name: value[:-gone] if isinstance(value, np.ndarray) and value.ndim else value for name, value in tree.items()
    }


def _grow(array: Array, rng: Rng) -> Array:
    return np.concatenate([array, array[-int(rng.integers(1, 3)) :]])


def _reshape(array: Array, rng: Rng) -> Array:
    shapes = [array.reshape(-1), array[..., None], array[None], array.T, array.reshape(len(array), -1)[:, :1], array[0],
              array.reshape(-1)[0], np.concatenate([array, array], axis=-1)]  # fmt: skip
    return np.ascontiguousarray(shapes[rng.integers(len(shapes))]) if array.ndim else array


def _retype(array: Array, rng: Rng) -> Array:
    kinds = ["f2", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u8", "?", ">f4", ">f8", ">i4", "c8", "U8"]
    with np.errstate(all="ignore"):
        return array.astype(kinds[rng.integers(len(kinds))])


def _poison(array: Array, rng: Rng) -> Array:
    values = [np.nan, np.inf, -np.inf, 1e300, -1e39, 0.5, 2, -1, 2**53 + 1]
    poisoned = array.astype(np.float64)
    poisoned.reshape(-1)[rng.integers(array.size)] = values[rng.integers(len(values))]
    return poisoned


def _other_order(array: Array, rng: Rng) -> Array:
    return array[rng.permutation(len(array))] if rng.integers(2) else array[::-1].copy()


_SCALARS = [None, "", "10", "x", True, False, 0, -1, 0.5, 2, 1e308, float("nan"), float("inf"), [], {}, [1], 10**30]


def _odd_value(tree: Tree, rng: Rng) -> Tree | None:
    names = [name for name, value in tree.items() if not isinstance(value, np.ndarray) or not value.ndim]
    if not names:
        return None
    name = names[rng.integers(len(names))]
    value = _SCALARS[rng.integers(len(_SCALARS))]
    if "#" in name or rng.integers(4) == 0:
        return tree | {name: value} if "#" in name else {one: v for one, v in tree.items() if one != name}
    plain = [value for value in _SCALARS if isinstance(value, bool | int | float | str) and value != 10**30]
    return tree | {name: plain[rng.integers(len(plain))]}


TREES: dict[str, OfTree] = {
    "drop a member": _drop,
    "drop a group": _drop_group,
    "rename strangely": _strange_name,
    "foreign member": _foreign,
    "copy a member": _copy,
    "swap two members": _swap,
    "order of members": _order,
    "wider floats": _wider,
    "cut one member": _changed(_cut),
    "cut all members": _cut_all,
    "grow one member": _changed(_grow),
    "reshape": _changed(_reshape),
    "retype": _changed(_retype),
    "nan, inf, odd number": _changed(_poison),
    "order of steps": _changed(_other_order),
    "odd scalar": _odd_value,
}

HARMLESS = {"order of members", "wider floats", "link to the file", "hidden files"}
"""After these a recording says the same, and has to be read as before. (Minari does not read byte order marks.)"""


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
    odd = _SCALARS[rng.integers(len(_SCALARS))]
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
NEAR = "nearly its name"
NAMES = (NEAR, *TREES, *FILES)
