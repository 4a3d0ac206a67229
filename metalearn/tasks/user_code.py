"""Errors in code that users bring, reported in one sentence: the attempt, the error, and the line that raised it."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metalearn.data.errors import InvalidConfig, WatchTryLearnError
from metalearn.data.extras import extra_of, missing_library

_CALLERS = (__file__, str(Path(__file__).with_name("family.py")), str(Path(__file__).with_name("registry.py")))


@contextmanager
def user_code(attempt: str) -> Iterator[None]:
    """Run a block that calls the user's code; `attempt` begins the error message.

    Raises:
        InvalidConfig: the block raised, or wanted to end the process.
    """
    try:
        yield
    except WatchTryLearnError:
        raise
    except ModuleNotFoundError as error:
        if error.name and extra_of(error.name):
            raise missing_library(error, attempt) from error
        raise _failed(attempt, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(attempt, error) from error


def _failed(attempt: str, error: BaseException) -> InvalidConfig:
    text = " ".join(str(error).split())
    return InvalidConfig(f"{attempt}: {type(error).__name__}: {text}{_where(error)}")


def _where(error: BaseException) -> str:
    """File and line of the innermost frame outside this package and the import machinery."""
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in _CALLERS and "importlib" not in frame.filename and "contextlib" not in frame.filename
    ]
    return f" ({frames[-1]})" if frames else ""
