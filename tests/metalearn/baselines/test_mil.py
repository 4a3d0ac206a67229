"""The baseline on a task that cannot be solved without its demonstration: the action is a hidden constant."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from metalearn.adapter import Adapter
from metalearn.baselines.mil import Latents, Mil, MilConfig, import_learn2learn, train_mil
from metalearn.baselines.mixture import Network, PairBatch
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec

CONTINUOUS = Spec(spaces.Box(-5, 5, (3,)), spaces.Box(-1, 1, (2,)), 20, 10.0)
DISCRETE = Spec(spaces.Box(-5, 5, (3,)), spaces.Discrete(3, start=1), 20, 10.0)
SMALL = MilConfig(width=32, latent_dim=8, steps=150, batch_tasks=16)


def episode(spec: Spec, hidden: np.ndarray, rng: np.random.Generator, success: bool = True) -> Episode:
    """Random observations and, whatever they are, the hidden action."""
    n = int(rng.integers(2, 6))
    return Episode.of(rng.normal(size=(n + 1, 3)), np.repeat(hidden[None], n, 0), None, success)


def hidden_action(spec: Spec, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(1, 4) if spec.discrete else rng.uniform(-0.8, 0.8, 2)


def dataset(spec: Spec, n: int = 64) -> Dataset:
    rng = np.random.default_rng(0)
    records = []
    for i in range(n):
        hidden = np.asarray(hidden_action(spec, rng))
        demo, *experts = (episode(spec, hidden, rng) for _ in range(3))
        records.append(TaskRecord(f"constant/{i}", (demo,), tuple(experts)))
    return Dataset(spec, tuple(records)).check()


@pytest.fixture(scope="module", params=[CONTINUOUS, DISCRETE], ids=["continuous", "discrete"])
def trained(request) -> tuple[Spec, Mil]:
    spec = request.param
    return spec, Mil.from_weights(train_mil(dataset(spec), SMALL), spec, SMALL)


def error(spec: Spec, mil: Adapter, contexts: list[Context], hidden: list[np.ndarray]) -> float:
    rng = np.random.default_rng(1)
    actions = mil.adapt(contexts, rng).act(rng.normal(size=(len(contexts), 3)).astype(np.float32))
    wrong = actions != np.array(hidden) if spec.discrete else np.abs(actions - np.array(hidden))
    return float(np.mean(wrong))


def test_adapting_to_demonstrations_of_new_tasks_reduces_the_error(trained):
    spec, mil = trained
    rng = np.random.default_rng(2)
    hidden = [np.asarray(hidden_action(spec, rng)) for _ in range(100)]
    shown = [Context(demos=(episode(spec, action, rng),)) for action in hidden]
    assert error(spec, mil, shown, hidden) < 0.4 * error(spec, mil, [Context()] * 100, hidden)


def test_successful_trials_are_imitated_and_failed_ones_are_not(trained):
    spec, mil = trained
    rng = np.random.default_rng(3)
    hidden = [np.asarray(hidden_action(spec, rng)) for _ in range(50)]
    for success in (True, False):
        contexts = [Context(trials=(episode(spec, action, rng, success),)) for action in hidden]
        ratio = error(spec, mil, contexts, hidden) / error(spec, mil, [Context()] * 50, hidden)
        assert (ratio < 0.5) if success else (ratio == 1)


def test_a_task_is_adapted_to_the_same_alone_and_in_company(trained):
    spec, mil = trained
    rng = np.random.default_rng(4)
    contexts = [Context(demos=(episode(spec, np.asarray(hidden_action(spec, rng)), rng),)) for _ in range(5)]
    observations = rng.normal(size=(6, 3)).astype(np.float32)
    together = mil.adapt([*contexts, Context()], rng).act(observations)
    alone = [mil.adapt([context], rng).act(observations[i : i + 1])[0] for i, context in enumerate(contexts)]
    np.testing.assert_allclose(together[:5], alone, atol=1e-5)


def test_adapting_takes_the_steps_that_learn2learn_took_in_training():
    torch.manual_seed(0)
    mil = Mil(Network(CONTINUOUS, SMALL), CONTINUOUS, SMALL)
    tasks = dataset(CONTINUOUS, 4).tasks
    contexts = [Context(demos=record.demos) for record in tasks]
    known = [[(demo.observations[:-1], demo.actions) for demo in record.demos] for record in tasks]
    learner = import_learn2learn().MAML(Latents(4, SMALL.latent_dim), lr=SMALL.inner_rate).clone()
    for _ in range(SMALL.inner_steps):
        learner.adapt(mil._network.losses(PairBatch.of(known, CONTINUOUS), learner.module.values).sum())
    adapted = mil.adapt(contexts, np.random.default_rng(0))._latents
    assert adapted.abs().max() > 0
    torch.testing.assert_close(adapted, learner.module.values.detach())


def test_equal_seeds_give_equal_weights():
    config = MilConfig(width=8, latent_dim=4, steps=3, batch_tasks=4)
    first, second, other = (train_mil(dataset(CONTINUOUS), config, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["head.weight"], other["head.weight"])


def test_demonstrations_without_actions_are_refused():
    record, other = dataset(CONTINUOUS, 2).tasks
    blind = TaskRecord(record.task, tuple(demo.without_actions() for demo in record.demos), record.experts)
    with pytest.raises(InvalidData, match=r"constant/0\.demos\[0\]\.actions"):
        train_mil(Dataset(CONTINUOUS, (blind, other)), SMALL)
    with pytest.raises(InvalidData, match=r"demos\[0\]\.actions"):
        Mil(Network(CONTINUOUS, SMALL), CONTINUOUS, SMALL).adapt([Context(blind.demos)], np.random.default_rng(0))


def test_weights_of_something_else_are_refused():
    with pytest.raises(InvalidConfig, match="not the weights of mil"):
        Mil.from_weights({"a": np.zeros(1, np.float32)}, CONTINUOUS, SMALL)
