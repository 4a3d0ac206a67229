"""Every method: trained into a folder, read from it, and put behind the one verb."""

import json
from pathlib import Path

import numpy as np
import pytest

from metalearn.adapter import Adapter
from metalearn.baselines.methods import METHODS, POLICY
from metalearn.baselines.trial_only import WithoutTrials, trial_only
from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.experiments import find_experiment
from metalearn.tasks.registry import find_family
from metalearn.training.collect import DemonstrationChunk, SerialCollector, demonstrate_chunk

TINY = Experiment(
    name="tiny",
    family="reach-m2",
    data=DataConfig(n_tasks=12, chunk_tasks=6),
    model=ModelConfig(encoder_width=8, latent_dim=4, n_hypotheses=2, policy_width=8),
    training=TrainingConfig(warmup_steps=2, rounds=1, round_steps=2, batch_tasks=4, check_steps=4, check_tasks=4),
)
SPEC = find_family("reach-m2").spec


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset(SPEC, tuple(demonstrate_chunk(DemonstrationChunk("reach-m2", tuple(range(12)), TINY.data, 0))))


def actions(adapter: Adapter, contexts: list[Context]) -> np.ndarray:
    seen = np.repeat(SPEC.example_episode(np.random.default_rng(0), 1).observations[:1], len(contexts), 0)
    return adapter.adapt(contexts, np.random.default_rng(0)).act(seen)


@pytest.fixture(scope="module")
def policy(dataset, tmp_path_factory) -> Path:
    """The folder of the policy that some methods build on, as a benchmark leaves it."""
    folder = tmp_path_factory.mktemp("policy") / POLICY
    METHODS[POLICY].train(TINY, folder, dataset, SerialCollector(), 0, lambda done, total: None)
    (folder / "cpu_s.json").write_text("0.05")
    return folder


@pytest.fixture
def folder(policy, tmp_path) -> Path:
    """A folder for a method, with that of the policy beside it."""
    (tmp_path / POLICY).symlink_to(policy, target_is_directory=True)
    return tmp_path / "method"


def train_into(folder: Path, name: str, dataset: Dataset, seed: int = 0) -> Adapter:
    METHODS[name].train(TINY, folder, dataset, SerialCollector(), seed, lambda done, total: None)
    return METHODS[name].load(folder, SPEC)


def quick(names):
    """RLlib's methods start a Ray of their own, which takes longer than all others together."""
    return [pytest.param(name, marks=pytest.mark.slow) if name.startswith("rllib-") else name for name in names]


@pytest.mark.parametrize("name", quick(METHODS))
def test_what_was_trained_into_a_folder_acts_from_there(name, dataset, folder):
    seen: list[tuple[int, int]] = []
    method = METHODS[name]
    method.train(TINY, folder, dataset, SerialCollector(), 3, lambda done, total: seen.append((done, total)))
    made = json.loads((folder / "method.json").read_text())
    assert (made["name"], made["seed"]) == (name, 3)
    assert made["train_wall_s"] >= 0
    assert not seen or seen[-1][0] == seen[-1][1]
    record = dataset.tasks[0]
    contexts = [Context(record.demos), Context(record.demos, record.experts[:1])]
    assert all(SPEC.action_space.contains(action) for action in actions(method.load(folder, SPEC), contexts))


@pytest.mark.parametrize("name", quick(name for name, method in METHODS.items() if not method.needs_demo_actions))
def test_methods_that_say_so_do_without_actions_in_demonstrations(name, dataset, folder):
    record = dataset.tasks[0]
    shown = Context(tuple(demo.without_actions() for demo in record.demos))
    assert np.isfinite(actions(train_into(folder, name, dataset), [shown])).all()


@pytest.mark.parametrize("name", quick(name for name, method in METHODS.items() if not method.needs_demo))
def test_methods_that_say_so_do_without_demonstrations(name, dataset, folder):
    assert np.isfinite(actions(train_into(folder, name, dataset), [Context()])).all()


@pytest.mark.parametrize("name", ["bc", "wtl-paper"])
def test_training_again_after_it_was_stopped_ends_in_the_same_policy(name, dataset, tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        METHODS[name].train(TINY, tmp_path / "a", dataset, SerialCollector(), 0, stop)
    assert not (tmp_path / "a" / "method.json").exists()
    contexts = [Context(record.demos) for record in dataset.tasks]
    again, once = (actions(train_into(tmp_path / folder, name, dataset), contexts) for folder in "ab")
    np.testing.assert_array_equal(again, once)


def test_matched_baselines_have_the_mixture_of_the_policy_and_the_steps_of_its_time(dataset, folder):
    experiment = TINY.model_copy(update={"model": TINY.model.model_copy(update={"n_hypotheses": 6})})
    METHODS["bc-matched"].train(experiment, folder, dataset, SerialCollector(), 0, lambda done, total: None)
    config = json.loads((folder / "method.json").read_text())["config"]
    assert config["n_components"] == 6
    assert 1 <= config["steps"] < 1200  # 0.05 s are not worth the usual steps


def test_skills_of_another_policy_are_refused(dataset, folder, policy):
    train_into(folder, "skill-search", dataset)
    made = json.loads((folder / "method.json").read_text())
    made["config"]["policy"] = "another"
    (folder / "method.json").write_text(json.dumps(made))
    with pytest.raises(InvalidConfig, match="of another policy"):
        METHODS["skill-search"].load(folder, SPEC)


def test_a_folder_where_nothing_was_trained_is_refused(tmp_path):
    for method in METHODS.values():
        with pytest.raises(InvalidConfig):
            method.load(tmp_path, SPEC)


def test_a_damaged_folder_is_refused(dataset, tmp_path):
    train_into(tmp_path, "bc", dataset)
    (tmp_path / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(InvalidConfig, match="damaged"):
        METHODS["bc"].load(tmp_path, SPEC)


def test_trial_only_takes_as_many_steps_and_collects_nothing():
    experiment = find_experiment("reach-m2")
    alone = trial_only(experiment)
    assert alone.training.total_steps == experiment.training.total_steps
    assert alone.training.trials_per_task == 0
    assert alone.name != experiment.name
    assert (alone.model, alone.data, alone.family) == (experiment.model, experiment.data, experiment.family)


def test_without_trials_every_attempt_is_a_first_attempt(dataset, tmp_path):
    adapter = WithoutTrials(train_into(tmp_path, "wtl-paper", dataset))
    record = dataset.tasks[0]
    first, second = actions(adapter, [Context(record.demos), Context(record.demos, record.experts)])
    np.testing.assert_allclose(first, second, atol=1e-6)  # rows of one batch differ in the last bit
