"""Bodies that should not be, made here rather than kept as files: name -> (bytes, the status that refuses them).

Sizes are for a server that reads at most BODY bytes and CONTAINERS lists and maps. Used by hostile.py and the tests.
"""

import gzip as gzip_format
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

BODY, CONTAINERS = 1_000_000, 200_000
Case = tuple[bytes, int]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    target = io.BytesIO()
    np.save(target, array, **options)
    return target.getvalue()


def header(text: str) -> bytes:
    """An npy file whose header is this text."""
    padded = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded


def shaped(shape: str) -> bytes:
    """An archive with an array that claims this shape."""
    return zipped({"x.npy": header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}")})


def lying(size: int) -> bytes:
    """An archive that says that its member inflates to `size`."""
    data = bytearray(zipped({"x.npy": npy(np.zeros(9))}))
    place = data.rindex(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", size)
    return bytes(data)


def npz() -> dict[str, Case]:
    """Archives that lie, swell, climb or carry something else than numbers."""
    return {
    "a pickle": (zipped({"x.npy": npy(np.array([{"a": 1}], object), allow_pickle=True)}), 400),
    "a path out": (zipped({"../../x.npy": npy(np.zeros(2))}), 400),
    "an absolute path": (zipped({"/etc/x.npy": npy(np.zeros(2))}), 400),
    "no array": (zipped({"x.py": b"print(1)"}), 400),
    "a bomb": (zipped({"x.npy": npy(np.zeros(40_000_000, np.uint8))}), 413),
    "many bombs": (zipped({f"x{i}.npy": npy(np.zeros(400_000, np.uint8)) for i in range(9)}), 413),
    "too many": (zipped({f"x{i}.npy": b"" for i in range(10_001)}), 413),
    "a size that cannot be": (lying(900_000), 400),
    "a size that is not": (lying(90), 400),
    "strange compression": (zipped({"x.npy": npy(np.zeros(9))}, zipfile.ZIP_BZIP2), 400),
    "a huge shape": (shaped("(1 << 60,)"), 400),
    "a promised shape": (shaped("(2000000000,)"), 400),
    "a negative shape": (shaped("(-1, -1)"), 400),
    "a nested header": (zipped({"x.npy": header("[" * 9000)}), 400),
    "code in a header": (zipped({"x.npy": header("__import__('os').abort()")}), 400),
    "a record": (zipped({"x.npy": npy(np.zeros(2, "i4,f8"))}), 400),
    "dates": (zipped({"x.npy": npy(np.zeros(2, "M8[s]"))}), 400),
    "long text": (zipped({"x.npy": npy(np.array(["a", "b"]))}), 400),
    "a gap": (zipped({"demos/1/observations.npy": npy(np.zeros((2, 3)))}), 400),
    "two in one place": (zipped({"a.npy": npy(np.zeros(2)), "a/b.npy": npy(np.zeros(2))}), 400),
    "deep": (zipped({"/".join("a" * 40) + ".npy": npy(np.zeros(2))}), 400),
    "metadata that is none": (zipped({"metadata.npy": npy(np.frombuffer(b"{", np.uint8))}), 400),
    "a list for metadata": (zipped({"metadata.npy": npy(np.frombuffer(b"[]", np.uint8))}), 400),
    "nested metadata": (zipped({"metadata.npy": npy(np.frombuffer(b"[" * 100_000, np.uint8))}), 400),
    "not zip": (b"PK\x03\x04" + b"\0" * 90, 400),
}  # fmt: skip


def tensors(text: str | bytes, data: bytes = b"", size: int | None = None) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


FOUR = b"\0" * 4
F32 = '{"dtype":"F32","shape":[%s],"data_offsets":[%s]}'


def safetensors() -> dict[str, Case]:
    """Headers that lie, nest, overlap or point out."""
    return {
    "a huge header": (tensors("{}", size=2**63), 400),
    "a header beyond the end": (tensors("{}", size=900), 400),
    "no JSON": (tensors("{{"), 400),
    "deep JSON": (tensors("[" * 9000), 400),
    "offsets beyond the end": (tensors('{"x":' + F32 % ("2", "0,8") + "}"), 400),
    "offsets that overlap": (tensors('{"x":' + F32 % ("1", "0,4") + ',"y":' + F32 % ("1", "0,4") + "}", FOUR), 400),
    "offsets backwards": (tensors('{"x":' + F32 % ("1", "4,0") + "}", FOUR), 400),
    "a shape that overflows": (tensors('{"x":' + F32 % (",".join(["4294967296"] * 3), "0,4") + "}", FOUR), 400),
    "bfloat16": (tensors('{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}', b"\0\0"), 400),
    "a path out": (tensors('{"../x":' + F32 % ("1", "0,4") + "}", FOUR), 400),
    "too many": (tensors("{" + ",".join(f'"x{i}":' + F32 % ("0", "0,0") for i in range(10_100)) + "}"), 413),
    "metadata that is none": (tensors('{"__metadata__":{"metadata":"["}}'), 400),
    "metadata that is a number": (tensors('{"__metadata__":{"metadata":"1"}}'), 400),
    "nested metadata": (tensors(json.dumps({"__metadata__": {"metadata": "[" * 90_000}})), 400),
}  # fmt: skip


def packed(value: Any) -> bytes:
    """msgpack, of anything."""
    return msgpack.packb(value)


def array(data: Any = b"\0" * 8, dtype: Any = "<f4", shape: Any = (2,)) -> dict[bytes, Any]:
    """An array in openpi's convention, or something that claims to be one."""
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


def msgpacks() -> dict[str, Case]:
    """Arrays that contradict themselves, maps without end, extensions, objects."""
    arrays = {
        "an object array": array(dtype="|O"),
        "a pickle": array(b"cos\nsystem\n(S'true'\ntR.", "|O", (1,)),
        "a record": array(dtype="i4,f4"),
        "a dtype that is none": array(dtype="x" * 1000),
        "a dtype that is a number": array(dtype=4),
        "too little data": array(b""),
        "too much data": array(b"\0" * 9),
        "a negative shape": array(shape=(-2,)),
        "a huge shape": array(shape=(2**62, 4)),
        "a shape of booleans": array(shape=(True, 2)),
        "many axes": array(b"\0" * 4, shape=(1,) * 60),
        "data as text": array("\0" * 8),
    }
    cases = {name: (packed({"model": "reach", "demos": [{"observations": one}]}), 400) for name, one in arrays.items()}
    return cases | {
        "cut short": (packed({"model": "reach", "demos": []})[:-1], 400),
        "more after the end": (packed({"model": "reach", "demos": []}) + b"\0", 400),
        "deep lists": (b"\x91" * 5000, 400),
        "deep maps": (b"\x81\xa1a" * 5000, 400),
        "a list of four thousand million": (b"\xdd\xff\xff\xff\xff", 400),
        "bytes of four thousand million": (b"\xc6\xff\xff\xff\xff", 400),
        "an extension": (packed({"model": msgpack.ExtType(42, b"x")}), 422),
        "a reserved byte": (b"\xc1", 400),
        "broken text": (b"\x81\xa1m\xa1\xff", 400),
        "a number": (packed(1), 422),
        "keys that are numbers": (packed({1: 2}), 400),
        "many containers": (b"\xdd\x00\x0f\x42\x41" + b"\x90" * 1_000_001, 413),
    }


def jsons() -> dict[str, Case]:
    """Texts that nest, break, or hold what JSON does not."""
    return {
        "deep": (b"[" * 100_000, 400),
        "deep objects": (b'{"a":' * 50_000, 400),
        "cut short": (b'{"model": "reach"', 400),
        "broken text": (b'{"model": "\xff"}', 400),
        "half a surrogate": (b'{"model": "\\ud800", "demos": []}', 400),
        "a huge integer": (b'{"model": ' + b"9" * 5000 + b', "demos": []}', 400),
        "NaN": (b'{"model": "reach", "demos": [{"observations": [[NaN]]}]}', 422),
        "nothing": (b"   ", 400),
        "a number": (b"1", 422),
        "null bytes": (b"\0" * 100, 400),
        "many containers": (b"[" + b"[]," * 1_000_001 + b"1]", 413),
    }


def gzips(limit: int) -> dict[str, Case]:
    """For a body that may inflate to `limit` bytes: a bomb, a bomb in a bomb, and what is no gzip."""
    bomb = gzip_format.compress(b"\0" * (4 * limit), 9)
    return {
        "a bomb": (bomb, 413),
        "a bomb in a bomb": (gzip_format.compress(bomb), 400),
        "no gzip": (b"hello", 400),
        "cut short": (gzip_format.compress(b'{"model": "reach", "demos": []}')[:-4], 400),
        "two streams": (gzip_format.compress(b"{}") * 2, 400),
    }


def robomimic(path: Path) -> Path:
    """A small sound file, to be damaged."""
    import h5py

    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        demo["obs/state"], demo["next_obs/state"] = np.zeros((4, 3)), np.ones((4, 3))
        demo.create_dataset("actions", data=np.zeros((4, 2)), compression="gzip")
        demo["rewards"], demo["dones"] = np.zeros(4), np.zeros(4)
    return path


def hdf5(folder: Path) -> dict[str, Path]:
    """Files that point out of themselves, lie about their size, or turn in circles; they are made in `folder`."""
    import h5py

    def virtual(demo: Any) -> None:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
        demo.create_virtual_dataset("rewards", layout)

    damages: dict[str, Any] = {
        "an external link": lambda demo: demo.__setitem__("rewards", h5py.ExternalLink("/etc/hostname", "/")),
        "a soft link": lambda demo: demo.__setitem__("rewards", h5py.SoftLink("/data/demo_0/dones")),
        "data in another file": lambda demo: demo.create_dataset(
            "rewards", (4,), "u1", external=[("/etc/passwd", 0, 4)]
        ),
        "a virtual dataset": virtual,
        "a bomb": lambda demo: demo.create_dataset("rewards", (2**40,), "f8", chunks=(1024,), compression="gzip"),
        "strings": lambda demo: demo.__setitem__("rewards", ["a"] * 4),
        "a group": lambda demo: demo.create_group("rewards"),
        "a circle": lambda demo: demo.__setitem__("rewards", demo.parent),
    }
    made = {}
    for i, (name, damage) in enumerate(damages.items()):
        made[name] = robomimic(folder / f"{i}.hdf5")
        with h5py.File(made[name], "r+") as file:
            del file["data/demo_0/rewards"]
            damage(file["data/demo_0"])
    whole = robomimic(folder / "whole.hdf5").read_bytes()
    for name, content in {"cut short": whole[: len(whole) // 2], "text": b"hello", "empty": b""}.items():
        made[name] = folder / f"{name}.hdf5"
        made[name].write_bytes(content)
    return made
