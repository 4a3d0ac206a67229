"""One gradient step, and everything that has to be remembered between two of them.

Knows batches and the policy; does not know where episodes come from.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from metalearn.config import TrainingConfig
from metalearn.model.losses import mixture_loss
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.batches import MetaBatch


class Learner:
    """The policy, its optimiser and the number of steps taken."""

    def __init__(self, policy: ConditionalPolicy, config: TrainingConfig) -> None:
        self.policy = policy
        self.config = config
        self.steps = 0
        self._optimiser = torch.optim.AdamW(policy.parameters(), config.learning_rate, weight_decay=config.weight_decay)

    def step(self, batch: MetaBatch, temperature: float) -> float:
        """Take one step; returns the loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule()
        self.policy.train()
        code, log_prior = self.policy.believe(batch.demos, batch.trials)
        mask = batch.mask.float()
        likelihood = self.policy.log_likelihood(code, batch.observations, batch.actions, mask)
        loss = mixture_loss(likelihood, log_prior, mask.sum(-1), temperature, self.config.prior_weight)
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
