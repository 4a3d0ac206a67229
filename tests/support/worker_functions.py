"""Functions that tests run in workers, which import them by name: they could not import a test module."""

import os
import signal
import time
from pathlib import Path

from metalearn.data.errors import InvalidData


def square(number: int) -> int:
    return number * number


def slowly(number: int) -> int:
    time.sleep(0.02)
    return square(number)


def threads(_: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def refuse(_: int) -> None:
    raise InvalidData("observations", "finite numbers", "nan")


def die_once(marker: Path, number: int) -> int:
    """Kills its own process the first time it is asked for 3."""
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
