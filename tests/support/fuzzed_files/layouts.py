"""The layouts of all formats. A new format of the table needs an entry here: `Case` cannot be judged without one."""

from support.fuzzed_files.bodies import BODIES
from support.fuzzed_files.hdf5 import HDF5
from support.fuzzed_files.lerobot import LEROBOT
from support.fuzzed_files.minari import MINARI
from support.fuzzed_files.rllib import RLLIB

LAYOUTS = {**BODIES, **HDF5, "minari": MINARI, "lerobot": LEROBOT, "rllib": RLLIB}
