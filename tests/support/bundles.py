"""Bundles with random weights of every kind of model, and contexts for them."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from support.asks import OFFERS

from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.asks import Ask, Goal, Return
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.spec import Spec
from metalearn.model.export import with_graphs
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate
from service.settings import SHIPPED_MODELS

BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)
SEEN = spaces.Box(-np.inf, np.inf, (8,), np.float32)
OBJECTS = spaces.Box(-np.inf, np.inf, (2, 3), np.float32)
PARTS = spaces.Dict(
    arm=SEEN, camera=spaces.Box(0, 255, (12, 10, 3), np.uint8), mode=spaces.Discrete(3, start=1), objects=OBJECTS
)
GRID = spaces.Dict(facing=spaces.Discrete(4), view=spaces.Box(0, 5, (5, 4, 3), np.uint8))
CAMERA = spaces.Box(0, 255, (16, 16, 3), np.uint8)
WATCHED = spaces.Dict(arm=spaces.Box(-np.inf, np.inf, (4,), np.float32), observation=spaces.Dict(camera=CAMERA))
"""An arm and a camera: `arm` and `observation/camera`."""
ASKS = tuple(offer.kind for offer in OFFERS)
TUPLE = spaces.Tuple((SEEN, spaces.Tuple((spaces.Discrete(3, start=-1), CAMERA))))
"""Numbers, and nested a choice and a camera: `0`, `1/0` and `1/1`."""
SMALL: dict[str, Any] = {"encoder_width": 32, "policy_width": 32, "latent_dim": 16, "n_hypotheses": 2}
KINDS: dict[str, tuple[ModelConfig, spaces.Space[Any], spaces.Space[Any]]] = {
    "categorical": (ModelConfig(), SEEN, spaces.Discrete(5, start=2)),
    "one of everything": (ModelConfig(n_hypotheses=1, n_frames=2, latent_dim=8, max_trials=3), SEEN, BOX),
    "entities": (ModelConfig(), spaces.Dict(objects=OBJECTS, robot=spaces.Box(-1, 1, (2,), np.float32)), BOX),
    "entities alone": (ModelConfig(n_hypotheses=2), spaces.Dict(objects=OBJECTS, others=OBJECTS), BOX),
    "pictures": (ModelConfig(n_hypotheses=2), spaces.Box(0, 255, (36, 48, 3), np.uint8), BOX),
    "frames in a stack": (ModelConfig(**SMALL), spaces.Box(0, 255, (16, 16, 9), np.uint8), BOX),
    "symbols": (ModelConfig(n_hypotheses=2, symbols=(5,)), GRID, spaces.Discrete(3)),
    "every part": (ModelConfig(frame_means=True), PARTS, BOX),
    "dynamics": (ModelConfig(dynamics_rank=2), SEEN, BOX),
    "memory": (ModelConfig(memory=6, dynamics_rank=1), SEEN, BOX),
    "memory of parts": (ModelConfig(memory=6, n_hypotheses=2), PARTS, spaces.MultiDiscrete([2, 3], start=[1, -1])),
    "memory of pictures": (ModelConfig(**SMALL, memory=4), CAMERA, BOX),
    "memory of symbols": (ModelConfig(**SMALL, memory=4, symbols=(5,)), GRID, spaces.Discrete(3)),
    "means": (ModelConfig(frame_means=True), SEEN, BOX),
    "asked": (ModelConfig(asks=ASKS, ask_offers=OFFERS), SEEN, BOX),
    "asked, of parts": (ModelConfig(n_hypotheses=2, asks=ASKS[2:], ask_offers=OFFERS[2:]), PARTS, BOX),
    "searching": (ModelConfig(search=5), SEEN, BOX),
    "searching parts": (ModelConfig(search=4, n_hypotheses=3), PARTS, spaces.MultiDiscrete([2, 3], start=[1, -1])),
    "tuple": (ModelConfig(**SMALL), TUPLE, BOX),
    "switches": (ModelConfig(**SMALL, memory=4), spaces.MultiBinary([2, 3]), BOX),
    "one-choice": (ModelConfig(**SMALL, memory=4), spaces.Discrete(6, start=2), BOX),
    "watched": (ModelConfig(memory=6, n_hypotheses=2), WATCHED, BOX),
}

REMEMBERING = (
    "dynamics", "memory", "memory of parts", "memory of pictures", "memory of symbols", "switches", "one-choice",
    "watched",
)  # fmt: skip
"""Those that adapt within an episode."""

_NOISE = {"head": 1.0, "steering": 0.02}
"""Of random weights. Queries of more noise attend to one thing alone, and turn on the rounding of a runtime."""


@cache
def made(kind: str) -> Bundle:
    """A bundle with random weights, the same in every process, so that no number in it is zero by chance."""
    if kind not in KINDS:
        return Bundle.load(SHIPPED_MODELS / kind)
    config, seen, actions = KINDS[kind]
    spec = Spec(seen, actions, horizon=30, rate_hz=10.0)
    rng = np.random.default_rng(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = ConditionalPolicy(config, spec).to_weights()
    drawn = {
        name: rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
        if name.endswith(("var", "std", "spread", "damping", "usual_change"))
        else rng.integers(2, size=value.shape).astype(np.float32)
        if name.endswith("solved")
        else value + rng.normal(0, _NOISE.get(name.partition(".")[0], 0.1), value.shape).astype(np.float32)
        for name, value in weights.items()
        if value.dtype == np.float32
    }
    # Through a policy once more: buffers that have two names have one value.
    whole = ConditionalPolicy.from_weights(config, spec, weights | drawn).to_weights()
    return with_graphs(Bundle(kind, spec, config.model_dump(mode="json"), whole))


def reach_ask() -> Bundle:
    """A bundle with random weights that acts in reach-m2, and can be asked for anything."""
    family = find_family("reach-m2")
    demo = demonstrate(family, [family.splits["test"][0]], [0], "demo").episodes[0]
    offers = (
        Return.offer([Return(-1.0), Return(0.0), Return(1.0)]),
        Goal.offer([Goal((x, y)) for x in (-1.0, 0.3, 1.0) for y in (-1.0, 0.2, 1.0)]),
        *OFFERS[2:],
    )
    config = ModelConfig(asks=ASKS, ask_offers=offers)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = ConditionalPolicy(config, family.spec).to_weights()
    bundle = Bundle("reach-ask", family.spec, config.model_dump(mode="json"), weights)
    return with_graphs(bundle).with_example(demo)


def contexts(spec: Spec, rng: np.random.Generator) -> list[Context]:
    def episodes(n: int, *outcomes: bool) -> tuple[Episode, ...]:
        some = (spec.example_episode(rng, int(rng.integers(1, spec.horizon + 1))) for _ in range(n))
        return tuple(replace(one, success=success) for one, success in zip(some, outcomes or (True,) * n, strict=True))

    outcomes = (), (False,), (False, True, False)
    return [Context(episodes(k), episodes(len(went), *went)) for k in (0, 1, 4) for went in outcomes]


def asked(bundle: Bundle, given: list[Context], rng: np.random.Generator) -> list[Context]:
    """The same contexts, each of which asks for some of what the model was trained for; the first one for nothing."""
    found = []
    for i, context in enumerate(given):
        examples = [(offer.kind, offer.examples[rng.integers(len(offer.examples))]) for offer in bundle.asks]
        some = {kind: value for j, (kind, value) in enumerate(examples) if i >> j & 1}
        found.append(replace(context, ask=Ask.from_json(some)))
    return found
