"""Checkpoints: the whole state of a run in one safetensors file, replaced atomically. No pickle."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from metalearn.config import ModelConfig
from metalearn.data.errors import InvalidConfig
from metalearn.training.collect import Snapshot
from metalearn.training.learner import Learner

GENERATOR = "generator"
COLLECTING = "collecting/"


@dataclass
class Progress:
    """The state of a run besides its tensors.

    Attributes:
        schedule: the state of the schedule (`metalearn.training.schedule`).
        elapsed_s: seconds that the run took before this process.
        history: one entry per look at held-out success.
        collections: one entry per round of own trials (`episode_source.summary`).
        collecting: version of the policy whose trials are being collected, or None.
        units: of the policy (`UnitsConfig` as JSON), which later data of the same run must not change.
        asks: what the policy is trained for (`AskOffer` as JSON), which stays too.
    """

    schedule: dict[str, Any] = field(default_factory=dict)
    elapsed_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    collections: list[dict[str, Any]] = field(default_factory=list)
    collecting: int | None = None
    units: dict[str, Any] = field(default_factory=dict)
    asks: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was read from a file."""

    path: Path
    tensors: dict[str, Tensor]
    progress: Progress

    @property
    def steps(self) -> int:
        """The number of gradient steps before it."""
        return int(self.tensors["steps"])

    def restore(
        self, learner: Learner, generator: torch.Generator, model: ModelConfig
    ) -> tuple[Progress, Snapshot | None]:
        """Load the state into the learner and the generator.

        Raises:
            InvalidConfig: the checkpoint is of another policy.
        """
        tensors = dict(self.tensors)
        try:
            generator.set_state(tensors.pop(GENERATOR))
            names = [name for name in tensors if name.startswith(COLLECTING)]
            weights = {name.removeprefix(COLLECTING): tensors.pop(name).numpy() for name in names}
            learner.load_state(tensors)
        except (KeyError, RuntimeError) as error:
            raise InvalidConfig(f"{self.path} is not a checkpoint of this run: {error}") from error
        version = self.progress.collecting
        return self.progress, None if version is None else Snapshot(model, weights, version)


def save(
    path: Path, learner: Learner, generator: torch.Generator, progress: Progress, collecting: Snapshot | None = None
) -> None:
    """Replace the checkpoint at `path` atomically: a crash leaves the old one or the new one."""
    tensors = learner.state() | {GENERATOR: generator.get_state()}
    if collecting is not None:
        tensors |= {COLLECTING + name: torch.from_numpy(value) for name, value in collecting.weights.items()}
    metadata = {"progress": json.dumps(asdict(progress) | {"collecting": collecting and collecting.version})}
    scratch = path.with_suffix(".tmp")
    save_file({name: value.contiguous() for name, value in tensors.items()}, scratch, metadata=metadata)
    with scratch.open("rb") as handle:
        os.fsync(handle.fileno())
    scratch.replace(path)


def read(path: Path) -> Checkpoint:
    """Read a checkpoint that `save` wrote.

    Raises:
        InvalidConfig: the checkpoint is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        progress = Progress(**json.loads(metadata["progress"]))
        stored = Checkpoint(path, tensors, progress)
        assert stored.steps >= 0
    except (SafetensorError, KeyError, TypeError, AssertionError, json.JSONDecodeError) as error:
        raise InvalidConfig(f"{path} is not a checkpoint: {error}") from error
    return stored
