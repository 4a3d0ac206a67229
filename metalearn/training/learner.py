"""One gradient step, and everything that has to be remembered between two of them.

Knows batches and the policy; does not know where episodes come from.
"""

import math
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from metalearn.config import Config, TrainingConfig
from metalearn.data.errors import InvalidConfig
from metalearn.model.losses import mixture_loss
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.batches import MetaBatch


class Compute(Config):
    """What a learner computes on; decides the speed of a run and the rounding of its sums, nothing else."""

    device: str = Field("cpu", description="as torch names it, for example cuda")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of matrix products; weights stay float32")

    @property
    def torch_device(self) -> torch.device:
        """The device, if this machine has it. Raises InvalidConfig."""
        try:
            device = torch.device(self.device)
            torch.zeros(1, device=device)
        except (AssertionError, RuntimeError) as error:
            raise InvalidConfig(f"device: expected one that this machine has, got {self.device!r}") from error
        return device


CPU = Compute()


class Learner:
    """The policy, its optimiser and the number of steps taken."""

    def __init__(self, policy: ConditionalPolicy, config: TrainingConfig, compute: Compute = CPU) -> None:
        self.device = compute.torch_device
        self.policy = policy.to(self.device)
        self._half = compute.precision == "bfloat16"
        self.config = config
        self.steps = 0
        self._optimiser = torch.optim.AdamW(policy.parameters(), config.learning_rate, weight_decay=config.weight_decay)

    def step(self, batch: MetaBatch, temperature: float) -> float:
        """Take one step; returns the loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule()
        self.policy.train()
        batch = batch.to(self.device)
        mask = batch.mask.float()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            code, log_prior = self.policy.believe(batch.demos, batch.trials)
            likelihood = self.policy.log_likelihood(code, batch.observations, batch.actions, mask, batch.effects)
        loss = mixture_loss(likelihood.float(), log_prior.float(), mask.sum(-1), temperature, self.config.prior_weight)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self._optimiser.step()
        self.steps += 1
        return float(loss.detach())

    def _schedule(self) -> float:
        """Linear warm-up over 2% of training, then half a cosine down to a fiftieth."""
        done = self.steps / self.config.total_steps
        return min(1.0, done / 0.02 + 0.01) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def state(self) -> dict[str, Tensor]:
        """Weights and optimiser state as one flat dictionary of tensors."""
        tensors = {f"policy/{name}": value.clone() for name, value in self.policy.state_dict().items()}
        for index, entry in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{name}": value.clone() for name, value in entry.items()}
        return tensors | {"steps": torch.tensor(self.steps)}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `state` gave."""
        prefix = "policy/"
        self.policy.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        entries: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser/"):
                _, index, name = key.split("/")
                entries.setdefault(int(index), {})[name] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": entries})
        self.steps = int(tensors["steps"])
