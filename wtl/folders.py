"""Folders that a command makes: gone again if it fails before it has put anything there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRACES = frozenset({"run.json", "lock"})
"""Files, beside the log of events, that say that a command began, and hold no work."""


@contextmanager
def nothing_left_of_a_failure(*folders: Path) -> Iterator[None]:
    """Remove what the block has made of `folders`, and of those above them, if it fails without having put work there.

    A folder that was there before stays, whatever is in it.
    """
    made = [first for folder in folders if (first := _first_missing(folder.absolute())) is not None]
    try:
        yield
    except BaseException:
        for folder in made:
            _remove_if_empty(folder)
        raise


def _first_missing(folder: Path) -> Path | None:
    """The outermost folder that would be made for `folder`; None if it is there."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    return missing[-1] if missing else None


def _remove_if_empty(folder: Path) -> None:
    from metalearn.config import EVENT_LOG  # imported late, as it takes a while

    traces = _TRACES | {EVENT_LOG}
    if not folder.is_dir() or any(path.is_file() and path.name not in traces for path in folder.rglob("*")):
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
