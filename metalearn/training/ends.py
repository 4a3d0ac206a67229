"""What a training run finds out before its first step and after its last one. Knows no loop."""

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from metalearn import __version__
from metalearn.config import ModelConfig, UnitsConfig
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array
from metalearn.data.units import Units
from metalearn.model.policy import MEMORY_WEIGHTS
from metalearn.training.decisions import Decision

Success = Callable[[ModelConfig, Mapping[str, Array]], Sequence[float]]
"""Success rates of a policy on validation tasks, after 0, 1, ... trials."""


def units_of(dataset: Dataset) -> UnitsConfig:
    """The units of actions and rewards that fit a data set."""
    units = Units.fitted(dataset)
    return UnitsConfig(actions=units.actions, reward=units.reward)


def keep_useful_memory(
    model: ModelConfig, weights: dict[str, Array], success: Success, n_tasks: int
) -> tuple[ModelConfig, dict[str, Array], Decision]:
    """The policy, without its memory within an episode where validation tasks are solved as well without it.

    Acting is faster without.

    Args:
        model: with a memory.
        weights: of the policy.
        success: measured on `n_tasks` validation tasks.
        n_tasks: how many they are.
    """
    short = model.model_copy(update={"memory": 0})
    without = {name: value for name, value in weights.items() if not name.startswith(MEMORY_WEIGHTS)}
    rates = [success(model, weights), success(short, without)]
    with_it, without_it = (sum(each) / len(each) for each in rates)
    error = math.sqrt(max(with_it * (1 - with_it), 0.01) / (n_tasks * len(rates[0])))
    useful = with_it > without_it + error
    reason = f"validation tasks are solved in {with_it:.1%} with it and in {without_it:.1%} without, over all attempts"
    decision = Decision("model.memory", model.memory if useful else 0, reason)
    return (model, weights, decision) if useful else (short, without, decision)


def keep_one_hypothesis(
    model: ModelConfig, weights: dict[str, Array]
) -> tuple[ModelConfig, dict[str, Array], Decision]:
    """The policy with the first of its hypotheses, where all have learnt the same."""
    last = {f"{part}.2.{kind}" for part in ("prior", "evidence") for kind in ("weight", "bias")} & weights.keys()
    first = {name: weights[name][:1].copy() for name in ("hypotheses.weight", *sorted(last))}
    decision = Decision(
        "model.n_hypotheses", 1, "validation tasks are solved as well before an expert's trial as after"
    )
    return model.model_copy(update={"n_hypotheses": 1}), weights | first, decision


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
