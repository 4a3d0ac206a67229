"""How many threads a computation of this process and of its children takes: decided here and nowhere else.

Small matrices hardly gain from a second thread, and lose much when it waits for a core that other work has. One thread
also makes the sums, and so the weights, the same on every machine.
"""

import os
import sys

from metalearn.data.errors import InvalidConfig

DEFAULT = 1
VARIABLE = "WTL_THREADS"
_LIBRARIES = "OMP_NUM_THREADS"
"""What torch, OpenBLAS and MKL read when they are loaded, here and in every process that is started from here."""


def use_threads(n: int | None = None) -> None:
    """Compute with `n` threads, or with as many as WTL_THREADS, else OMP_NUM_THREADS, else the default says.

    Raises:
        InvalidConfig: WTL_THREADS is no number of threads.
    """
    if n is None and (given := os.environ.get(VARIABLE)):
        if not (given.isascii() and given.isdecimal() and 0 < int(given[:6]) <= 1024):
            raise InvalidConfig(f"{VARIABLE}: expected a number of threads from 1 to 1024, got {given[:40]!r}")
        n = int(given)
    if n is None and os.environ.get(_LIBRARIES):
        return  # the libraries follow it by themselves
    os.environ[_LIBRARIES] = str(n or DEFAULT)
    if (torch := sys.modules.get("torch")) is not None:  # it was loaded before, and looks no more
        torch.set_num_threads(n or DEFAULT)
