"""Room on the disk that only deletions use: SQLite writes even when it deletes, so a full disk could not be emptied."""

import os
from pathlib import Path

RESERVED_BYTES = 4 * 1024**2


class Reserve:
    """A file that takes up room until a deletion needs it. On a disk that is full already there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fill()

    def fill(self) -> None:
        """Take up the room, or as much of it as there is."""
        try:
            with self._path.open("ab") as file:
                has = file.tell()
                for n_bytes in (RESERVED_BYTES, RESERVED_BYTES // 2, RESERVED_BYTES // 4):
                    if has >= n_bytes or _allocate(file.fileno(), n_bytes):
                        return
        except OSError:
            return  # not even a name fits; the next deletion tries again

    def release(self) -> None:
        """Give the room back, until `fill` takes it again."""
        self._path.unlink(missing_ok=True)


def _allocate(descriptor: int, n_bytes: int) -> bool:
    """Return True if the file has room for so many bytes now."""
    try:
        os.posix_fallocate(descriptor, 0, n_bytes)
    except OSError:
        return False
    return True
