"""The table of formats that recorded episodes come in, and the two functions that read and write any of them.

Whatever lists formats follows `FORMATS`: the content types of HTTP, `--from` of the command line, and the table in the
docs (`.ci/formats_table.py` writes it). A new format is a module with a reader, and an entry here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.extras import missing_library
from metalearn.data.formats.aloha import read_aloha
from metalearn.data.formats.arrays import decode_npz, decode_safetensors, encode_npz, encode_safetensors, read_npz
from metalearn.data.formats.d4rl import read_d4rl
from metalearn.data.formats.files import Decoder, Encoder, decode_json, read_file, write_file
from metalearn.data.formats.imitation import of_npz, read_imitation
from metalearn.data.formats.layouts import read_hdf5, read_json_file
from metalearn.data.formats.lerobot import read_lerobot
from metalearn.data.formats.lerobot_writer import write_lerobot
from metalearn.data.formats.maniskill import read_maniskill
from metalearn.data.formats.minari_datasets import read_minari, write_minari
from metalearn.data.formats.rates import at_chosen_rate
from metalearn.data.formats.rllib import read_rllib
from metalearn.data.formats.robomimic import read_robomimic
from metalearn.data.formats.selection import Recorded, Selection
from metalearn.data.names import near

if TYPE_CHECKING:
    import metalearn.data.spec
    from metalearn.data.spec import Spec

Reader = Callable[[str, Selection], Recorded]
Writer = Callable[[str, Recorded, "Spec | None", str], None]
_KIND = re.compile(r"([A-Za-z][A-Za-z0-9_]*):(.*)", re.DOTALL)


@dataclass(frozen=True)
class DatasetFormat:
    """One format of recorded episodes.

    Attributes:
        name: what stands before the colon in `--from KIND:PATH`.
        description: a phrase for the docs and for `wtl formats`.
        path: what stands after the colon.
        read: the episodes at a path, as `Selection` says.
        write: takes a target, the episodes, their spec and a description; None where the format is only read.
        suffixes: of the files that are in this format; the first one is the usual one.
        media_type: of a request body in this format; None where it is not uploaded.
        decode: the value that such a body holds.
        extra: the optional dependencies of the distribution that it needs.
    """

    name: str
    description: str
    path: str
    read: Reader
    write: Writer | None = None
    suffixes: tuple[str, ...] = ()
    media_type: str | None = None
    decode: Decoder | None = None
    extra: str | None = None

    @property
    def usage(self) -> str:
        """What follows `--from`, without the kind where a suffix says it."""
        places = self.path.split(" or ")
        return f"FILE{self.suffixes[0]}" if self.suffixes else " or ".join(f"{self.name}:{place}" for place in places)


def _write_file(target: str, recorded: Recorded, _spec: "Spec | None", _description: str, *, encode: Encoder) -> None:
    write_file(target, encode, recorded.episodes, recorded.rate_hz)


def _write_minari(target: str, recorded: Recorded, spec: "Spec | None", description: str) -> None:
    if spec is None:
        raise InvalidConfig(f"minari:{target}: a Minari dataset holds the spaces of its episodes; name their model")
    write_minari(target, recorded.episodes, spec, description)


def _write_lerobot(target: str, recorded: Recorded, spec: "Spec | None", description: str) -> None:
    if spec is None:
        raise InvalidConfig(f"lerobot:{target}: a LeRobot dataset holds the shapes of its columns; name their model")
    write_lerobot(target, recorded.episodes, spec, recorded.rate_hz, description)


FORMATS: Mapping[str, DatasetFormat] = {
    entry.name: entry
    for entry in (
        DatasetFormat(
            "npz",
            "numpy's archive of arrays",
            "FILE",
            read=partial(read_file, decode=read_npz, convert=of_npz),
            write=partial(_write_file, encode=encode_npz),
            suffixes=(".npz",),
            media_type="application/x-npz",
            decode=decode_npz,
        ),
        DatasetFormat(
            "safetensors",
            "an archive of arrays",
            "FILE",
            read=partial(read_file, decode=decode_safetensors),
            write=partial(_write_file, encode=encode_safetensors),
            suffixes=(".safetensors",),
            media_type="application/x-safetensors",
            decode=decode_safetensors,
        ),
        DatasetFormat(
            "json",
            "a request body as a file",
            "FILE",
            read=read_json_file,
            suffixes=(".json",),
            media_type="application/json",
            decode=decode_json,
        ),
        DatasetFormat(
            "minari",
            "a Minari dataset",
            "ID or DIR",
            read=read_minari,
            write=_write_minari,
            extra="train",
        ),
        DatasetFormat(
            "hdf5",
            "an HDF5 file in one of the four layouts that follow",
            "FILE",
            read=read_hdf5,
            suffixes=(".hdf5", ".h5"),
            extra="train",
        ),
        DatasetFormat("robomimic", "robomimic's HDF5, with demo_0", "FILE", read=read_robomimic, extra="train"),
        DatasetFormat("maniskill", "ManiSkill's HDF5, with traj_0", "FILE", read=read_maniskill, extra="train"),
        DatasetFormat("d4rl", "D4RL's HDF5, with flat arrays", "FILE", read=read_d4rl, extra="train"),
        DatasetFormat("aloha", "ALOHA's HDF5, with one episode", "FILE or DIR", read=read_aloha, extra="train"),
        DatasetFormat(
            "imitation",
            "imitation's trajectories or transitions",
            "FILE or DIR",
            read=read_imitation,
            extra="train",
        ),
        DatasetFormat("rllib", "RLlib's JSON", "FILE or DIR", read=read_rllib),
        DatasetFormat(
            "lerobot",
            "a LeRobot dataset without its videos",
            "DIR",
            read=read_lerobot,
            write=_write_lerobot,
            extra="train",
        ),
    )
}


def find_format(source: str | Path) -> tuple[DatasetFormat, str]:
    """The format and the path of `KIND:PATH`, or of a path whose suffix says the kind.

    Raises:
        InvalidConfig: an unknown kind, or a suffix that says none.
    """
    kinds = ", ".join(FORMATS)
    if isinstance(source, str) and (match := _KIND.fullmatch(source)):
        kind, path = match.groups()
        if kind not in FORMATS:
            meant = near(kind, FORMATS)
            hint = f"; did you mean {meant}?" if meant else ""
            raise InvalidConfig(f"{source}: there is no kind {kind} of recordings (there are {kinds}){hint}")
        if not path:
            raise InvalidConfig(f"{source} expected {kind}:{FORMATS[kind].path}, got nothing after the colon")
        return FORMATS[kind], path
    suffix = Path(source).suffix.lower()
    for entry in FORMATS.values():
        if suffix in entry.suffixes:
            return entry, str(source)
    known = ", ".join(suffix for entry in FORMATS.values() for suffix in entry.suffixes)
    raise InvalidConfig(f"{source}: expected KIND:PATH with a kind of {kinds}, or a file ending in {known}")


def read_episodes(source: str | Path, selection: Selection = Selection()) -> Recorded:  # noqa: B008  frozen
    """The episodes at `KIND:PATH`, or in a file whose suffix says the kind.

    Raises:
        InvalidConfig: an unknown kind, or one whose library is not installed.
        InvalidData: not such a dataset, or an episode that cannot be used.
        OSError: it cannot be read.
    """
    entry, path = find_format(source)
    try:
        found = entry.read(path, selection)
    except ImportError as error:
        raise missing_library(error, entry.name) from error
    try:
        return at_chosen_rate(found, selection)
    except InvalidData as error:
        raise error.in_file(path) from error


def write_episodes(
    target: str | Path,
    episodes: Sequence[Episode],
    *,
    rate_hz: float | None = None,
    spec: "metalearn.data.spec.Spec | None" = None,
    description: str = "",
) -> None:
    """Write episodes to `KIND:PATH`, or to a file whose suffix says the kind.

    Raises:
        InvalidConfig: a kind that is not written, that needs a `spec`, or whose library is not installed.
        InvalidData: an episode that the format cannot hold, or that does not fit `spec`.
        OSError: it cannot be written.
    """
    entry, path = find_format(target)
    if not episodes:
        raise InvalidData("episodes", "at least one to write", "none")
    if spec is not None:
        episodes = [spec.fit(episode) for episode in episodes]
    if entry.write is None:
        writable = ", ".join(name for name, one in FORMATS.items() if one.write is not None)
        raise InvalidConfig(f"{target}: {entry.name} is only read; write one of {writable}")
    try:
        entry.write(path, Recorded.of(episodes, rate_hz), spec, description)
    except ImportError as error:
        raise missing_library(error, entry.name) from error
