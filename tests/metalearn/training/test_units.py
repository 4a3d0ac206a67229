"""Units decide nothing: the same tasks in other units of any component are learnt alike, and acted in alike."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from metalearn.config import Experiment, ModelConfig, TrainingConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Array, Episode
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.training.loop import train

N_TASKS, HORIZON = 24, 6


@dataclass(frozen=True)
class Change:
    """Other units: value * size + offset, per component of observations and of actions, and of rewards."""

    observation_sizes: Array
    observation_offsets: Array
    action_sizes: Array
    action_offsets: Array
    reward: tuple[float, float] = (1.0, 0.0)

    def observed(self, observations: Array) -> Array:
        return observations * self.observation_sizes + self.observation_offsets

    def done(self, actions: Array) -> Array:
        return actions * self.action_sizes + self.action_offsets

    def undone(self, actions: Array) -> Array:
        return (actions - self.action_offsets) / self.action_sizes


NO_CHANGE = Change(np.ones(4), np.zeros(4), np.ones(2), np.zeros(2))


def drawn(seed: int) -> Change:
    """Sizes over twelve orders of magnitude, and offsets up to a hundred times as large as what varies."""
    rng = np.random.default_rng(seed)
    sizes, action_sizes = 10 ** rng.uniform(-6, 6, 4), 10 ** rng.uniform(-6, 6, 2)
    far, farther = rng.uniform(-100, 100, 4), rng.uniform(-100, 100, 2)
    reward = (float(10 ** rng.uniform(-6, 6)), 0.0)
    return Change(sizes, far * sizes, action_sizes, farther * action_sizes, (reward[0], 50 * reward[0]))


def tasks(change: Change, bounded: bool) -> Dataset:
    """A point that is to go to the side of its demonstration; the last number of an observation never changes."""
    rng = np.random.default_rng(0)
    ends = (-np.ones(2), np.ones(2)) if bounded else (np.full(2, -np.inf), np.full(2, np.inf))
    low, high = (change.done(end).astype(np.float32) for end in ends)
    spec = Spec(spaces.Box(-np.inf, np.inf, (4,)), spaces.Box(low, high), HORIZON, 10.0)

    def episode(goal: Array) -> Episode:
        place, seen, done = rng.uniform(-1, 1, 2), [], []
        for _ in range(HORIZON):
            seen.append([*place, goal[0] + rng.normal(), 3.0])
            done.append(np.clip(goal - place + 0.1 * rng.normal(size=2), -1, 1))
            place = place + 0.3 * done[-1]
        seen.append([*place, goal[0] + rng.normal(), 3.0])
        rewards = rng.normal(size=HORIZON) * change.reward[0] + change.reward[1]
        return Episode.of(change.observed(np.array(seen)), change.done(np.array(done)), rewards, True)

    records = []
    for i in range(N_TASKS):
        goal = rng.choice([-0.8, 0.8], 2)
        parts = [episode(goal) for _ in range(4)]
        records.append(TaskRecord(f"tasks/{i}", (parts[0],), (parts[1], parts[2]), trials=(parts[3],)))
    return Dataset(spec, tuple(records))


def learnt(change: Change, out: Path, *, bounded: bool = True, dynamics_rank: int = 0) -> tuple[list[float], Array]:
    """The losses of a few steps, and what the policy does in a hundred states, both in the units of no change."""
    experiment = Experiment(
        name="units",
        family="",
        model=ModelConfig(frame_means=True, dynamics_rank=dynamics_rank),
        training=TrainingConfig(warmup_steps=8, rounds=1, round_steps=4, anneal_steps=4, check_steps=1, batch_tasks=16),
    )
    dataset = tasks(change, bounded)
    bundle = train(experiment, out, dataset=dataset)
    inference = Inference.load(bundle)
    beliefs = inference.infer_belief([Context(record.demos, record.trials) for record in dataset.tasks])
    latents = np.stack([belief.latent for belief in beliefs])
    conditioning = inference.conditioning(latents, np.zeros(len(latents), np.int64))
    seen = np.stack([record.experts[0].observations[0] for record in dataset.tasks])
    losses = [float(entry["loss"]) for entry in bundle.provenance["history"]]
    return losses, change.undone(inference.act(conditioning, seen).astype(np.float64))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], Array]:
    return learnt(NO_CHANGE, tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_other_units_of_every_component_are_learnt_alike(
    usual: tuple[list[float], Array], tmp_path: Path, seed: int
) -> None:
    losses, actions = learnt(drawn(seed), tmp_path)
    np.testing.assert_allclose(losses, usual[0], atol=2e-3)
    np.testing.assert_allclose(actions, usual[1], atol=5e-3)


def test_actions_without_bounds_have_the_units_of_the_data(tmp_path: Path) -> None:
    usual = learnt(NO_CHANGE, tmp_path / "usual", bounded=False)
    losses, actions = learnt(drawn(5), tmp_path / "other", bounded=False)
    np.testing.assert_allclose(losses, usual[0], atol=2e-3)
    np.testing.assert_allclose(actions, usual[1], atol=5e-3)


def test_what_an_action_does_is_found_in_any_units(tmp_path: Path) -> None:
    usual = learnt(NO_CHANGE, tmp_path / "usual", dynamics_rank=1)
    losses, actions = learnt(drawn(6), tmp_path / "other", dynamics_rank=1)
    np.testing.assert_allclose(losses, usual[0], atol=2e-3)
    np.testing.assert_allclose(actions, usual[1], atol=5e-3)
