"""Bundles of schema 1 become bundles of schema 2: the same numbers under the names of today.

The one place that knows the names of schema 1. Needs torch and onnx where a bundle has graphs, which are exported
again; everything else is carried over.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metalearn.bundle import SCHEMA, Bundle, Weights, run_bundle
from metalearn.config import ModelConfig
from metalearn.data.dataset import DAMAGE
from metalearn.data.errors import InvalidConfig

_MODEL = {"code_size": "latent_dim"}
_TRAINING = {
    "no_demo": "demo_dropout",
    "ramp_steps": "anneal_steps",
    "settled_after": "freeze_batchnorm_after",
}
_POLICY_WEIGHTS = {"encoder.features.": "encoder.observations.", "encoder.memory.": "encoder.observations.memory."}
_TWICE = "features."
"""The normaliser of observations, a second time."""
_BASELINE_WEIGHTS = {"mean": "observations.mean", "std": "observations.std"}
_GRAPHS = ("believe", "stance", "act")
_WORKSHOP = ".upgrading"
"""Beside the bundles, and deeper than bundles are looked for."""


@dataclass(frozen=True)
class Upgrade:
    """What became of one bundle: a new id, or the id it already had; or else why it was left as it was."""

    folder: Path
    before: str | None = None
    after: str | None = None
    problem: str | None = None


def upgrade(folder: Path) -> Iterator[Upgrade]:
    """Upgrade a bundle, that of a run, or every bundle of a folder, in place; what is of schema 2 stays as it is.

    A bundle is replaced as a whole when the new one is complete and on the disk. What cannot be upgraded is not
    touched. Runs on one folder take turns, and one that was stopped is put right by the next.

    Raises:
        InvalidConfig: no bundle there.
    """
    folder = (run_bundle(folder) or folder).resolve()
    with _turn(folder.parent):
        _recover(folder)
    if folder.is_dir():
        with _turn(folder):
            for old in sorted(folder.glob(f"{_WORKSHOP}/*/old")):
                _recover(folder / old.parent.name)
    alone = (folder / "bundle.json").exists()
    found = [folder] if alone else sorted({path.parent.resolve() for path in folder.glob("*/bundle.json")})
    if not found:
        raise InvalidConfig(f"no bundle at {folder}")
    for one in found:
        try:
            with _turn(one.parent):
                yield _upgrade(one)
        except OSError as error:
            yield Upgrade(one, problem=_sentence(error))


def _upgrade(folder: Path) -> Upgrade:
    workshop = _workshop(folder)
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
        shutil.rmtree(workshop / "new", ignore_errors=True)
        shutil.copytree(folder, workshop / "new")
        bundle = _rewrite(workshop / "new", head)
        _sync(workshop / "new")
        folder.rename(workshop / "old")
        (workshop / "new").rename(folder)
        _sync(folder.parent)
        return Upgrade(folder, head["id"], bundle.id)
    except (InvalidConfig, OSError, RuntimeError, ValueError, *DAMAGE) as error:
        return Upgrade(folder, problem=_sentence(error))
    finally:
        _recover(folder)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait for other runs that upgrade bundles of this folder, and keep them waiting meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _recover(folder: Path) -> None:
    """Leave a whole bundle in the place of `folder`, the earlier one if need be, and nothing of it in the workshop."""
    workshop = _workshop(folder)
    old = workshop / "old"
    if old.is_dir():
        if folder.exists() and _schema(folder) != SCHEMA:
            return  # somebody's own bundle of this name: neither of the two is ours to delete
        try:
            Bundle.load(folder)
        except (InvalidConfig, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            old.rename(folder)
    shutil.rmtree(workshop, ignore_errors=True)
    with suppress(OSError):  # others are in it, or it was never there
        workshop.parent.rmdir()


def _schema(folder: Path) -> object:
    with suppress(OSError, ValueError, AttributeError):
        return json.loads((folder / "bundle.json").read_text()).get("schema")
    return SCHEMA  # damaged: not a bundle that somebody would miss


def _sync(folder: Path) -> None:
    """Put the files of a folder on the disk, and the names in it."""
    for path in [*(path for path in folder.rglob("*") if _WORKSHOP not in path.parts), folder]:
        if path.is_file() or path.is_dir():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _rewrite(folder: Path, head: dict[str, Any]) -> Bundle:
    """Turn the files of a schema-1 bundle, a copy, into those of schema 2."""
    for name in _GRAPHS:
        (folder / f"{name}.onnx").unlink(missing_ok=True)
    provenance = {**_provenance(head["provenance"]), "upgraded": {"schema": head["schema"], "id": head["id"]}}
    renamed = {**head, "schema": SCHEMA, "model": _renamed(head["model"], _MODEL), "provenance": provenance, "onnx": {}}
    (folder / "bundle.json").write_text(json.dumps(renamed))
    bundle = Bundle.load(folder)
    baselines = {name: _renamed(weights, _BASELINE_WEIGHTS) for name, weights in bundle.baselines.items()}
    bundle = replace(bundle, weights=_policy_weights(bundle.weights), baselines=baselines)
    ModelConfig.model_validate(bundle.model)
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


def _policy_weights(weights: Weights) -> Weights:
    kept = {name: value for name, value in weights.items() if not name.startswith(_TWICE)}
    for old, new in _POLICY_WEIGHTS.items():
        kept = {new + name.removeprefix(old) if name.startswith(old) else name: value for name, value in kept.items()}
    return kept


def _renamed(value: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): entry for key, entry in value.items()}


def _workshop(folder: Path) -> Path:
    """Where a bundle is worked on: `new` is being made, `old` was set aside for it."""
    return folder.parent / _WORKSHOP / folder.name
