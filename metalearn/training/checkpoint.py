"""Checkpoints: all that a run has to remember, in one safetensors file that is replaced in one move. No pickle."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from metalearn.data.errors import InvalidConfig
from metalearn.training.learner import Learner

GENERATOR = "generator"


@dataclass
class Progress:
    """Where a run is, beside the weights.

    Attributes:
        round: 0 in the warm-up, then the number of the collection whose trials are learnt from.
        ramp_start: the step at which hypotheses began to compete, or None while they do not.
        history: one entry per look at held-out success.
    """

    round: int = 0
    ramp_start: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def save(path: Path, learner: Learner, generator: torch.Generator, progress: Progress) -> None:
    """Write a checkpoint in the place of an earlier one; a crash leaves one of the two whole."""
    tensors = learner.state() | {GENERATOR: generator.get_state()}
    metadata = {"progress": json.dumps(asdict(progress))}
    scratch = path.with_suffix(".tmp")
    save_file({name: value.contiguous() for name, value in tensors.items()}, scratch, metadata=metadata)
    with scratch.open("rb") as handle:
        os.fsync(handle.fileno())
    scratch.replace(path)


def load(path: Path, learner: Learner, generator: torch.Generator) -> Progress:
    """Continue a run from its checkpoint.

    Raises:
        InvalidConfig: the checkpoint is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        generator.set_state(tensors.pop(GENERATOR))
        learner.load_state(tensors)
        return Progress(**json.loads(metadata["progress"]))
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InvalidConfig(f"{path} is not a checkpoint: {error}") from error
