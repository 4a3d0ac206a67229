"""A trained policy behind numpy: beliefs of contexts, actions, and the verb `adapt`. No gradients."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from metalearn.adapter import ActionHeads, Belief, sample_actions
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.asks import features_of
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.data.frames import gather
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.model.encoder import EpisodeTensors
from metalearn.model.policy import ConditionalPolicy
from metalearn.recognition.deviation import watched_deviation


class Inference:
    """Numpy in, numpy out."""

    def __init__(self, policy: ConditionalPolicy, spec: Spec) -> None:
        self.policy = policy.eval()
        self.spec, self.units = spec, Units(spec, **dict(policy.config.units))

    @classmethod
    def load(cls, bundle: Bundle) -> "Inference":
        """The policy of a bundle."""
        config = ModelConfig.model_validate(bundle.model)
        return cls(ConditionalPolicy.from_weights(config, bundle.spec, bundle.weights), bundle.spec)

    def infer_belief(self, contexts: Sequence[Context]) -> list[Belief]:
        """What the policy makes of each context.

        Raises:
            InvalidData: an ask that the model was not trained for.
        """
        for context in contexts:
            context.ask.check(self.policy.config.ask_offers)
        self.policy.eval()
        with torch.inference_mode():
            demos, trials, asks = self._known(contexts)
            if self.policy.search is None:
                latents, log_prior = self.policy.infer_belief(demos, trials, asks)
                known: tuple[Tensor, ...] = latents, log_prior.exp()
            else:
                known = self.policy.plan(demos, trials, asks)
        return [Belief(*of_one) for of_one in zip(*(part.numpy() for part in known), strict=True)]

    def conditioning(
        self, latents: Float32[np.ndarray, "b d"], hypotheses: Int64[np.ndarray, " b"]
    ) -> Float32[np.ndarray, "b c"]:
        """All that acting takes of each latent under its hypothesis: once for an episode."""
        with torch.inference_mode():
            found: Array = self.policy.conditioning(torch.from_numpy(latents), torch.from_numpy(hypotheses)).numpy()
            return found

    def act(
        self, conditioning: Float32[np.ndarray, "b c"], observations: Shaped[np.ndarray, "b *o"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each task, within the action space."""
        with torch.inference_mode():
            return self.units.decode_actions(
                self.policy.act(torch.from_numpy(conditioning), self._flat(observations)).numpy()
            )

    def sample(
        self,
        conditioning: Float32[np.ndarray, "b c"],
        deviation: Float32[np.ndarray, "b a"],
        observations: Shaped[np.ndarray, "b *o"],
        rng: np.random.Generator,
    ) -> Shaped[np.ndarray, "b *a"]:
        """An action of each task, drawn around its mean, or from its choices, rather than the most probable one."""
        with torch.inference_mode():
            out = self.policy.outputs(torch.from_numpy(conditioning), self._flat(observations)).numpy()
        return sample_actions(out, deviation, self.units, rng)

    def heads(
        self,
        latents: Float32[np.ndarray, "m d"],
        hypotheses: Int64[np.ndarray, " m"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> ActionHeads:
        """What m policies would do at each of t steps of an episode with these t actions and n = t + 1 observations."""
        seen = self._flat(observations[:-1])
        added = np.zeros((len(actions), 0), np.float32)
        if self.adapts_online:
            added = self._remember(observations[:-1], actions, observations[1:])
        before = torch.from_numpy((added.cumsum(0) - added).astype(np.float32))
        with torch.inference_mode():
            out, log_sigma = self.policy.heads(torch.from_numpy(latents), torch.from_numpy(hypotheses), seen, before)
        return ActionHeads(out.numpy(), log_sigma.numpy())

    @property
    def adapts_online(self) -> bool:
        """Whether what a running episode tells is used before it ends."""
        return self.policy.n_sums > 0

    def update_step(
        self,
        conditioning: Float32[np.ndarray, "b c"],
        observations: Shaped[np.ndarray, "b *o"],
        actions: Shaped[np.ndarray, "b *a"],
        next_observations: Shaped[np.ndarray, "b *o"],
    ) -> Float32[np.ndarray, "b c"]:
        """The conditioning of b tasks after one step of each."""
        if not self.adapts_online:
            return conditioning
        conditioning = conditioning.copy()
        conditioning[:, -self.policy.n_sums :] += self._remember(observations, actions, next_observations)
        return conditioning

    def update(
        self,
        conditioning: Float32[np.ndarray, " c"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> Float32[np.ndarray, " c"]:
        """The conditioning of one task after t actions and the n = t + 1 observations around them."""
        if len(actions) == 0 or not self.adapts_online:
            return conditioning
        conditioning = conditioning.copy()
        conditioning[-self.policy.n_sums :] += self._remember(observations[:-1], actions, observations[1:]).sum(0)
        return conditioning

    def _remember(
        self,
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "n *a"],
        next_observations: Shaped[np.ndarray, "n *o"],
    ) -> Float32[np.ndarray, "n s"]:
        before, after = self._flat(observations), self._flat(next_observations)
        done = torch.from_numpy(self.units.encode_actions(actions))
        with torch.inference_mode():
            added: Array = self.policy.remember(before, after - before, done).numpy()
        return added

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> "HypothesisActor":
        """Sample one hypothesis per task where no trial was scored yet, else take the most probable one."""
        beliefs, hypotheses = self._chosen(contexts, rng)
        return HypothesisActor(self, np.stack([belief.latent for belief in beliefs]), hypotheses)

    def act_under(self, beliefs: Sequence[Belief], hypothesis: int) -> "HypothesisActor":
        """Act under the same hypothesis in every task, whatever is believed."""
        latents = np.stack([belief.latent for belief in beliefs])
        return HypothesisActor(self, latents, np.full(len(beliefs), hypothesis, np.int64))

    def adapt_sampling(self, contexts: Sequence[Context], rng: np.random.Generator) -> "SamplingActor":
        """The same, acting as whoever was watched does: each action is drawn, with the deviation that was seen."""
        beliefs, hypotheses = self._chosen(contexts, rng)
        deviations = [
            watched_deviation(context, belief, int(z), self.heads, self.units)
            for context, belief, z in zip(contexts, beliefs, hypotheses, strict=True)
        ]
        latents = np.stack([belief.latent for belief in beliefs])
        return SamplingActor(self, latents, hypotheses, np.stack(deviations), rng)

    def _chosen(self, contexts: Sequence[Context], rng: np.random.Generator) -> tuple[list[Belief], Array]:
        """The belief of each context, and the hypothesis that its next episode is under."""
        beliefs = self.infer_belief(contexts)
        hypotheses = [
            belief.map_hypothesis if context.scored else belief.sample(rng)
            for belief, context in zip(beliefs, contexts, strict=True)
        ]
        return beliefs, np.array(hypotheses, np.int64)

    def _known(self, contexts: Sequence[Context]) -> tuple[EpisodeTensors, EpisodeTensors, Tensor]:
        """The demos, the trials and the asks of each context."""
        demos, trials = (self._tensors([getattr(one, role) for one in contexts]) for role in ("demos", "trials"))
        offers = self.policy.config.ask_offers
        return demos, trials, torch.from_numpy(features_of([context.ask for context in contexts], offers))

    def _flat(self, observations: Shaped[np.ndarray, "b *o"]) -> Tensor:
        return torch.from_numpy(observation_vectors(observations))

    def _tensors(self, episodes: Sequence[Sequence[Episode]]) -> EpisodeTensors:
        config, effects = self.policy.config, self.policy.dynamics is not None
        arrays = gather(episodes, config.n_frames, self.units, effects=effects, means=config.frame_means)
        return EpisodeTensors(**{name: torch.from_numpy(values) for name, values in arrays.items()})


class HypothesisActor:
    """Acts in b tasks, each under one hypothesis that it keeps for the episode."""

    def __init__(
        self, inference: Inference, latents: Float32[np.ndarray, "b d"], hypotheses: Int64[np.ndarray, " b"]
    ) -> None:
        self.hypotheses = hypotheses
        self._inference, self._conditioning = inference, inference.conditioning(latents, hypotheses)
        self._last: tuple[Array, Array] | None = None

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The action of each task, which remembers what its actions did so far."""
        if self._last:
            self._conditioning = self._inference.update_step(self._conditioning, *self._last, observations)
        actions = self._act(observations)
        self._last = observations, actions
        return actions

    def _act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        return self._inference.act(self._conditioning, observations)


class SamplingActor(HypothesisActor):
    """Draws each action, where a `HypothesisActor` takes the most probable one."""

    def __init__(
        self,
        inference: Inference,
        latents: Float32[np.ndarray, "b d"],
        hypotheses: Int64[np.ndarray, " b"],
        deviations: Float32[np.ndarray, "b a"],
        rng: np.random.Generator,
    ) -> None:
        super().__init__(inference, latents, hypotheses)
        self._deviations, self._rng = deviations, rng

    def _act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        return self._inference.sample(self._conditioning, self._deviations, observations, self._rng)
