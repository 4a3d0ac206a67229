"""Code that users bring: whatever it raises becomes one sentence that says what, where and while doing what."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metalearn.data.errors import InvalidConfig, WatchTryLearnError

_OURS = (__file__, str(Path(__file__).with_name("family.py")), str(Path(__file__).with_name("registry.py")))


@contextmanager
def users_code(doing: str) -> Iterator[None]:
    """Run a block that calls the user's code.

    Raises:
        InvalidConfig: the block raised, or wanted to end the process.
    """
    try:
        yield
    except WatchTryLearnError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        raise InvalidConfig(f"{doing}: {type(error).__name__}: {text}{_where(error)}") from error


def _where(error: BaseException) -> str:
    """File and line of the innermost frame that is neither ours nor the import machinery's."""
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in _OURS and "importlib" not in frame.filename and "contextlib" not in frame.filename
    ]
    return f" ({frames[-1]})" if frames else ""
