"""Families of every kind of space go all the way: shown, stored, learnt, evaluated, saved."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from support.lines import PICTURE, Kitchen, Lamps, Line, Pair

from metalearn.baselines.bc import Bc, BcConfig, train_bc
from metalearn.baselines.demo_replay import DemoReplay, StateMatchedReplay
from metalearn.baselines.nearest_neighbour import NearestNeighbourIndex
from metalearn.bundle import Bundle
from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidData
from metalearn.data.parts import observation_vectors
from metalearn.data.units import Units
from metalearn.evaluation.evaluate import evaluate
from metalearn.evaluation.manifest import default_manifest
from metalearn.model.inference import Inference
from metalearn.quality import inspect
from metalearn.tasks.family import Scene, SerialVectorEnv, TaskVectorEnv
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import RandomActor, rollout
from metalearn.tasks.single_row import SingleRowEnv
from metalearn.training.batches import Steps
from metalearn.training.collect import DemonstrationChunk, demonstrate_chunk
from metalearn.training.loop import train

FAMILIES = [Line, Kitchen, Pair, Lamps]
SMALL = ModelConfig(encoder_width=8, policy_width=8, latent_dim=4, n_hypotheses=2)
SHORT = TrainingConfig(warmup_steps=12, rounds=1, round_steps=8, batch_tasks=4, anneal_steps=4, check_steps=50)


def shown(family: type[Line], n: int = 6) -> Dataset:
    chunk = DemonstrationChunk(f"support.lines:{family.__name__}", tuple(range(n)), DataConfig(), 0)
    return Dataset(family.spec, tuple(demonstrate_chunk(chunk)))


@pytest.mark.parametrize("family", [Kitchen, Lamps, *(pytest.param(f, marks=pytest.mark.slow) for f in (Line, Pair))])
def test_a_family_of_any_spaces_is_shown_stored_learnt_evaluated_and_saved(family: type[Line], tmp_path: Path) -> None:
    shown(family).check().save(tmp_path / "data")
    experiment = Experiment(
        name="line", family=f"support.lines:{family.__name__}", model=SMALL, training=SHORT,
        data=DataConfig(n_tasks=6, chunk_tasks=6),
    )  # fmt: skip
    bundle = train(experiment, tmp_path / "run", dataset=Dataset.load(tmp_path / "data"))
    bundle = bundle.with_example(shown(family).tasks[0].demos[0])
    bundle.save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    assert (again.id, again.example) == (bundle.id, bundle.example)
    manifest = default_manifest(family()).model_copy(update={"n_tasks": 4})
    report = evaluate({"wtl": Inference.load(again)}, find_family(experiment.family), manifest)
    assert report.methods["expert"].curve[0].success == 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_baselines_read_and_act_in_any_spaces(family: type[Line]) -> None:
    dataset, index = shown(family), NearestNeighbourIndex.of(shown(family))
    config = BcConfig(steps=2, width=8)
    methods = [
        Bc.from_weights(train_bc(dataset, config), family.spec, config),
        DemoReplay(index),
        StateMatchedReplay(index),
    ]
    env = SerialVectorEnv(family(), [0, 1])
    contexts = [Context(record.demos[:1]) for record in dataset.tasks[:2]]
    for method in methods:
        for episode in rollout(env, method.adapt(contexts, np.random.default_rng(0)), [1, 2]).episodes:
            family.spec.check(episode)
    assert rollout(env, DemoReplay().adapt(contexts, np.random.default_rng(0)), [0, 0]).success.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_actions_are_the_same_after_units_and_back(family: type[Line]) -> None:
    spec, rng = family.spec, np.random.default_rng(0)
    actions, units = spec.actions.example(rng, 50), Units.of_bounds(family.spec)
    encoded = units.encode_actions(actions)
    assert encoded.shape == (50, spec.action_size)
    ends = np.cumsum(spec.action_choices)[:-1]
    best = np.stack([one.argmax(-1) for one in np.split(encoded, ends, -1)], -1) if spec.discrete else encoded
    np.testing.assert_allclose(units.decode_actions(best), actions, atol=1e-6)
    assert np.array_equal(units.decode_actions(units.targets(actions)), units.decode_actions(best))


def test_a_single_row_gives_observations_as_the_environment_does() -> None:
    class Together(Kitchen):
        def make_vec(self, indices: Sequence[int], scene: Scene = "trial") -> TaskVectorEnv:
            return SerialVectorEnv(Kitchen(), indices, scene)

    single, plain = SingleRowEnv(Together(), 3), Kitchen().make(3)
    (first, _), (expected, _) = single.reset(seed=7), plain.reset(seed=7)
    for env in (single, plain):
        assert env.observation_space.contains(first)
    assert gym.spaces.flatten(plain.observation_space, first).tolist() == gym.spaces.flatten(
        plain.observation_space, expected
    ).tolist()  # fmt: skip
    action = single.expert_action()
    assert single.step(action)[0]["cell"] == plain.step(action)[0]["cell"]


WRONG = [
    (lambda o: {"robot": o["robot"]}, "kitchen/0000: observation: expected a dictionary of camera, cell, objects, r"),
    (lambda o: o | {"objects": np.zeros((2, 2))}, r"observation\.objects: expected shape \[3, 2\], got shape \[2, 2\]"),
    (lambda o: o["robot"], "observation: expected a dictionary of camera, cell, objects, robot, got ndarray"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=["fewer parts", "another shape", "one array"])
def test_an_environment_that_gives_other_parts_is_named(change: Callable[[Any], Any], said: str) -> None:
    class Changed(Kitchen):
        def make(self, index: int, scene: Scene = "trial", render_mode: str | None = None) -> gym.Env[Any, Any]:
            env = super().make(index, scene)
            return gym.wrappers.TransformObservation(env, change, env.observation_space)

    with pytest.raises(InvalidData, match=said):
        SerialVectorEnv(Changed(), [0]).reset()


def test_pictures_stay_bytes_until_a_batch_is_picked() -> None:
    env = SerialVectorEnv(Kitchen(), [0, 1])
    episodes = rollout(env, RandomActor(env, 0), [0, 1]).episodes
    steps = Steps(
        [(episode, episode.actions) for episode in episodes], Units(Kitchen.spec), changes=False, effects=False
    )
    n_numbers = 2 * max(map(len, episodes)) * Kitchen.spec.observation_size
    kept = steps.observations._observations
    assert kept["camera/front"].dtype == np.uint8 and kept["camera/front"].shape[2:] == PICTURE
    assert kept.nbytes < 1.2 * n_numbers
    for row, episode in enumerate(episodes):
        picked = steps.observations[row, : len(episode)].numpy()
        assert np.array_equal(picked, observation_vectors(episode.observations[:-1]))


def test_what_never_moved_is_reported_by_its_number_and_pictures_are_left_out() -> None:
    demo = shown(Kitchen).tasks[0].demos[0]
    (report,) = inspect(Context((demo,)), Kitchen.spec)
    parts = {part.name: part for part in Kitchen.spec.parts}
    objects = parts["objects"].start
    still = {objects + 1, objects + 3, objects + 4, objects + 5, parts["robot"].start + 1}
    assert set(report.constant_observations) == still
