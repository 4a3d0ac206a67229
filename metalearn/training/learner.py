"""One gradient step, and everything that has to be remembered between two of them.

Knows batches and the policy; does not know where episodes come from.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from metalearn.config import Config, TrainingConfig
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.model.batchnorm import evaluating
from metalearn.model.losses import mixture_loss, responsibilities
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.batches import MetaBatch
from metalearn.training.group import Group, SingleProcess
from metalearn.training.heap import keep_freed_memory


class Compute(Config):
    """The device and precision of a learner: these decide speed and rounding, and nothing else."""

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
FEWEST_TOLD = 0.25  # of contexts that have an expert's trial, for hypotheses to learn from these alone


class _Objective(nn.Module):
    """The loss of a batch as a module, which is what torch can spread over processes."""

    def __init__(self, policy: ConditionalPolicy, config: TrainingConfig) -> None:
        super().__init__()
        self.policy, self._prior_weight = policy, config.prior_weight
        # One hypothesis for all is cheaper a step and learns less by it: phases of given lengths are too short.
        self._one_for_all = config.automatic

    def forward(
        self, batch: MetaBatch, temperature: float, clear: bool, half: bool, foretell: bool = False
    ) -> Float[Tensor, ""]:
        """Averaged over the episodes of `batch`; of those beside an expert's trial alone where hypotheses foretell."""
        if foretell and len(rows := _told(batch).nonzero()[:, 0]):
            return self._foretelling(batch, rows, temperature, half)
        loss = self._imitation(batch, temperature, clear, half)
        if batch.attempts is not None:
            loss = loss + self._memory_loss(batch.attempts, temperature, clear, half) / len(batch.mask)
        return loss

    def _imitation(self, batch: MetaBatch, temperature: float, clear: bool, half: bool) -> Float[Tensor, ""]:
        """How unlikely the policy makes what is to be imitated, averaged over its episodes."""
        parts: list[tuple[slice | Tensor, float]] = [(slice(None), temperature)]
        alike = batch.clear | batch.demos.mask.any(1) if clear else batch.clear
        if temperature > 0 and alike.any():
            apart = ((alike.nonzero()[:, 0], 0.0), ((~alike).nonzero()[:, 0], temperature))
            parts = [(rows, at) for rows, at in apart if len(rows)]
        return self._imitation_of(batch, parts, half)

    def _imitation_of(
        self, batch: MetaBatch, parts: Sequence[tuple[slice | Tensor, float]], half: bool
    ) -> Float[Tensor, ""]:
        """The same of some rows, each part at a temperature of its own."""
        with torch.autocast(batch.mask.device.type, torch.bfloat16, enabled=half):
            latent, log_prior = self.policy.infer_belief(batch.demos, batch.trials, batch.asks)
            likelihoods = [self._likelihood(batch, latent, rows, at) for rows, at in parts]
        losses, n_steps = [], batch.mask.float().sum(-1)
        prior_weight = self._prior_weight * self.policy.steepness
        for (rows, at), likelihood in zip(parts, likelihoods, strict=True):
            exact = torch.promote_types(likelihood.dtype, torch.float32)
            prior, weight = log_prior[rows].to(exact), len(likelihood) / len(latent)
            one = mixture_loss(likelihood.to(exact), prior, n_steps[rows], at, prior_weight)
            losses.append(one if len(parts) == 1 else weight * one)
        return torch.stack(losses).sum()

    def _foretelling(
        self, batch: MetaBatch, rows: Int[Tensor, " r"], temperature: float, half: bool
    ) -> Float[Tensor, ""]:
        """How unlikely hypotheses make what an expert's trial tells, and one for all what is imitated beside it.

        A latent after the trial is a Gaussian around one of the latents that hypotheses make of the same context before
        it, with the deviation of those that are nearest.
        """
        policy, d = self.policy, self.policy.config.latent_dim
        imitated = self._imitation_of(batch, [(rows, 0.0)], half)
        with torch.autocast(batch.mask.device.type, torch.bfloat16, enabled=half):
            with torch.no_grad(), evaluating(policy.encoder.normalise):
                before, after = (
                    policy.infer_belief(batch.demos, one, batch.asks)[0]
                    for one in (batch.trials.left_out, batch.trials)
                )
                after = policy.completed(after[rows]).mean(1, keepdim=True)
            foretold, likely = policy.completed(before[rows]), policy.log_prior(before[rows])
        exact = torch.promote_types(foretold.dtype, torch.float32)
        off = (foretold.to(exact) - after).square().sum(-1)
        variance = (off.detach().amin(-1).mean() / d).clamp(min=torch.finfo(exact).tiny)
        size = variance.new_full((len(rows),), d)
        return imitated + mixture_loss(-0.5 * off / variance, likely.to(exact), size, temperature, self._prior_weight)

    def _likelihood(
        self, batch: MetaBatch, latent: Float[Tensor, "b d"], rows: slice | Tensor, temperature: float
    ) -> Float[Tensor, "r _z"]:
        """Of some rows under all hypotheses, or under the one that learns for all."""
        alone = batch.hypothesis[rows] if temperature == 0 and self._one_for_all else None
        steps = batch.observations[rows], batch.actions[rows], batch.mask[rows].float(), batch.effects[rows]
        return self.policy.log_likelihood(latent[rows], *steps, alone)

    def _memory_loss(self, attempts: MetaBatch, temperature: float, clear: bool, half: bool) -> Float[Tensor, ""]:
        """How little the memory makes of what own attempts tell, summed over them: nothing else learns from these.

        Cross-entropy of what explains an attempt's labels and of the belief at each of its steps. Where demonstrations
        are clear, hypotheses are alike beside one, and there is nothing to tell.
        """
        policy = self.policy
        with torch.autocast(attempts.mask.device.type, torch.bfloat16, enabled=half):
            with torch.no_grad(), evaluating(policy.encoder.normalise):
                latent, log_prior = policy.infer_belief(attempts.demos, attempts.trials, attempts.asks)
                likelihood = self._likelihood(attempts, latent, slice(None), 1.0)
                explained = responsibilities(likelihood, log_prior, temperature)
            steps = attempts.observations, attempts.changes, attempts.done, attempts.remembered
            within = policy.infer_within(latent, log_prior, *steps)
        predicted = (explained[:, None] * within).sum(-1) * attempts.mask
        means = predicted.sum(1) / attempts.mask.sum(1).clamp(min=1)
        if clear:
            means = means * ~attempts.demos.mask.any(1)
        return -self._prior_weight * policy.steepness * means.sum()


class Learner:
    """The policy, its optimiser and the number of steps taken.

    In a group every learner is given the same batch and computes its own share of the rows; the step that all
    of them take is the step that one learner would take, but for rounding; while hypotheses begin to compete each
    averages over the trials in its own share.

    Raises:
        InvalidConfig: a batch of fewer tasks than there are learners.
    """

    def __init__(
        self,
        policy: ConditionalPolicy,
        config: TrainingConfig,
        compute: Compute = CPU,
        group: Group | None = None,
    ) -> None:
        self.device = compute.torch_device
        keep_freed_memory()
        self.policy = policy.to(self.device)
        self._average = None
        if config.average_share:
            averaging = _average_over(config.average_share)
            self._average = AveragedModel(policy, multi_avg_fn=averaging, use_buffers=True).requires_grad_(False)
        self._half = compute.precision == "bfloat16"
        self.config = config
        self.steps = 0
        self._group = group or SingleProcess()
        if config.batch_tasks < self._group.size:
            raise InvalidConfig(f"batch_tasks: expected at least one for each of {self._group.size} learners")
        self._objective: nn.Module = _Objective(policy, config)
        if self._group.processes is not None:
            policy.encoder.normalise.group = self._group.processes
            unused = policy.discrete or policy.memory is not None
            self._objective = _spread(self._objective, self._group.processes, unused=unused)
        trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay)

    @property
    def averaged(self) -> ConditionalPolicy:
        """The policy to act with: of averaged weights, if there are any, else the one that learns."""
        return self.policy if self._average is None else cast("ConditionalPolicy", self._average.module)

    def step(
        self,
        batch: MetaBatch,
        temperature: float,
        rate: float = 1.0,
        *,
        frozen: bool = False,
        clear: bool = False,
        foretell: bool = False,
    ) -> float:
        """Take one step; returns this learner's part of the loss, which is the sum over the group.

        Args:
            batch: of all learners.
            temperature: of the competition of hypotheses.
            rate: the share of the learning rate.
            frozen: whether BatchNorm normalises with running statistics.
            clear: whether demonstrations leave nothing open: hypotheses compete only where there are none.
            foretell: whether hypotheses learn what an expert's trial tells in place of actions. They do if enough
                contexts have one that did not fail, and what it tells is not remembered by its look as well.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate
        self.policy.train()
        if frozen:
            self.policy.encoder.normalise.eval()
        share, whole = batch.share(self._group.rank, self._group.size).to(self.device), len(batch.mask)
        part = len(share.mask) / whole
        foretell = foretell and self.policy.observations.memory_shape is None
        foretell = foretell and float(_told(batch).float().mean()) >= FEWEST_TOLD
        loss = self._objective(share, temperature, clear, self._half, foretell)
        self._optimiser.zero_grad(set_to_none=True)
        # Gradients are averaged over the group: weighted by its rows, a share counts as in the whole.
        (loss * (part * self._group.size)).backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self._optimiser.step()
        if self._average is not None:
            self._average.update_parameters(self.policy)
        self.steps += 1
        return float(loss.detach()) * part

    def go_back_to(self, weights: Mapping[str, Array]) -> None:
        """Go on from earlier weights, as they were averaged if they are."""
        tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
        self.policy.load_state_dict(tensors)
        self.averaged.load_state_dict(tensors)

    def state(self) -> dict[str, Tensor]:
        """Weights and optimiser state as one flat dictionary of tensors."""
        tensors = {f"policy/{name}": value.clone() for name, value in self.policy.state_dict().items()}
        for index, entry in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{name}": value.clone() for name, value in entry.items()}
        if self._average is not None:
            tensors |= {f"average/{name}": value.clone() for name, value in self._average.state_dict().items()}
        return tensors | {"steps": torch.tensor(self.steps)}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `state` gave."""
        self.policy.load_state_dict(_under("policy/", tensors))
        if self._average is not None:
            self._average.load_state_dict(_under("average/", tensors))
        entries: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser/"):
                _, index, name = key.split("/")
                entries.setdefault(int(index), {})[name] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": entries})
        self.steps = int(tensors["steps"])


def _told(batch: MetaBatch) -> Bool[Tensor, " b"]:
    """Which contexts have a trial, and none that failed."""
    return batch.trials.mask.any(1) & (batch.trials.success >= 0).all(1)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _average_over(share: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Moving averages of tensors over about the last `share` of their n updates: decay h / (1 + h), h = share n.

    They forget the beginning at any length of a training, as averages of a fixed half-life do not.
    """

    @torch.no_grad()
    def average(averages: Sequence[Tensor], latest: Sequence[Tensor], n_updates: Tensor | int) -> None:
        horizon = share * float(n_updates)
        for mean, value in zip(averages, latest, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 / (1 + horizon))
            else:
                mean.copy_(value)

    return average


def _spread(objective: nn.Module, processes: dist.ProcessGroup, *, unused: bool) -> nn.Module:
    """Average gradients over the processes; buffers are the same in all of them. `unused`: some have no gradient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the newer name of `broadcast_buffers` is not in torch 2.6
        return DistributedDataParallel(
            objective, process_group=processes, broadcast_buffers=False, find_unused_parameters=unused
        )
