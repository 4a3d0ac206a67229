"""One of two learners, each in a process of its own, which imports these functions by name.

It could not import a test module.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_run import SMALL, after

from metalearn.config import DataConfig, ModelConfig, TrainingConfig
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.training.batches import TrainingSet
from metalearn.training.collect import DemonstrationChunk, TaskTrials, demonstrate_chunk
from metalearn.training.events import Stopped
from metalearn.training.group import ProcessGroup, SingleProcess
from metalearn.training.learner import CPU, Learner
from metalearn.training.loop import train

CONFIG = TrainingConfig(batch_tasks=15, learning_rate=1e-3)
MODEL = ModelConfig(encoder_width=32, policy_width=32, latent_dim=16, n_hypotheses=3, memory=4)


def training_set() -> TrainingSet:
    chunk = DemonstrationChunk("reach-m2", tuple(range(24)), DataConfig(), 0)
    records = demonstrate_chunk(chunk)
    data = TrainingSet(Dataset(find_family("reach-m2").spec, tuple(records)), MODEL, own_trials=True)
    # Whoever made them: what teaches the memory is that they are relabelled.
    data.replace_trials([TaskTrials(record.experts, record.labels) for record in records])
    return data


def policy_for(data: TrainingSet) -> ConditionalPolicy:
    torch.manual_seed(0)
    policy = ConditionalPolicy(MODEL, find_family("reach-m2").spec)
    policy.observations.fit(*data.observations())
    assert policy.memory is not None
    policy.memory.fit(data.changes())
    return policy


def gradients(group: SingleProcess | ProcessGroup, together: bool = True) -> dict[str, np.ndarray]:
    """Of the second step, when weights already depend on the first; and the loss, and the running statistics.

    In double precision: Adam's first step makes a whole step of a gradient that is nothing but rounding.
    """
    data = training_set()
    policy = policy_for(data).double()
    learner, generator = Learner(policy, CONFIG, CPU, group), torch.Generator().manual_seed(0)
    if not together:
        policy.encoder.normalise.group = None
    for tried in (False, True):
        (loss,) = group.total(learner.step(in_double(data.draw(CONFIG, tried, generator)), 0.5))
    found = {name: p.grad.numpy() for name, p in policy.named_parameters() if p.grad is not None}
    found |= {name: buffer.numpy() for name, buffer in policy.named_buffers()}
    return found | {"loss": np.array(loss, np.float32)}


def exactly(group: SingleProcess | ProcessGroup, n: int = 20) -> dict[str, np.ndarray]:
    """Weights after `n` steps in double precision, and every loss."""
    data = training_set()
    policy = policy_for(data).double()
    learner, generator = Learner(policy, CONFIG, CPU, group), torch.Generator().manual_seed(0)
    batches = [in_double(data.draw(CONFIG, i > n // 2, generator)) for i in range(n)]
    losses = [group.total(learner.step(batch, i / n))[0] for i, batch in enumerate(batches)]
    return {name: value.numpy() for name, value in policy.state_dict().items()} | {"losses": np.array(losses)}


def in_double(value: Any) -> Any:
    """A batch with double precision wherever it has single."""
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    return type(value)(**{field.name: in_double(getattr(value, field.name)) for field in fields(value)})


def trained(out: Path, stop_after: int | None) -> str:
    if stop_after:
        with pytest.raises(Stopped):
            train(SMALL, out, group=ProcessGroup(), stopping=after(stop_after))
    return train(SMALL, out, group=ProcessGroup()).id


def refused() -> str:
    def work() -> None:
        raise InvalidConfig("of learner 0 alone")

    with pytest.raises(InvalidConfig) as caught:
        ProcessGroup().run_on_rank_zero(work)
    return str(caught.value)


def in_one_of_two(rank: int, folder: Path) -> dict[str, Any]:
    return {
        "together": gradients(ProcessGroup()),
        "apart": gradients(ProcessGroup(), together=False),
        "exactly": exactly(ProcessGroup()),
        "straight": trained(folder / "straight", None),
        "stopped": trained(folder / "stopped", 21),
        "refused": refused(),
    }
