"""Bundles of schema 1 become bundles of schema 2: the same numbers under the names of today.

The one place that knows the names of schema 1. Needs torch and onnx where a bundle has graphs, which are exported
again; everything else is carried over.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metalearn.bundle import SCHEMA, Bundle
from metalearn.data.dataset import DAMAGE
from metalearn.data.errors import InvalidConfig

_MODEL = {"code_size": "latent_dim"}
_TRAINING = {
    "no_demo": "demo_dropout",
    "ramp_steps": "anneal_steps",
    "settled_after": "freeze_batchnorm_after",
}
_GRAPHS = ("believe", "stance", "act")
_WORKSHOP = ".upgrading"
"""Beside the bundles, one folder deeper than they are looked for: what is being made, and what it replaces."""


@dataclass(frozen=True)
class Upgrade:
    """What became of one bundle: a new id, or the id it already had; or else why it was left as it was."""

    folder: Path
    before: str | None = None
    after: str | None = None
    problem: str | None = None


def upgrade(folder: Path) -> Iterator[Upgrade]:
    """Upgrade a bundle, or every bundle of a folder, in place; what is of schema 2 stays as it is.

    A bundle is replaced as a whole when the new one is complete. What cannot be upgraded is not touched.

    Raises:
        InvalidConfig: no bundle there.
    """
    _take_up(folder.parent, folder.name)
    if (folder / "bundle.json").exists():
        yield _upgrade(folder)
        return
    _take_up(folder)
    found = sorted(path.parent for path in folder.glob("*/bundle.json"))
    if not found:
        raise InvalidConfig(f"no bundle at {folder}")
    for one in found:
        yield _upgrade(one)


def _upgrade(folder: Path) -> Upgrade:
    try:
        head = json.loads((folder / "bundle.json").read_text())
        if head.get("schema") == SCHEMA:
            return Upgrade(folder, before=Bundle.load(folder).id)
        if head.get("schema") != 1:
            return Upgrade(folder, problem=f"expected schema 1 or {SCHEMA}, got {head.get('schema')}")
        if head.get("onnx") and (missing := [name for name in ("torch", "onnx") if find_spec(name) is None]):
            return Upgrade(
                folder, problem=f"exporting its graphs again needs {missing[0]}, which is not installed here"
            )
        workshop = folder.parent / _WORKSHOP / folder.name
        shutil.rmtree(workshop, ignore_errors=True)
        shutil.copytree(folder, workshop / "new")
        bundle = _rewrite(workshop / "new", head)
        _replace(folder, workshop)
        return Upgrade(folder, head["id"], bundle.id)
    except (InvalidConfig, OSError, RuntimeError, *DAMAGE) as error:
        return Upgrade(folder, problem=" ".join(str(error).split())[:300])
    finally:
        _tidy(folder.parent, folder.name)


def _rewrite(folder: Path, head: dict[str, Any]) -> Bundle:
    """Turn the files of a schema-1 bundle, a copy, into those of schema 2."""
    for name in _GRAPHS:
        (folder / f"{name}.onnx").unlink(missing_ok=True)
    provenance = {**_provenance(head["provenance"]), "upgraded": {"schema": head["schema"], "id": head["id"]}}
    renamed = {**head, "schema": SCHEMA, "model": _renamed(head["model"], _MODEL), "provenance": provenance, "onnx": {}}
    (folder / "bundle.json").write_text(json.dumps(renamed))
    bundle = Bundle.load(folder)
    if head.get("onnx"):
        from metalearn.model.export import with_graphs  # imports torch

        bundle = with_graphs(bundle)
    bundle.save(folder)
    return bundle


def _provenance(value: Mapping[str, Any]) -> dict[str, Any]:
    """With today's names in the experiment, and in how the baselines were made."""
    changed = dict(value)
    if isinstance(experiment := value.get("experiment"), dict):
        parts = {"model": _MODEL, "training": _TRAINING}
        changed["experiment"] = experiment | {
            part: _renamed(experiment[part], names) for part, names in parts.items() if part in experiment
        }
    if isinstance(baselines := value.get("baselines"), dict):
        changed["baselines"] = {
            name: {**made, "config": _renamed(made["config"], _MODEL)} if "config" in made else made
            for name, made in baselines.items()
        }
    return changed


def _renamed(value: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): entry for key, entry in value.items()}


def _replace(folder: Path, workshop: Path) -> None:
    """Put the new bundle where the old one is. Stopped between the two, the next run puts the old one back."""
    folder.rename(workshop / "old")
    (workshop / "new").rename(folder)


def _take_up(parent: Path, name: str = "*") -> None:
    """Put back what a run that was stopped had set aside."""
    for old in parent.glob(f"{_WORKSHOP}/{name}/old"):
        if not (parent / old.parent.name).exists():
            old.rename(parent / old.parent.name)


def _tidy(parent: Path, name: str) -> None:
    """Remove what was worked on; an old bundle only if there is a new one in its place."""
    if (parent / name / "bundle.json").exists():
        shutil.rmtree(parent / _WORKSHOP / name, ignore_errors=True)
    if (parent / _WORKSHOP).is_dir() and not any((parent / _WORKSHOP).iterdir()):
        (parent / _WORKSHOP).rmdir()
