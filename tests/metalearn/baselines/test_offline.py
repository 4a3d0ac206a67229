"""What RLlib learns from the Parquet export of demonstrations, and the export itself."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from gymnasium import spaces

from metalearn.baselines.methods import METHODS
from metalearn.baselines.offline import OfflineConfig, export_parquet, train_offline
from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.spec import Spec
from metalearn.tasks.registry import find_family
from metalearn.training.collect import DemonstrationChunk, SerialCollector, demonstrate_chunk

SEEN = spaces.Box(-1, 1, (2, 2), np.float32)


def recorded(spec: Spec, n_tasks: int = 3, labels: bool = False) -> Dataset:
    rng = np.random.default_rng(0)
    experts = [tuple(spec.example_episode(rng, n) for n in (4, 3)) for _ in range(n_tasks)]
    other = [tuple(np.zeros_like(e.actions) for e in pair) if labels else () for pair in experts]
    pairs = zip(experts, other, strict=True)
    return Dataset(spec, tuple(TaskRecord(f"any/{i:04d}", (), e, given) for i, (e, given) in enumerate(pairs)))


def rows_of(folder: Path) -> list[dict[str, object]]:
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_tasks_of_one_name_keep_their_episodes_apart(tmp_path):
    dataset = recorded(Spec(SEEN, spaces.Box(-1, 1, (3,), np.float32), 20, 10.0))
    export_parquet(replace(dataset, tasks=tuple(replace(one, task="pick") for one in dataset.tasks)), tmp_path)
    assert [row["eps_id"] for row in rows_of(tmp_path)] == [f"pick/{i}" for i in range(6)]


def test_a_row_is_an_episode_as_the_expert_did_it(tmp_path):
    dataset = recorded(Spec(SEEN, spaces.Box(-1, 1, (3,), np.float32), 20, 10.0))
    assert export_parquet(dataset, tmp_path) == 6
    rows = rows_of(tmp_path)
    assert [row["eps_id"] for row in rows][:3] == ["any/0000/0", "any/0000/1", "any/0001/0"]
    first = dataset.tasks[0].experts[0]
    np.testing.assert_array_equal(rows[0]["obs"], first.observations.reshape(5, 4))
    np.testing.assert_array_equal(rows[0]["actions"], first.actions)
    np.testing.assert_array_equal(rows[0]["rewards"], first.rewards)


def test_discrete_actions_count_from_0_and_labels_are_what_is_imitated(tmp_path):
    spec = Spec(SEEN, spaces.Discrete(3, start=2), 20, 10.0)
    export_parquet(recorded(spec), tmp_path / "executed")
    assert {action for row in rows_of(tmp_path / "executed") for action in row["actions"]} <= {0, 1, 2}
    several = Spec(SEEN, spaces.MultiDiscrete([2, 3], start=[1, 1]), 20, 10.0)
    export_parquet(recorded(several), tmp_path / "several")
    assert rows_of(tmp_path / "several")[0]["actions"] == (recorded(several).tasks[0].experts[0].actions - 1).tolist()
    labelled = recorded(Spec(SEEN, spaces.Box(-1, 1, (3,), np.float32), 20, 10.0), labels=True)
    export_parquet(labelled, tmp_path / "labels")
    assert not np.any([rows_of(tmp_path / "labels")[0]["actions"]])


def test_no_more_episodes_than_asked_for_are_written(tmp_path):
    dataset = recorded(Spec(SEEN, spaces.Discrete(3), 20, 10.0))
    assert export_parquet(dataset, tmp_path, 4) == len(rows_of(tmp_path)) == 4


def test_rllib_reads_what_was_written_as_whole_episodes(tmp_path):
    from ray.rllib.algorithms.bc import BCConfig

    from metalearn.baselines.offline_reader import WholeEpisodes

    dataset = recorded(Spec(SEEN, spaces.Box(-1, 1, (3,), np.float32), 20, 10.0))
    export_parquet(dataset, tmp_path)
    reader = WholeEpisodes.__new__(WholeEpisodes)  # its own part, without the networks that RLlib builds for it
    reader.config = BCConfig().environment(observation_space=SEEN, action_space=dataset.spec.action_space)
    table = pq.read_table(tmp_path / "episodes-00000.parquet")
    batch = {name: table[name].to_numpy() for name in table.column_names}
    episodes = reader._map_sample_batch_to_episode(batch)["episodes"]
    assert [len(episode) for episode in episodes] == [4, 3] * 3
    assert all(episode.is_terminated for episode in episodes)
    np.testing.assert_array_equal(episodes[1].get_actions(), dataset.tasks[0].experts[1].actions)


def test_marwil_wants_to_know_what_is_better():
    spec = Spec(SEEN, spaces.Box(-1, 1, (3,), np.float32), 20, 10.0)
    shown = spec.example_episode(np.random.default_rng(0))
    unscored = TaskRecord("any/0000", (), (Episode(shown.observations, shown.actions),))
    with pytest.raises(InvalidData, match=r"any/0000\.experts\[0\]: expected rewards or success"):
        train_offline(Dataset(spec, (unscored,)), OfflineConfig(beta=1.0, steps=1))


@pytest.fixture(scope="module")
def reach() -> Dataset:
    family, data = find_family("reach-m2"), DataConfig(n_tasks=64, experts_per_task=2)
    return Dataset(family.spec, tuple(demonstrate_chunk(DemonstrationChunk("reach-m2", tuple(range(64)), data, 0))))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["rllib-bc", "rllib-marwil"])
def test_rllib_learns_to_do_as_the_experts_do(name, reach, tmp_path):
    experiment = Experiment(
        name="small",
        family="reach-m2",
        model=ModelConfig(),
        training=TrainingConfig(warmup_steps=300, rounds=0),
    )
    seen: list[int] = []
    METHODS[name].train(experiment, tmp_path, reach, SerialCollector(), 0, lambda done, _: seen.append(done))
    assert json.loads((tmp_path / "method.json").read_text())["name"] == name
    assert seen == list(range(1, len(seen) + 1))
    assert mean_error(METHODS[name].load(tmp_path, reach.spec), reach) < 0.5 * mean_error(None, reach)


def mean_error(adapter, dataset: Dataset) -> float:
    """Mean squared error of actions on the experts' observations; of no action at all if there is no adapter."""
    errors = []
    for record in dataset.tasks[:16]:
        for observations, actions in record.targets():
            rows = [Context()] * len(observations)
            acted = adapter.adapt(rows, np.random.default_rng(0)).act(observations) if adapter else 0.0
            errors.append(np.square(acted - actions).mean())
    return float(np.mean(errors))
