"""Checkpoints: the whole state of a run in one safetensors file, replaced atomically. No pickle."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from metalearn.config import ModelConfig
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.training.collect import Snapshot
from metalearn.training.learner import Learner

GENERATOR = "generator"
COLLECTING, BEST = "collecting/", "best/"


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
        best: the best look at held-out tasks and the last one (`metalearn.training.best_look`), or None.
    """

    schedule: dict[str, Any] = field(default_factory=dict)
    elapsed_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    collections: list[dict[str, Any]] = field(default_factory=list)
    collecting: int | None = None
    units: dict[str, Any] = field(default_factory=dict)
    asks: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None


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

    @property
    def best(self) -> dict[str, Array]:
        """The weights of the best look."""
        return _taken(BEST, dict(self.tensors))

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
            weights = _taken(COLLECTING, tensors)
            _taken(BEST, tensors)
            learner.load_state(tensors)
        except (KeyError, RuntimeError) as error:  # the latter is a sentence for each array, below a headline
            differs = str(error).splitlines()[-1].strip()
            raise InvalidConfig(
                f"{self.path} is not a checkpoint of this run and version; train it anew, with another --out: {differs}"
            ) from error
        version = self.progress.collecting
        return self.progress, None if version is None else Snapshot(model, weights, version)


def _taken(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Array]:
    """Take the tensors of a prefix out of a dictionary."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name).numpy() for name in names}


def save(
    path: Path,
    learner: Learner,
    generator: torch.Generator,
    progress: Progress,
    collecting: Snapshot | None = None,
    best: Mapping[str, Array] | None = None,
) -> None:
    """Replace the checkpoint at `path` atomically: a crash leaves the old one or the new one.

    `best` are the weights of the best look.
    """
    tensors = learner.state() | {GENERATOR: generator.get_state()}
    if collecting is not None:
        tensors |= {COLLECTING + name: torch.from_numpy(value) for name, value in collecting.weights.items()}
    tensors |= {BEST + name: torch.from_numpy(value) for name, value in (best or {}).items()}
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
