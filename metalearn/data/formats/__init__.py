"""Recorded episodes of other people's formats, as files, as datasets and as request bodies: see `table.FORMATS`.

Nothing is ever unpickled, no code of a dataset is run, and sizes are checked before anything is inflated. The
libraries are imported when a file of theirs is read: minari in `minari_datasets`, h5py in `hdf5`, pyarrow in
`arrow`, `lerobot`, `lerobot_writer` and `imitation`.
"""

from metalearn.data.formats.arrays import Limits, decode_npz, decode_safetensors, encode_npz, encode_safetensors
from metalearn.data.formats.lerobot import read_lerobot
from metalearn.data.formats.lerobot_writer import write_lerobot
from metalearn.data.formats.minari_datasets import read_minari, write_minari
from metalearn.data.formats.robomimic import read_robomimic
from metalearn.data.formats.selection import Recorded, Selection, Skipped
from metalearn.data.formats.table import FORMATS, DatasetFormat, find_format, read_episodes, write_episodes

__all__ = [
    "FORMATS",
    "DatasetFormat",
    "Limits",
    "Recorded",
    "Selection",
    "Skipped",
    "decode_npz",
    "decode_safetensors",
    "encode_npz",
    "encode_safetensors",
    "find_format",
    "read_episodes",
    "read_lerobot",
    "read_minari",
    "read_robomimic",
    "write_episodes",
    "write_lerobot",
    "write_minari",
]
