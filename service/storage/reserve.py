"""Room on the disk that only deletions use: SQLite writes even when it deletes, so a full disk could not be emptied."""

import os
from pathlib import Path

RESERVED_BYTES = 4 * 1024**2
_STEP = 64 * 1024


class Reserve:
    """A file that takes up room until a deletion needs it. On a disk that is full already there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fill()

    def fill(self) -> None:
        """Take up the room, or as much of it as there is."""
        try:
            with self._path.open("ab") as file:
                has, disk = file.tell(), os.fstatvfs(file.fileno())
                n_bytes = min(RESERVED_BYTES, has + disk.f_bavail * disk.f_frsize // _STEP * _STEP)
                if n_bytes > has:
                    os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError:
            return  # others have taken it meanwhile; the next deletion tries again

    def release(self) -> None:
        """Give the room back, until `fill` takes it again."""
        self._path.unlink(missing_ok=True)
