"""What a training run finds out before its first step and after its last one. Knows no loop."""

import math
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from metalearn import __version__
from metalearn.config import UnitsConfig
from metalearn.data.dataset import Dataset
from metalearn.data.units import Units
from metalearn.model.policy import MEMORY_WEIGHTS
from metalearn.training.collect import Snapshot
from metalearn.training.decisions import Decision

Solved = Callable[[Snapshot], Float[np.ndarray, " n"]]
"""Of each validation task, the share of a policy's attempts that succeed, each after those before it."""
SURELY = 2.0  # standard errors by which what costs something has to be better


def units_of(dataset: Dataset) -> UnitsConfig:
    """The units of actions and rewards that fit a data set."""
    units = Units.fitted(dataset)
    return UnitsConfig(actions=units.actions, reward=units.reward)


def keep_useful_memory(policy: Snapshot, solved: Solved) -> tuple[Snapshot, Decision]:
    """The policy, without its memory within an episode where validation tasks are solved as well without it.

    Acting is faster without.
    """
    without = {name: value for name, value in policy.weights.items() if not name.startswith(MEMORY_WEIGHTS)}
    short = Snapshot(policy.model.model_copy(update={"memory": 0}), without, policy.version)
    useful, said = _is_better(policy, short, solved)
    return policy if useful else short, Decision("model.memory", policy.model.memory if useful else 0, said)


def keep_useful_search(policy: Snapshot, searching: Snapshot | None, solved: Solved) -> tuple[Snapshot, Decision]:
    """`searching`, which is the policy with a search, where validation tasks are solved more often with it."""
    if searching is None:
        return policy, Decision(
            "model.search", 0, "too few further validation tasks were attempted, or all attempts went alike"
        )
    useful, said = _is_better(searching, policy, solved)
    return searching if useful else policy, Decision("model.search", searching.model.search if useful else 0, said)


def _is_better(policy: Snapshot, simpler: Snapshot, solved: Solved) -> tuple[bool, str]:
    """Whether a policy solves validation tasks more often than a simpler one, by more than chance makes of it."""
    with_it, without_it = solved(policy), solved(simpler)
    gained = with_it - without_it
    error = float(gained.std(ddof=1)) / math.sqrt(len(gained)) if len(gained) > 1 else math.inf
    said = (
        f"validation tasks are solved in {with_it.mean():.1%} with it and in {without_it.mean():.1%} without, "
        f"over all attempts (the difference has a standard error of {error:.1%})"
    )
    return bool(gained.mean() > SURELY * error), said


def keep_one_hypothesis(policy: Snapshot) -> tuple[Snapshot, Decision]:
    """The policy with the first of its hypotheses, where all have learnt the same."""
    weights = policy.weights
    last = {f"{part}.2.{kind}" for part in ("prior", "evidence") for kind in ("weight", "bias")} & weights.keys()
    first = {name: weights[name][:1].copy() for name in ("hypotheses.weight", *sorted(last))}
    decision = Decision(
        "model.n_hypotheses", 1, "validation tasks are solved as well before an expert's trial as after"
    )
    model = policy.model.model_copy(update={"n_hypotheses": 1})
    return Snapshot(model, weights | first, policy.version), decision


def made_with() -> dict[str, Any]:
    """When, and with which versions and how many threads."""
    return {
        "threads": torch.get_num_threads(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "watch-try-learn": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
        },
    }


def tensorboard(out: Path) -> Any:
    """A TensorBoard writer for the run; imported here because it is slow to import."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"))
