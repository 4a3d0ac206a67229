"""Contexts to latents: frames to an episode embedding, episodes to one latent, in any order and number.

Runs once per adaptation. Knows frames as tensors; does not know episodes, hypotheses or actions to come.
"""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from metalearn.config import ModelConfig
from metalearn.data.frames import Frames
from metalearn.model.batchnorm import GlobalBatchNorm
from metalearn.model.observations import ObservationEncoder

ABOUT = 3
"""Kinds of episode whose keys a latent has: demos, trials that succeeded and trials that failed."""


@dataclass(frozen=True, eq=False)
class EpisodeTensors:
    """`Frames` of k episodes of each of b tasks, with the mask that says which of them are there."""

    observations: Float[Tensor, "b k f o"]
    changes: Float[Tensor, "b k f m"]
    actions: Float[Tensor, "b k f a"]
    rewards: Float[Tensor, "b k f"]
    times: Float[Tensor, "b k f"]
    success: Float[Tensor, "b k"]
    has_actions: Float[Tensor, "b k"]
    has_rewards: Float[Tensor, "b k"]
    effects: Float[Tensor, "b k s"]
    mean_observations: Float[Tensor, "b k f _m"]
    mean_rewards: Float[Tensor, "b k f"]
    mask: Bool[Tensor, "b k"]

    @classmethod
    def gather(cls, frames: Frames, index: Int[Tensor, "b k"]) -> "EpisodeTensors":
        """Pick episodes from a pool of frames; -1 stands for no episode, of which everything is 0."""
        there = index >= 0
        picked = frames.pick(index[there].numpy()).arrays()
        tensors = {name: _put(torch.from_numpy(values).float(), there) for name, values in picked.items()}
        return cls(**tensors, mask=there)

    @property
    def summed_effects(self) -> Float[Tensor, "b s"]:
        """Of all episodes that are there."""
        return (self.effects * self.mask[..., None]).sum(1)

    @property
    def left_out(self) -> "EpisodeTensors":
        """The same with no episode there."""
        return replace(self, mask=torch.zeros_like(self.mask))

    def __getitem__(self, rows: slice) -> "EpisodeTensors":
        """The episodes of some of the tasks."""
        return EpisodeTensors(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def to(self, device: torch.device) -> "EpisodeTensors":
        """The same on another device."""
        return EpisodeTensors(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def drop_modalities(
        self, generator: torch.Generator, *, actions: float, rewards: float, success: float
    ) -> "EpisodeTensors":
        """The same episodes with each modality left out at random, with the given probabilities.

        Trains one set of weights for episodes with and without actions, rewards, success flags. Rewards and
        success are never both dropped, so that a trial stays a scored one.
        """

        def keep(probability: float) -> Tensor:
            return (torch.rand(self.mask.shape, generator=generator) >= probability).float()

        keep_actions, keep_rewards = keep(actions), keep(rewards)
        keep_success = torch.maximum(keep(success), 1 - keep_rewards)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["actions"] = self.actions * keep_actions[..., None, None]
        values["has_actions"] = self.has_actions * keep_actions
        values["effects"] = self.effects * keep_actions[..., None]
        values["rewards"] = self.rewards * keep_rewards[..., None]
        values["mean_rewards"] = self.mean_rewards * keep_rewards[..., None]
        values["has_rewards"] = self.has_rewards * keep_rewards
        values["success"] = self.success * keep_success
        return EpisodeTensors(**values)


class ContextEncoder(nn.Module):
    """latent = BatchNorm(mean of demos + sum of trials), where a trial is read in the light of the demos.

    What a failed trial adds is learnt apart from what others add, and is nothing until one has been seen: who has
    learnt from successes alone cannot know what a failure tells, and must not forget what a success does to find out.

    Batch normalisation without affine parameters spreads the latents of a batch: at the start contexts hardly
    differ between tasks, and without it learning waits on a plateau. Where observations list entities, the
    keys of those that the demos, the trials that succeeded and those that failed were about are appended to the latent.
    """

    def __init__(self, config: ModelConfig, observations: ObservationEncoder, action_size: int) -> None:
        super().__init__()
        self.observations = observations
        width, d, self.means = config.encoder_width, config.latent_dim, config.frame_means
        frame_size = observations.frame_size + action_size + 2
        frame_size += observations.mean_size + 1 if self.means else 0
        size = config.n_frames * frame_size + 4
        n_heads, key_size = observations.memory_shape or (0, 0)
        n_keys, n_matches = n_heads * key_size, n_heads**2
        self.demo = _mlp(size + n_keys, width, d)
        self.trial = _mlp(size + n_keys + n_matches + d + 1, width, 2 * d)
        self.counts = nn.Linear(3, d)  # any demo; any trial that did not fail; trials, but none of these
        with torch.no_grad():  # the last half, and the last column, are of failures
            for parameter in self.trial[-1].parameters():
                parameter[d:] = 0
            self.counts.weight[:, -1] = 0
        self.max_trials = config.max_trials
        self.normalise = GlobalBatchNorm(d, affine=False, momentum=0.02)

    def forward(self, demos: EpisodeTensors, trials: EpisodeTensors) -> Float[Tensor, "b d"]:
        """Invariant to the order of demos and of trials; either may be empty."""
        shown, tried = demos.mask.float()[..., None], trials.mask.float()[..., None]
        failed = trials.success < 0
        any_demo, any_trial, any_other = (
            there.any(1, keepdim=True).to(demos.times.dtype)
            for there in (demos.mask, trials.mask, trials.mask & ~failed)
        )
        n_demos = shown.sum(1).clamp(min=1)
        seen, keys = self._flatten(demos, "demo")
        demo = (self.demo(seen) * shown).sum(1) / n_demos
        about = [] if keys is None else [(keys * shown[..., None]).sum(1) / n_demos[..., None]]
        latent = demo + self.counts(torch.cat([any_demo, any_other, any_trial - any_other], -1))
        seen, keys = self._flatten(trials, "trial")
        light = torch.cat([demo, any_demo], -1)[:, None].expand(-1, trials.mask.shape[1], -1)
        matches = [] if keys is None else [torch.einsum("bkhc,bgc->bkhg", keys, about[0]).flatten(2)]
        # A longer sum than any in training would be a latent like no other: average it down to the longest.
        tried = tried * (self.max_trials / tried.sum(1, keepdim=True).clamp(min=self.max_trials))
        if keys is not None:
            outcomes = (1 + trials.success) / 2, (1 - trials.success) / 2  # a trial of unknown success is half of each
            about += [(keys * (tried * outcome[..., None])[..., None]).sum(1) for outcome in outcomes]
        read = self.trial(torch.cat([seen, *matches, light], -1))
        d = self.normalise.num_features
        told = torch.where(failed[..., None], read[..., d:], read[..., :d])
        latent = latent + (told * tried).sum(1)
        return torch.cat([self.normalise(latent), *(a.flatten(1) for a in about)], -1)

    def _flatten(
        self, episodes: EpisodeTensors, kind: str
    ) -> tuple[Float[Tensor, "b k p"], Float[Tensor, "b k h c"] | None]:
        """All that is known of each episode in one vector, and the keys of the entities that it was about."""
        seen, keys = self._read(episodes, kind)
        frames = torch.cat([seen, episodes.actions, episodes.rewards[..., None], episodes.times[..., None]], -1)
        flags = [episodes.success, episodes.rewards.sum(-1), episodes.has_actions, episodes.has_rewards]
        remembered = [] if keys is None else [keys.flatten(2)]
        if self.means:
            observed = self.observations.read_means(episodes.mean_observations)
            remembered += [observed.flatten(2), episodes.mean_rewards]
        return torch.cat([frames.flatten(2), *remembered, torch.stack(flags, -1)], -1), keys

    def _read(
        self, episodes: EpisodeTensors, kind: str
    ) -> tuple[Float[Tensor, "b k f _p"], Float[Tensor, "b k h c"] | None]:
        """What is seen of the frames; in training, where most contexts are short, of those that are there alone."""
        observations, changes, there = episodes.observations, episodes.changes, episodes.mask
        if not self.training or there.all() or not there.any():
            return self.observations.read(observations, changes, kind)
        seen, keys = self.observations.read(observations[there][:, None], changes[there][:, None], kind)
        return _put(seen[:, 0], there), None if keys is None else _put(keys[:, 0], there)


def _put(values: Float[Tensor, "n *v"], there: Bool[Tensor, "b k"]) -> Float[Tensor, "b k *v"]:
    """The n values at the places that are there, and zeros at the others."""
    if len(values) == there.numel():
        return values.unflatten(0, there.shape)
    return values.new_zeros(*there.shape, *values.shape[1:]).index_put((there,), values)


def _mlp(size: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))
