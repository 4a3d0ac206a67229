"""Lines for a person to type next, which run as they are printed: where `wtl` is, and with blanks quoted."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def command(*arguments: object) -> str:
    """`wtl ARGUMENTS`, as a shell in this folder would run it."""
    return " ".join([program(), *(shlex.quote(str(argument)) for argument in arguments)])


def program() -> str:
    """`wtl` if the PATH leads to the one that runs now, else where it is: `.venv/bin/wtl`, or as a module of Python."""
    script = Path(sys.executable).with_name("wtl")
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m wtl.cli"
    found = shutil.which("wtl")
    if found is not None and Path(found).parent.resolve() == script.parent.resolve():
        return "wtl"
    near = os.path.relpath(script)
    return shlex.quote(str(script) if near.startswith(os.pardir) else near)
