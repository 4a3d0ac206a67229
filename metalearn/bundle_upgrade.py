"""Bundles of schema 1 become bundles of schema 2, the same numbers under the names of today; and bundles without an
example or a model card get them.

The one place that knows the names of schema 1. Needs torch and onnx where a bundle of schema 1 has graphs, which are
exported again, and the simulator of the tasks for an example; everything else is carried over.
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
from metalearn.config import DataConfig, ModelConfig
from metalearn.data.dataset import DAMAGE
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.extras import not_installed
from metalearn.data.reading import read_json
from metalearn.data.typical import typical

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


_EXAMPLE, _CARD = "example.json", "README.md"
N_CANDIDATES, STREAM_EXAMPLE = 32, 16


@dataclass(frozen=True)
class Upgrade:
    """What became of one bundle: a new id, or the id it already had; or else why it was left as it was.

    `added` names the files that were written into a bundle of today's schema, which does not change its id.
    """

    folder: Path
    before: str | None = None
    after: str | None = None
    problem: str | None = None
    added: tuple[str, ...] = ()


def upgrade(folder: Path) -> Iterator[Upgrade]:
    """Upgrade a bundle, that of a run, or every bundle of a folder, in place; one of schema 2 gets what it lacks.

    A bundle is replaced as a whole when the new one is complete and on the disk. What cannot be upgraded is not
    touched. Runs on one folder take turns, and one that was stopped is put right by the next. The example is a
    demonstration of a validation task; there is none where its tasks cannot be run here, or have no expert.

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
        head = read_json(folder / "bundle.json")
        if head.get("schema") == SCHEMA:
            return _complete(folder)
        if head.get("schema") != 1:
            return Upgrade(folder, problem=f"expected schema 1 or {SCHEMA}, got {head.get('schema')}")
        if head.get("onnx") and (missing := [name for name in ("torch", "onnx") if find_spec(name) is None]):
            return Upgrade(folder, problem=str(not_installed(missing[0], "exporting its graphs again")))
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


def _complete(folder: Path) -> Upgrade:
    """Add the files that a bundle of today's schema lacks."""
    bundle = Bundle.load(folder)
    shown = bundle if bundle.example is not None else bundle.with_example(_record_example(bundle))
    added = tuple(
        name
        for name, made in ((_EXAMPLE, shown.example is not None), (_CARD, True))
        if made and not (folder / name).exists()
    )
    if added:
        shown.save_description(folder)
        _sync(folder)
    return Upgrade(folder, before=bundle.id, added=added)


def _record_example(bundle: Bundle) -> Episode | None:
    """Let the expert demonstrate some validation tasks, and return the most typical demonstration, or None."""
    try:
        from metalearn.tasks.registry import FAMILIES, find_family  # an image that only serves has no tasks
        from metalearn.tasks.rollout import demonstrate, episode_seeds
    except ImportError:
        return None
    experiment = bundle.provenance.get("experiment")
    name = experiment.get("family") if isinstance(experiment, dict) else None
    # A bundle may come from anywhere, so it does not decide which module is imported.
    if not isinstance(experiment, dict) or name not in FAMILIES or bundle.provenance.get("recorded"):
        return None
    data = DataConfig.model_validate(experiment.get("data", {}))
    try:
        family = find_family(name)
        indices = family.splits["validation"][:N_CANDIDATES]
        seeds = episode_seeds(indices, STREAM_EXAMPLE, 0)
        demo = typical(demonstrate(family, indices, seeds, "demo", data.demo_noise).episodes)
    except InvalidConfig:  # its simulator is not installed here, or it has no expert
        return None
    return demo if demo is None or data.demo_actions else demo.without_actions()


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
        return read_json(folder / "bundle.json").get("schema")
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
    bundle = bundle.with_example(_record_example(bundle))
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
