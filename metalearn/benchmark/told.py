"""Does a policy do better that is told which of the episodes in its context are its own?

After one attempt the same two episodes are given to it in three ways, and it tries again: as they are, as if both had
been shown, and each as the other. A context says which is which by the role of an episode alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.bundle import Bundle
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.protocol import Protocol, adapted, succeeded
from metalearn.evaluation.statistics import paired_bootstrap, wilson
from metalearn.model.inference import Inference
from metalearn.tasks.registry import find_family

SUITES = {"reach": "reach-m2", "reach-m4": "reach-m4", "key-to-door": "key-to-door-strict", "push": "push"}
FEWER = {"push": 100}  # a simulation


def told(models: Path, tasks: int, seed: int) -> dict[str, Any]:
    """Success of the second attempt, told rightly, not told, and told wrongly, of models in a folder."""
    return {
        name: _suite(models / name, manifest, min(tasks, FEWER.get(name, tasks)), seed)
        for name, manifest in SUITES.items()
    }


def _suite(model: Path, manifest: str, tasks: int, seed: int) -> dict[str, Any]:
    frozen = load_manifest(manifest)
    protocol = Protocol.of(find_family(frozen.family), frozen, seed=seed, n_tasks=tasks)
    player = adapted(Inference.load(Bundle.load(model)))
    contexts = protocol.demonstrations()
    first = protocol.attempt(player, contexts, 0)
    ways: dict[str, Sequence[Context]] = {
        "told": [c.with_trial(e) for c, e in zip(contexts, first, strict=True)],
        "not told": [c.with_demos(e) for c, e in zip(contexts, first, strict=True)],
        "told wrongly": [Context((e,), c.demos) for c, e in zip(contexts, first, strict=True)],
    }
    success = {way: succeeded(protocol.attempt(player, given, 1)) for way, given in ways.items()}
    failed = ~succeeded(first)
    found: dict[str, Any] = {"first attempt": _rate(~failed)}
    for way, again in success.items():
        found[way] = _rate(again)
        found[f"{way}, after a failure"] = _rate(again[failed])
    for way in ("not told", "told wrongly"):
        gain, interval = paired_bootstrap(
            success["told"].astype(np.float64), success[way].astype(np.float64), np.random.default_rng([seed, 16])
        )
        found[f"gain over {way}"] = {"gain": gain, "ci95": list(interval), "n": tasks}
    return found


def _rate(success: Array) -> dict[str, Any]:
    k, n = int(success.sum()), len(success)
    return {"success": k / n if n else None, "ci95": list(wilson(k, n)) if n else None, "n": n}
