"""A model small enough to check by hand: it points from the observation to where the context ended.

Hypothesis 0 believes in the goal that is asked for, else in the last demo, hypothesis 1 in the mirror image of it.
Unscored contexts are ambiguous; after a successful trial it is sure of 0, after a failed one of 1. Run as a script it
serves, for tests that kill.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from gymnasium import spaces
from support.asks import TRAINED

from metalearn.adapter import ActionHeads, Belief
from metalearn.bundle import Bundle
from metalearn.confidence import N_FRAMES, N_KINDS
from metalearn.data.asks import Goal
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.data.spec import Spec
from service.settings import Settings

SPEC = Spec(
    observation_space=spaces.Box(-np.inf, np.inf, (3,), np.float32),
    action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
    horizon=50,
    rate_hz=10.0,
)


def bundle(name: str = "point", gain: float = 1.0) -> Bundle:
    """A bundle whose one weight makes it another bundle."""
    weights = {"gain": np.array([gain], np.float32)}
    return Bundle(name, SPEC, {}, weights, provenance={"made": "by hand"}, report={"schema": 1})


def asked(name: str = "asked") -> Bundle:
    """A bundle that can be asked for a return, a goal, better, or in words."""
    return replace(bundle(name), model=json.loads(json.dumps(TRAINED)))


def calibrated(source: Bundle) -> Bundle:
    """With a confidence to check by hand: 1/2 until a trial was scored, 1 / (1 + 1/e) afterwards, and 1/2 for later.

    The strangeness of a demo is how far away (log squared) all of it is.
    """
    n_described = 2 + 13 + 2  # hypotheses, what `describe` adds, latent
    n_portrait = N_FRAMES * (2 * 3 + 1)
    weights = {
        "success.mean": np.zeros(n_described),
        "success.std": np.ones(n_described),
        "success.out": np.zeros((n_described, 2)),
        "success.out_bias": np.zeros(2),
        "success.slopes": np.ones((N_KINDS, 2)),
        "success.offsets": np.array([[0.0, 0.0], [1.0, 0.0]] * 2),
        "novelty.mean": np.zeros(n_portrait),
        "novelty.std": np.ones(n_portrait),
        "novelty.axes": np.eye(n_portrait)[:, :1],
        "novelty.variances": np.ones(1),
        "novelty.residual": np.ones(1),
        "novelty.out": np.zeros((n_portrait, 1)),
        "novelty.out_bias": np.zeros(1),
        "novelty.middle": np.zeros(2),
        "novelty.spread": np.ones(2),
        "novelty.known": np.array([1.0, 2.0, 3.0]),
    }
    single = {name: value.astype(np.float32) for name, value in weights.items()}
    return source.with_confidence(single, {"made": "by hand"})


def settings_in(folder: Path) -> Settings:
    """Of a server with the one model `point`, and limits that a test can reach."""
    bundle().save(folder / "models" / "point")
    return Settings(data=folder / "data", models=folder / "models", max_body_bytes=2_000_000, max_containers=500_000)


class PointingRuntime:
    """Numpy in, numpy out."""

    def __init__(self, source: Bundle) -> None:
        self._gain = float(source.weights["gain"][0])
        self.n_inferred = 0
        self.batches: list[int] = []

    def infer_belief(self, contexts: Sequence[Context]) -> list[Belief]:
        self.n_inferred += len(contexts)
        return [self._infer_belief(context) for context in contexts]

    def _infer_belief(self, context: Context) -> Belief:
        goal = context.demos[-1].observations[-1, :2] if context.demos else np.zeros(2, np.float32)
        goal = next((np.array(one.value, np.float32) for one in context.ask.values if isinstance(one, Goal)), goal)
        outcomes = [trial.success for trial in context.trials if trial.success is not None]
        sure = {True: [1.0, 0.0], False: [0.0, 1.0]}
        probabilities = sure[outcomes[-1]] if outcomes else [0.6, 0.4]
        return Belief(goal.astype(np.float32), np.array(probabilities, np.float32))

    adapts_online = False

    def conditioning(self, belief: Belief, hypothesis: int) -> Array:
        return belief.latent if hypothesis == 0 else -belief.latent

    def update(self, conditioning: Array, observations: Array, actions: Array) -> Array:
        return conditioning

    def heads(self, latents: Array, hypotheses: Array, observations: Array, actions: Array) -> ActionHeads:
        goals = np.where(hypotheses[:, None] == 0, latents, -latents)
        out = self._gain * (goals[:, None] - observations[None, :-1, :2])
        return ActionHeads(out.astype(np.float32), np.full((len(goals), 2), -1.0, np.float32))

    def act(self, goals: Array, observations: Array) -> Array:
        self.batches.append(len(observations))
        return np.clip(self._gain * (goals - observations[:, :2]), -1, 1).astype(np.float32)


if __name__ == "__main__":
    from service.server import serve

    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    serve(Settings(data=folder / "data", models=folder / "models", port=port), runtime_factory=PointingRuntime)
