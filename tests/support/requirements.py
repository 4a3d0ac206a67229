"""What a project's dependencies bring with them, read from what is installed; no registry is asked."""

import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
MENDED = {one["name"]: one["requires-dist"] for one in PROJECT["tool"]["uv"]["dependency-metadata"]}
"""Dependencies of which uv is told what they need, since their own metadata are wrong."""


def closure(*extras: str) -> set[str]:
    """The canonical names of everything that the package needs here, with some of its extras."""
    project = PROJECT["project"]
    roots = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    seen: set[tuple[str, str]] = set()
    _follow(map(Requirement, roots), "", seen)
    return {name for name, _ in seen}


def _follow(requirements: Iterable[Requirement], extra: str, seen: set[tuple[str, str]]) -> None:
    for one in requirements:
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            for wanted in ("", *one.extras):
                key = (canonicalize_name(one.name), wanted)
                if key not in seen:
                    seen.add(key)
                    _follow(_needs(one.name), wanted, seen)


def _needs(name: str) -> Iterator[Requirement]:
    """What an installed distribution asks for; nothing of one that is not installed, such as CUDA's."""
    try:
        yield from map(Requirement, MENDED.get(name) or metadata.requires(name) or ())
    except metadata.PackageNotFoundError:
        return
