"""What a shell offers for the names that arguments take. Each list is read only when it is asked for."""

from collections.abc import Iterable
from pathlib import Path


def experiments(incomplete: str) -> list[str]:
    """Experiments that have a name."""
    from metalearn.experiments import EXPERIMENTS

    return _beginning(EXPERIMENTS, incomplete)


def families(incomplete: str) -> list[str]:
    """Families that ship with the package; those of one's own have no list."""
    from metalearn.tasks.registry import FAMILIES

    return _beginning(FAMILIES, incomplete)


def manifests(incomplete: str) -> list[str]:
    """Manifests that have a name."""
    from metalearn.evaluation.manifest import manifest_names

    return _beginning(manifest_names(), incomplete)


def models(incomplete: str) -> list[str]:
    """Shipped models, and runs with a bundle below `runs/`."""
    from service.settings import SHIPPED_MODELS

    shipped = (path.parent.name for path in SHIPPED_MODELS.glob("*/bundle.json"))
    trained = (str(path.parents[1]) for path in Path("runs").glob("*/bundle/bundle.json"))
    return _beginning([*shipped, *trained], incomplete)


def settings(incomplete: str) -> list[str]:
    """Settings that `--set` takes, and what those take that are true or false."""
    from metalearn.settings import settings as known

    free = [one for one in known().values() if not one.set_by]
    names = [f"{one.name}={value}" for one in free for value in _values(one.expected)]
    return _beginning(names if "=" in incomplete else {name.partition("=")[0] + "=" for name in names}, incomplete)


def setting_names(incomplete: str) -> list[str]:
    """Names of all settings."""
    from metalearn.settings import settings as known

    return _beginning(known(), incomplete)


def _values(expected: str) -> tuple[str, ...]:
    return ("true", "false") if expected == "true or false" else ("",)


def sources(incomplete: str) -> list[str]:
    """Kinds of recordings, as `--from KIND:PATH` takes them."""
    from metalearn.data.formats import FORMATS

    return _beginning((f"{name}:" for name in FORMATS), incomplete)


def suites(incomplete: str) -> list[str]:
    """Suites of `wtl benchmark`."""
    from metalearn.benchmark.suites import SUITES

    return _beginning(SUITES, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
