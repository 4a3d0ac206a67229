"""Results of a benchmark's steps as files, each written atomically: a result that exists need not be computed again.

Knows files and JSON only.
"""

import fcntl
import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metalearn.data import reading
from metalearn.data.errors import WatchTryLearnError
from metalearn.training.events import Stopped

LEFT_OUT = "left_out.json"


def write_json(path: Path, value: Any) -> Any:
    """Write `value` atomically and return it: a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("w") as handle:
        handle.write(json.dumps(value, indent=1) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    scratch.replace(path)
    return value


def read_json(path: Path) -> Any:
    """Read JSON; return None if there is no file, or none that can be read."""
    try:
        return reading.read_json(path)
    except (OSError, ValueError):
        return None


def cached(path: Path, made_from: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result at `path`; make it first, unless it was made from the same inputs.

    Args:
        path: of the result.
        made_from: digest of the inputs of the step.
        make: computes the result, which is stored as JSON.
    """
    kept = read_json(path)
    if isinstance(kept, dict) and kept.get("made_from") == made_from:
        return kept
    value: dict[str, Any] = write_json(path, {"made_from": made_from, **make()})
    return value


def digest(*parts: Any) -> str:
    """SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file; of nothing if there is none."""
    return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()


@contextmanager
def locked(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """One process at a time does the work of `folder`; `waiting` is called now and then, and may raise.

    The lock goes with the process that holds it, however that one ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(0.5)
        yield


def note_left_out(folder: Path, reason: str) -> None:
    """Note in `folder` why its step is missing from the report."""
    write_json(folder / LEFT_OUT, {"reason": reason})


def left_out(folder: Path) -> str | None:
    """Return why the step of `folder` is missing from the report, if that was noted."""
    note = read_json(folder / LEFT_OUT)
    return note["reason"] if isinstance(note, dict) else None


@contextmanager
def failures_noted(folder: Path) -> Iterator[None]:
    """Note an error of the block in `folder` and go on: hours of other steps are not to be lost.

    Raises:
        Stopped: the block was stopped.
    """
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text("".join(traceback.format_exception(error)))
        kind = "" if isinstance(error, WatchTryLearnError) else f"{type(error).__name__}: "
        lines = str(error).strip().splitlines()
        note_left_out(folder, f"failed: {kind}{lines[0] if lines else 'no message'}")
    else:
        (folder / LEFT_OUT).unlink(missing_ok=True)


@contextmanager
def accumulated_seconds(path: Path, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Add the seconds that the block took by `clock` to those at `path`, however it ends short of a kill."""
    started = clock()
    try:
        yield
    finally:
        write_json(path, round(seconds_at(path) + clock() - started, 2))


def seconds_at(path: Path) -> float:
    """Read the seconds that `accumulated_seconds` has added up."""
    before = read_json(path)
    return float(before) if isinstance(before, int | float) else 0.0


def bits(flags: Any) -> str:
    """Flags `[n]` as a string of 0 and 1."""
    return "".join("1" if flag else "0" for flag in flags)
