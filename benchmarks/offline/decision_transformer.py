"""d3rlpy's Decision Transformer (Chen et al. 2021, arXiv 2106.01345), and its discrete CQL, on recorded episodes.

The Transformer acts in many rows at once. d3rlpy is installed apart, see `benchmarks/ask_return.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped

from metalearn.data.episode import Array, Episode
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.evaluation.protocol import returned

CONTEXT = 20  # steps; d3rlpy's default
WIDTH = 128  # of the embedding, as in d3rlpy's reproduction of the paper; the default of 256 takes four times as long
BEST = 6.0  # what the reproduction scales the best returns of D4RL's cheetah to
WARMUP = 0.1  # share of the steps, as in the reproduction

Look = Callable[[int, Any], None]
"""Is given the number of gradient steps so far, and what has been learnt."""


def train_transformer(
    episodes: Sequence[Episode], spec: Spec, steps: int, looks: int, seed: int, look: Look, *, terminated: bool
) -> Any:
    """Train by d3rlpy's own loop, with the settings of its reproduction script, or for choices with its defaults.

    Args:
        episodes: with rewards and actions.
        spec: of their spaces.
        steps: of gradient descent; rounded down to a multiple of `looks`.
        looks: how often `look` is called, evenly, the last time at the end.
        seed: of everything that is drawn.
        look: see `Look`.
        terminated: whether episodes end in a terminal state, rather than when time is up.
    """
    import d3rlpy
    from d3rlpy.logging import NoopAdapterFactory

    _quiet()
    d3rlpy.seed(seed)
    buffer = replay_buffer(episodes, spec, terminated=terminated)
    algo = _config(episodes, spec, steps).create()
    apiece = max(1, steps // looks)

    def after_a_step(algo: Any, _: int, n_steps: int) -> None:
        if n_steps % apiece == 0:
            look(n_steps, algo)

    algo.fit(
        buffer, n_steps=looks * apiece, n_steps_per_epoch=apiece, logger_adapter=NoopAdapterFactory(),
        show_progress=False, callback=after_a_step,
    )  # fmt: skip
    return algo


def _config(episodes: Sequence[Episode], spec: Spec, steps: int) -> Any:
    from d3rlpy.algos import DecisionTransformerConfig, DiscreteDecisionTransformerConfig
    from d3rlpy.models import VectorEncoderFactory
    from d3rlpy.optimizers import GPTAdamWFactory
    from d3rlpy.optimizers.lr_schedulers import WarmupSchedulerFactory
    from d3rlpy.preprocessing import MultiplyRewardScaler, StandardObservationScaler

    sizes = {
        # Longer than an episode a context is padding alone, which d3rlpy computes and, for choices, learns from.
        "context_size": min(CONTEXT, spec.horizon),
        "max_timestep": spec.horizon,
        "encoder_factory": VectorEncoderFactory([WIDTH], exclude_last_activation=True),
    }
    if spec.discrete:
        return DiscreteDecisionTransformerConfig(**sizes)
    return DecisionTransformerConfig(
        batch_size=64,
        learning_rate=1e-4,
        optim_factory=GPTAdamWFactory(
            weight_decay=1e-4, lr_scheduler_factory=WarmupSchedulerFactory(max(1, int(WARMUP * steps)))
        ),
        observation_scaler=StandardObservationScaler(),
        reward_scaler=MultiplyRewardScaler(BEST / float(np.abs(returned(episodes)).max())),
        **sizes,
    )


def replay_buffer(episodes: Sequence[Episode], spec: Spec, *, terminated: bool) -> Any:
    """The episodes as d3rlpy has them; choices are counted from 0."""
    from d3rlpy import ActionSpace
    from d3rlpy.dataset import Episode as Recorded
    from d3rlpy.dataset import InfiniteBuffer, ReplayBuffer

    def actions(episode: Episode) -> Array:
        assert episode.actions is not None
        if not spec.discrete:
            return episode.actions.reshape(len(episode), -1)
        return (episode.actions - spec.actions.lowest).reshape(len(episode), 1)

    recorded = [
        Recorded(observation_vectors(e.observations)[:-1], actions(e), e.rewards[:, None], terminated)
        for e in episodes
        if e.rewards is not None
    ]
    space = ActionSpace.DISCRETE if spec.discrete else ActionSpace.CONTINUOUS
    size = spec.action_choices[0] if spec.discrete else spec.action_size
    return ReplayBuffer(InfiniteBuffer(), episodes=recorded, action_space=space, action_size=size)


def most_probable(logits: Float[np.ndarray, "b c"]) -> Int[np.ndarray, " b"]:
    """The likeliest choice, as d3rlpy's greedy sampler."""
    return logits.argmax(1)


def drawn(rng: np.random.Generator) -> Callable[[Float[np.ndarray, "b c"]], Int[np.ndarray, " b"]]:
    """A choice drawn by its probability, as d3rlpy's softmax sampler, its default."""
    return lambda logits: (logits + rng.gumbel(size=logits.shape)).argmax(1)


class TransformerActor:
    """Acts in b rows, asked for a return, as d3rlpy's `StatefulTransformerWrapper` does in one row.

    Contexts that are not full yet are not padded: positions are times, and what is padded is masked.

    Args:
        algo: a trained Decision Transformer.
        spec: of the spaces.
        asked: the return, in the environment's unit.
        n_rows: b.
        choose: from logits, for choices.
    """

    def __init__(
        self, algo: Any, spec: Spec, asked: float, n_rows: int,
        choose: Callable[[Float[np.ndarray, "b c"]], Int[np.ndarray, " b"]] = most_probable,
    ) -> None:  # fmt: skip
        self._algo, self._spec, self._choose = algo, spec, choose
        self._left = np.full(n_rows, asked)
        width = 1 if spec.discrete else spec.action_size
        self._observations: list[Array] = []
        self._to_go: list[Array] = []
        self._actions: list[Array] = [np.zeros((n_rows, width))]

    def act(
        self, observations: Shaped[np.ndarray, "b *o"], rewards: Float[np.ndarray, " b"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """The mean action, or the choice, of the last of at most `context_size` steps."""
        self._left = self._left - rewards
        self._observations.append(observation_vectors(observations))
        self._to_go.append(self._left[:, None])
        out = self._last_output()
        taken = self._choose(out)[:, None] if self._spec.discrete else out
        self._actions[-1] = taken
        self._actions.append(np.zeros_like(taken))
        if self._spec.discrete:
            return self._spec.actions.fit(taken[:, 0] + self._spec.actions.lowest)
        return self._spec.actions.fit(taken)

    def _last_output(self) -> Float[np.ndarray, "b c"]:
        config, modules = self._algo.config, self._algo.impl.modules
        modules.set_eval()
        n_rows, t = len(self._left), len(self._observations)
        known = min(t, config.context_size)
        times = np.minimum(np.arange(t - known, t) + 1, config.max_timestep)
        seen, to_go = _window(self._observations, known), _window(self._to_go, known)
        if config.observation_scaler:
            seen = config.observation_scaler.transform(seen)
        if config.reward_scaler:
            to_go = config.reward_scaler.transform(to_go)
        with torch.no_grad():
            out = modules.transformer(
                seen, _window(self._actions, known), to_go, torch.from_numpy(times).expand(n_rows, known),
                torch.zeros(n_rows, known),
            )  # fmt: skip
        logits: Float[np.ndarray, "b c"] = (out[1] if self._spec.discrete else out)[:, -1].numpy()
        return logits


def _window(parts: Sequence[Array], n: int) -> torch.Tensor:
    """The last n of some steps, each `[b, x]`, as `[b, n, x]`."""
    return torch.from_numpy(np.stack(parts[-n:], 1).astype(np.float32))


class CqlActor:
    """The best choice by d3rlpy's discrete CQL (Kumar et al. 2020, arXiv 2006.04779)."""

    def __init__(self, algo: Any, spec: Spec) -> None:
        self._algo, self._spec = algo, spec

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        chosen = self._algo.predict(observation_vectors(observations))
        return self._spec.actions.fit(chosen + self._spec.actions.lowest)


def train_cql(episodes: Sequence[Episode], spec: Spec, steps: int, seed: int, *, terminated: bool) -> CqlActor:
    """Train discrete CQL with d3rlpy's defaults."""
    import d3rlpy
    from d3rlpy.algos import DiscreteCQLConfig
    from d3rlpy.logging import NoopAdapterFactory

    _quiet()
    d3rlpy.seed(seed)
    algo = DiscreteCQLConfig().create()
    algo.fit(
        replay_buffer(episodes, spec, terminated=terminated), n_steps=steps, n_steps_per_epoch=steps,
        logger_adapter=NoopAdapterFactory(), show_progress=False,
    )  # fmt: skip
    return CqlActor(algo, spec)


def _quiet() -> None:
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
