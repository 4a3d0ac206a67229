"""How the C library's heap treats what tensors have freed."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt(3)
_MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep what is freed for what is allocated next, instead of giving it back to the system and asking it again.

    The tensors of a gradient step are freed at its end and wanted anew at the next one. Fresh pages for each of them
    took a fifth to a third of a step (benchmarks/LOG.md, 2026-11-30); the most memory that a process has does not
    change. Nothing where the C library is another one than glibc's.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _MOST)
