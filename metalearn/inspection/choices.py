"""What a training would use: every field of the configuration, and why.

Knows the configuration. What is decided from data is decided by `metalearn.training.decisions`.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from metalearn.config import Experiment
from metalearn.data.dataset import Dataset


@dataclass(frozen=True)
class Choice:
    """A field of the configuration, as `model.n_frames`; what it will be; and why."""

    field: str
    value: str
    reason: str


def choices(experiment: Experiment, dataset: Dataset) -> tuple[Choice, ...]:
    """What a training of `experiment` on data like `dataset` will choose, field by field.

    Raises:
        InvalidConfig: nothing can be trained on such data.
    """
    try:
        decisions: Any = importlib.import_module("metalearn.training.decisions")
    except ModuleNotFoundError:
        return defaults(experiment)
    _, reasons = decisions.decide(experiment, dataset)
    return tuple(Choice(str(field), str(value), str(reason)) for field, value, reason in reasons)


def defaults(experiment: Experiment) -> tuple[Choice, ...]:
    """Every field of data, model and training with its value, and what it is."""
    return tuple(
        Choice(f"{group}.{name}", str(getattr(config, name)), field.description or "")
        for group in ("data", "model", "training")
        for config in (getattr(experiment, group),)
        if isinstance(config, BaseModel)
        for name, field in type(config).model_fields.items()
    )
