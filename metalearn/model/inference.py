"""A trained policy behind numpy: beliefs of contexts, actions, and the verb `adapt`. No gradients."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.data.frames import after_steps, effects_of, gather
from metalearn.data.spec import Spec
from metalearn.model.encoder import EpisodeTensors
from metalearn.model.policy import ConditionalPolicy


class Inference:
    """Numpy in, numpy out."""

    def __init__(self, policy: ConditionalPolicy, spec: Spec) -> None:
        self.policy = policy.eval()
        self.spec = spec

    @classmethod
    def load(cls, bundle: Bundle) -> "Inference":
        """The policy of a bundle."""
        config = ModelConfig.model_validate(bundle.model)
        return cls(ConditionalPolicy.from_weights(config, bundle.spec, bundle.weights), bundle.spec)

    def believe(self, contexts: Sequence[Context]) -> list[Belief]:
        """What the policy makes of each context.

        Raises:
            InvalidData: an ask that the model was not trained for.
        """
        for context in contexts:
            context.ask.check(self.policy.config.asks)
        self.policy.eval()
        with torch.inference_mode():
            demos = self._tensors([context.demos for context in contexts])
            trials = self._tensors([context.trials for context in contexts])
            codes, log_prior = self.policy.believe(demos, trials)
            probabilities = log_prior.exp().numpy()
        return [Belief(code, p) for code, p in zip(codes.numpy(), probabilities, strict=True)]

    def act(
        self,
        codes: Float32[np.ndarray, "b d"],
        hypotheses: Int64[np.ndarray, " b"],
        observations: Shaped[np.ndarray, "b *o"],
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each row under its hypothesis, within the action space."""
        return self.act_by_rows(self.rows(codes, hypotheses), observations)

    def rows(
        self, codes: Float32[np.ndarray, "b d"], hypotheses: Int64[np.ndarray, " b"]
    ) -> Float32[np.ndarray, "b s"]:
        """All that acting takes of each code under its hypothesis, for `act_by_rows`: once for an episode."""
        with torch.inference_mode():
            code = torch.from_numpy(codes)
            stances: Array = self.policy.to_rows(self.policy.stance(code, torch.from_numpy(hypotheses)), code).numpy()
            return stances

    def act_by_rows(
        self, rows: Float32[np.ndarray, "b s"], observations: Shaped[np.ndarray, "b *o"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each row, within the action space."""
        with torch.inference_mode():
            return self._within(self.policy.act_by_rows(torch.from_numpy(rows), self._flat(observations)))

    @property
    def learns_while_acting(self) -> bool:
        """Whether `experience` changes a code."""
        return self.policy.dynamics is not None

    def experience(
        self,
        rows: Float32[np.ndarray, "b s"],
        observations: Shaped[np.ndarray, "b *o"],
        actions: Shaped[np.ndarray, "b *a"],
        next_observations: Shaped[np.ndarray, "b *o"],
    ) -> Float32[np.ndarray, "b s"]:
        """The rows after one step of each: what actions do is learnt while acting."""
        if not self.learns_while_acting:
            return rows
        changes = (next_observations - observations).reshape(len(observations), -1).astype(np.float32)
        rows = rows.copy()
        rows[:, -self.policy.n_sums :] += effects_of(changes, self.spec.as_vectors(actions))
        return rows

    def after(
        self,
        row: Float32[np.ndarray, " s"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> Float32[np.ndarray, " s"]:
        """A stance in the midst of an episode, after what its t actions did to its n = t + 1 observations."""
        if len(actions) == 0 or not self.learns_while_acting:
            return row
        return after_steps(row, observations, actions, self.spec)

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> "HypothesisActor":
        """Draw one hypothesis per task where no trial was scored yet, else take the most probable one."""
        beliefs = self.believe(contexts)
        hypotheses = [
            belief.most_probable if context.scored else belief.draw(rng)
            for belief, context in zip(beliefs, contexts, strict=True)
        ]
        return HypothesisActor(self, np.stack([belief.code for belief in beliefs]), np.array(hypotheses, np.int64))

    def _flat(self, observations: Shaped[np.ndarray, "b *o"]) -> Tensor:
        return torch.from_numpy(
            np.array(observations, np.float32).reshape(len(observations), -1)
        )  # torch wants its own

    def _within(self, out: Tensor) -> Array:
        """Outputs as actions of the space."""
        space = self.spec.action_space
        if self.spec.discrete:
            return np.asarray(out.numpy() + space.start, np.int64)  # type: ignore[union-attr]
        return np.minimum(np.maximum(out.numpy(), space.low), space.high)  # type: ignore[union-attr]

    def _tensors(self, episodes: Sequence[Sequence[Episode]]) -> EpisodeTensors:
        config, effects = self.policy.config, self.learns_while_acting
        arrays = gather(episodes, config.n_frames, self.spec, effects=effects, means=config.frame_means)
        return EpisodeTensors(**{name: torch.from_numpy(values) for name, values in arrays.items()})


class HypothesisActor:
    """Acts in b tasks, each under one hypothesis that it keeps for the episode."""

    def __init__(
        self, inference: Inference, codes: Float32[np.ndarray, "b d"], hypotheses: Int64[np.ndarray, " b"]
    ) -> None:
        self.hypotheses = hypotheses
        self._inference, self._rows = inference, inference.rows(codes, hypotheses)
        self._last: tuple[Array, Array] | None = None

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        """The action of each task, which remembers what its actions did so far."""
        if self._last:
            self._rows = self._inference.experience(self._rows, *self._last, observations)
        actions = self._inference.act_by_rows(self._rows, observations)
        self._last = observations, actions
        return actions
