"""What a training run finds out before its first step and after its last one. Knows no loop."""

import math
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from metalearn import __version__
from metalearn.config import UnitsConfig
from metalearn.data.dataset import Dataset
from metalearn.data.units import Units
from metalearn.model.policy import MEMORY_WEIGHTS
from metalearn.training.collect import Snapshot
from metalearn.training.decisions import Decision

Success = Callable[[Snapshot], Sequence[float]]
"""Success rates of a policy on validation tasks, after 0, 1, ... trials."""


def units_of(dataset: Dataset) -> UnitsConfig:
    """The units of actions and rewards that fit a data set."""
    units = Units.fitted(dataset)
    return UnitsConfig(actions=units.actions, reward=units.reward)


def keep_useful_memory(policy: Snapshot, success: Success, n_tasks: int) -> tuple[Snapshot, Decision]:
    """The policy, without its memory within an episode where validation tasks are solved as well without it.

    Acting is faster without.

    Args:
        policy: with a memory.
        success: measured on `n_tasks` validation tasks.
        n_tasks: how many they are.
    """
    without = {name: value for name, value in policy.weights.items() if not name.startswith(MEMORY_WEIGHTS)}
    short = Snapshot(policy.model.model_copy(update={"memory": 0}), without, policy.version)
    useful, said = _is_better(policy, short, success, n_tasks)
    return policy if useful else short, Decision("model.memory", policy.model.memory if useful else 0, said)


def keep_useful_search(
    policy: Snapshot, searching: Snapshot, success: Success, n_tasks: int
) -> tuple[Snapshot, Decision]:
    """`searching`, which is the policy with a search, where validation tasks are solved more often with it."""
    useful, said = _is_better(searching, policy, success, n_tasks)
    return searching if useful else policy, Decision("model.search", useful, said)


def _is_better(policy: Snapshot, simpler: Snapshot, success: Success, n_tasks: int) -> tuple[bool, str]:
    """Whether a policy solves validation tasks more often than a simpler one, by more than a standard error."""
    rates = [success(policy), success(simpler)]
    with_it, without_it = (sum(each) / len(each) for each in rates)
    error = math.sqrt(max(with_it * (1 - with_it), 0.01) / (n_tasks * len(rates[0])))
    said = f"validation tasks are solved in {with_it:.1%} with it and in {without_it:.1%} without, over all attempts"
    return with_it > without_it + error, said


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
