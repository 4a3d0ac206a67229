"""The loop on a local cluster: learners in the workers of Ray Train, episodes by actors, records by Ray Data."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ray

from metalearn.bundle import Bundle
from metalearn.cluster.data import StreamedData
from metalearn.cluster.train import train_on_learners
from metalearn.cluster.workers import RayCollector
from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data import dataset as dataset_module
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.tasks.registry import find_family
from metalearn.training.collect import DemonstrationChunk, demonstrate_chunk
from metalearn.training.events import Event, Stopped
from metalearn.training.loop import train
from metalearn.training.run_store import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SMALL = Experiment(
    name="small",
    family="reach-m2",
    data=DataConfig(n_tasks=40, chunk_tasks=8),
    model=ModelConfig(encoder_width=16, policy_width=16, latent_dim=8, n_hypotheses=2),
    training=TrainingConfig(
        warmup_steps=12,
        rounds=2,
        round_steps=6,
        batch_tasks=8,
        anneal_steps=4,
        check_steps=5,
        check_tasks=8,
        staleness=3,
    ),
)


@pytest.fixture(scope="module")
def collector():
    with RayCollector("local", n_actors=2, spare=3) as collector:  # room for two learners and their own actor
        yield collector


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train(SMALL, tmp_path_factory.mktemp("here"))


@pytest.mark.parametrize("n_actors", [1, 2])
def test_actors_change_nothing(collector: RayCollector, here: Bundle, tmp_path: Path, n_actors: int):
    collector.n_actors = n_actors
    there = train(SMALL, tmp_path, collector=collector)
    assert there.id == here.id
    assert there.provenance["collections"] == here.provenance["collections"]


def test_one_learner_on_ray_learns_the_same_bit_for_bit(collector: RayCollector, here: Bundle, tmp_path: Path):
    heard: list[Event] = []
    there = train_on_learners(SMALL, RunStore(tmp_path), learners=1, n_actors=1, listen=heard.append)
    assert there.id == here.id
    assert {event.phase for event in heard} >= {"demonstrate", "collect", "train"}
    assert there.provenance["cluster"]["learners"] == 1
    again = train_on_learners(SMALL, RunStore(tmp_path), learners=1, n_actors=1)
    assert again.id == here.id  # and nothing was trained again
    assert again.provenance["history"] == there.provenance["history"]


def test_asks_are_learnt_on_ray_as_in_one_process(collector: RayCollector, tmp_path: Path):
    asking = SMALL.model_copy(
        update={
            "model": SMALL.model.model_copy(update={"asks": ("return", "better")}),
            "data": SMALL.data.model_copy(update={"graded_per_task": 1}),
        }
    )
    here = train(asking, tmp_path / "here")
    assert [offer.kind for offer in here.asks] == ["return", "better"]
    assert train(asking, tmp_path / "actors", collector=collector).id == here.id
    assert train_on_learners(asking, RunStore(tmp_path / "learner"), learners=1, n_actors=1).id == here.id


def test_two_learners_stop_and_go_on_at_a_url(collector: RayCollector, here: Bundle, tmp_path: Path):
    store = RunStore(tmp_path / "run", f"file://{tmp_path}/elsewhere")
    steps: list[int] = []

    def listen(event: Event) -> None:
        steps.append(event.done if event.phase == "train" else 0)

    with pytest.raises(Stopped, match="the same command resumes"):
        train_on_learners(SMALL, store, learners=2, n_actors=1, listen=listen, stopping=lambda: True)
    there = train_on_learners(SMALL, store, learners=(1, 2), n_actors=1)
    assert len(there.provenance["collections"]) == 2
    losses = [[entry["loss"] for entry in bundle.provenance["history"]] for bundle in (here, there)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)
    with pytest.raises(InvalidConfig, match="another experiment"):
        train_on_learners(SMALL.with_seed(1), store, learners=1, n_actors=1)


def test_a_learner_that_is_killed_costs_time_alone(collector: RayCollector, here: Bundle, tmp_path: Path):
    killed: list[int] = []

    def kill(event: Event) -> None:
        if event.phase == "train" and event.done >= 5 and not killed:
            actors = (
                ray._private.state.actors().values()
            )  # the public list is the dashboard's, which this cluster has not
            learners = [a for a in actors if a["ActorClassName"] == "RayTrainWorker" and a["State"] == "ALIVE"]
            killed.extend(learner["Pid"] for learner in learners)
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    there = train_on_learners(SMALL, RunStore(tmp_path), learners=1, n_actors=1, listen=kill)
    assert killed
    assert there.id == here.id


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 tasks in 5 shards."""
    folder = tmp_path_factory.mktemp("recorded")
    chunk = DemonstrationChunk("reach-m2", tuple(range(40)), DataConfig(), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_module, "TASKS_PER_SHARD", 8)
        Dataset(find_family("reach-m2").spec, tuple(demonstrate_chunk(chunk))).save(folder)
    return folder


def test_records_come_in_windows_that_hold_every_task_once_an_epoch(collector: RayCollector, recorded: Path):
    stream = StreamedData(f"file://{recorded}", seed=3, window_tasks=8, window_steps=10)
    assert (stream.n_tasks, stream.max_trials) == (40, 0)
    windows = [stream.at(10 * i) for i in range(10)]
    assert stream.at(95) is None
    tasks = [[record.task for record in window.tasks] for window in windows if window]
    first, second = ([task for window in half for task in window] for half in (tasks[:5], tasks[5:]))
    assert sorted(first) == sorted(second)
    assert len(set(first)) == 40
    later = StreamedData(f"file://{recorded}", seed=3, window_tasks=8, window_steps=10).at(73)
    assert later is not None
    assert [record.task for record in later.tasks] == tasks[7]


def test_records_that_fit_are_learnt_from_as_in_one_process(collector: RayCollector, recorded: Path, tmp_path: Path):
    experiment = SMALL.model_copy(update={"family": ""})
    here = train(experiment, tmp_path / "here", dataset=Dataset.load(recorded))
    stream = StreamedData(f"file://{recorded}", seed=0, window_tasks=40, window_steps=10)
    assert train(experiment, tmp_path / "there", dataset=stream).id == here.id


def test_no_records_are_one_sentence():
    with pytest.raises(InvalidConfig, match="no dataset at file:///nowhere"):
        StreamedData("file:///nowhere", 0, 8, 8)


def test_the_command_with_tokens_killed_and_given_again_ends_as_it_would_have(tmp_path: Path):
    command = [sys.executable, "-m", "wtl.cli", "train", "reach-m2", "--steps", "60", "--no-baselines"]
    command += ["--ray", "--ray-address", "local", "--actors", "1", "--staleness", "5"]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_MODE"}
    process = subprocess.Popen([*command, "--out", tmp_path / "killed"], env=environment)
    deadline = time.monotonic() + 400
    while not (tmp_path / "killed" / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.kill()
    process.wait()
    subprocess.run([*command, "--out", tmp_path / "killed"], check=True, env=environment)
    plain = [*command[:8], "--staleness", "5", "--out", tmp_path / "plain"]
    subprocess.run(plain, check=True)
    assert Bundle.load(tmp_path / "killed" / "bundle").id == Bundle.load(tmp_path / "plain" / "bundle").id
