"""Learning from outcomes which hypothesis to try next."""

import numpy as np
import pytest
import torch
from support.bundles import BOX, SEEN

from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.spec import Spec
from metalearn.model.inference import HypothesisActor, Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.collect import Snapshot
from metalearn.training.searching import fit_search

SPEC = Spec(SEEN, BOX, horizon=8, rate_hz=10.0)
MODEL = ModelConfig(n_hypotheses=3, max_trials=3, n_frames=4)
SOLVES = ((0, 1), (2,))
"""Of two kinds of task each hypothesis that solves it: the first two solve the same ones, which are more."""


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def policy() -> Snapshot:
    """Of random weights, with hypotheses that do different things whatever the context, and are believed alike."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ConditionalPolicy(MODEL, SPEC)
        with torch.no_grad():
            network.hypotheses.weight.mul_(20)
            network.log_sigma.fill_(-3.0)
            for part in (network.prior, network.encoder.demo, network.encoder.trial, network.encoder.counts):
                for parameter in part.parameters():
                    parameter.zero_()
    return Snapshot(MODEL, network.to_weights())


def attempt(inference: Inference, context: Context, z: int, kind: int, rng: np.random.Generator) -> Episode:
    """What the policy does under z at observations drawn at random, in a task of a kind."""
    latent = inference.infer_belief([context])[0].latent
    actor = HypothesisActor(inference, latent[None], np.array([z]))
    observations = SPEC.example_episode(rng, 6).observations
    actions = np.concatenate([actor.act(one[None]) for one in observations[:-1]])
    return Episode.of(observations, actions, success=z in SOLVES[kind])


def tasks(policy: Snapshot, n: int, rng: np.random.Generator) -> tuple[list[Context], list[list[Episode]]]:
    """Attempts under hypotheses drawn at random, in tasks of which two thirds are of the first kind."""
    inference = Inference(ConditionalPolicy.from_weights(policy.model, SPEC, policy.weights), SPEC)
    contexts, attempts = [Context() for _ in range(n)], []
    for i in range(n):
        made: list[Episode] = []
        for _ in range(3):
            made.append(attempt(inference, Context().with_trial(*made), int(rng.integers(3)), int(i % 3 == 0), rng))
        attempts.append(made)
    return contexts, attempts


def test_what_failed_refutes_whatever_solves_the_same_tasks(policy: Snapshot, rng: np.random.Generator) -> None:
    searching = fit_search(policy, SPEC, *tasks(policy, 60, rng))
    assert searching is not None
    assert searching.model.search
    inference = Inference(ConditionalPolicy.from_weights(searching.model, SPEC, searching.weights), SPEC)

    def chosen(kind: int, *tried: int) -> int:
        context = Context()
        for z in tried:
            context = context.with_trial(attempt(inference, context, z, kind, rng))
        return inference.infer_belief([context])[0].map_hypothesis

    assert chosen(1) in SOLVES[0]
    for first in SOLVES[0]:
        assert chosen(1, first) == 2
    assert chosen(0, 2) in SOLVES[0]
    assert chosen(1, 2) == 2
    assert chosen(0, 1) == 1


@pytest.mark.parametrize("outcome", [True, False, None])
def test_where_outcomes_are_all_alike_nothing_is_learnt(
    outcome: bool | None, policy: Snapshot, rng: np.random.Generator
) -> None:
    contexts, attempts = tasks(policy, 4, rng)
    alike = [[Episode.of(e.observations, e.actions, success=outcome) for e in of_task] for of_task in attempts]
    assert fit_search(policy, SPEC, contexts, alike) is None
