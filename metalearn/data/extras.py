"""Which optional part of the package brings a library, read from what the installed package asks for.

The one place that turns a missing library into a sentence: `pyproject.toml` alone says what belongs to which extra.
"""

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires

from metalearn.data.errors import InvalidConfig

PACKAGE = "watch-try-learn"
_DISTRIBUTIONS = {"mlflow": "mlflow-skinny"}
"""Module -> distribution, where the names differ by more than case and dashes."""
_FOR_WORK_ON_THE_CODE = frozenset({"dev", "docs"})


def extra_of(module: str) -> str | None:
    """The smallest extra that installs the library of `module`; None if it is in no extra."""
    top = module.partition(".")[0]
    wanted = _canonical(_DISTRIBUTIONS.get(top, top))
    having = {name: libraries for name, libraries in extras().items() if wanted in libraries}
    return min(having, key=lambda name: len(having[name]), default=None)


def extras() -> Mapping[str, frozenset[str]]:
    """The extras for users, and the distributions that each of them asks for; empty where nothing is installed."""
    found: dict[str, set[str]] = {}
    try:
        requirements = requires(PACKAGE) or []
    except PackageNotFoundError:  # run from a folder of sources
        requirements = []
    for requirement in requirements:
        parts = re.match(r"\s*([A-Za-z0-9._-]+).*\bextra\s*==\s*[\"']([^\"']+)[\"']", requirement)
        if parts and parts[2] not in _FOR_WORK_ON_THE_CODE:
            found.setdefault(parts[2], set()).add(_canonical(parts[1]))
    return {name: frozenset(libraries) for name, libraries in found.items()}


def missing_library(error: ImportError, what: str = "") -> InvalidConfig:
    """What to install, for an import that failed; `what` needed it."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return InvalidConfig(f"{what + ': ' if what else ''}{' '.join(str(error).split())}")
    return not_installed(error.name.partition(".")[0], what)


def not_installed(module: str, what: str = "") -> InvalidConfig:
    """What to install for the library of `module`, which `what` needs."""
    extra = extra_of(module)
    how = f": pip install '{PACKAGE}[{extra}]'" if extra else ""
    return InvalidConfig(f"{what + ': ' if what else ''}{module} is not installed{how}")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
