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
PROBABLY = 1.0  # by which weights of an earlier look have to be, with a rate that had not fallen


def units_of(dataset: Dataset) -> UnitsConfig:
    """The units of actions and rewards that fit a data set."""
    units = Units.fitted(dataset)
    return UnitsConfig(actions=units.actions, reward=units.reward)


def without_memory(policy: Snapshot) -> Snapshot:
    """The policy without its memory within an episode, if it has one."""
    weights = {name: value for name, value in policy.weights.items() if not name.startswith(MEMORY_WEIGHTS)}
    return Snapshot(policy.model.model_copy(update={"memory": 0}), weights, policy.version)


def keep_useful(
    policy: Snapshot, searching: Snapshot | None, remembering: Snapshot | None, solved: Solved
) -> tuple[Snapshot, list[Decision]]:
    """The same policy with a search, or with a memory within an episode, each where validation tasks need it.

    A search costs nothing when acting, and a memory does: it has to be better than what is kept without one. A policy
    with a memory does not search.

    Args:
        policy: with neither.
        searching: with a search; None: there is none.
        remembering: with a memory; None: there is none.
        solved: how often each solves validation tasks.
    """
    kept, reasons = policy, {}
    for name, richer in (("search", searching), ("memory", remembering)):
        if richer is not None:
            useful, reasons[name] = _is_better(richer, kept, solved)
            kept = richer if useful else kept
    return kept, [Decision(f"model.{name}", getattr(kept.model, name), said) for name, said in reasons.items()]


def is_still_better(earlier: Snapshot, last: Snapshot, solved: Solved) -> bool:
    """Whether earlier weights solve validation tasks more often than the last ones in attempts of neither's choosing.

    The best of many looks is the best by its luck as well: where half of the first attempts succeed whatever was
    learnt, mostly by that.
    """
    gained, error = _difference(solved(earlier), solved(last))
    return gained > PROBABLY * error


def _is_better(policy: Snapshot, simpler: Snapshot, solved: Solved) -> tuple[bool, str]:
    """Whether a policy solves validation tasks more often than a simpler one, by more than chance makes of it."""
    with_it, without_it = solved(policy), solved(simpler)
    gained, error = _difference(with_it, without_it)
    said = (
        f"validation tasks are solved in {with_it.mean():.1%} with it and in {without_it.mean():.1%} without, "
        f"over all attempts (the difference has a standard error of {error:.1%})"
    )
    return gained > SURELY * error, said


def _difference(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Mean difference over the same tasks, and its standard error."""
    gained = one - other
    error = float(gained.std(ddof=1)) / math.sqrt(len(gained)) if len(gained) > 1 else math.inf
    return float(gained.mean()), error


def keep_one_hypothesis(policy: Snapshot) -> tuple[Snapshot, list[Decision]]:
    """The policy with the first of its hypotheses, where all have learnt the same, of which nothing can be told."""
    made = []
    if policy.model.memory:
        policy = without_memory(policy)
        made.append(Decision("model.memory", 0, "there is one hypothesis, and what an attempt tells is which it is"))
    weights = policy.weights
    first = {name: weights[name][:1].copy() for name in ("hypotheses.weight", "prior.2.weight", "prior.2.bias")}
    why = "validation tasks are solved as well before an expert's trial as after"
    model = policy.model.model_copy(update={"n_hypotheses": 1})
    return Snapshot(model, weights | first, policy.version), [Decision("model.n_hypotheses", 1, why), *made]


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
