from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.small_run import ASKING, SMALL, after

from metalearn.bundle import Bundle
from metalearn.config import DataConfig, ModelConfig, TrainingConfig
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig, WatchTryLearnError
from metalearn.data.spec import Spec
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.best_look import BestLook, Look, Weights
from metalearn.training.collect import (
    DemonstrationChunk,
    ProcessCollector,
    SerialCollector,
    Snapshot,
    demonstrate_chunk,
)
from metalearn.training.episode_source import EpisodeSource
from metalearn.training.events import Event, Stopped
from metalearn.training.learner import Learner
from metalearn.training.loop import train
from metalearn.training.run_store import RunStore, fetch_folder
from metalearn.training.schedule import AutomaticSchedule
from metalearn.training.searching import Explored, with_search


def same(a: Bundle, b: Bundle) -> bool:
    return a.weights.keys() == b.weights.keys() and all(np.array_equal(a.weights[k], b.weights[k]) for k in a.weights)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return train(SMALL, tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.parametrize(
    "n", [pytest.param(2, marks=pytest.mark.slow), 9, pytest.param(24, marks=pytest.mark.slow), 33]
)
def test_a_run_that_was_stopped_resumes_to_the_same_weights(tmp_path: Path, uninterrupted: Bundle, n: int):
    with pytest.raises(Stopped):
        train(SMALL, tmp_path, stopping=after(n))
    with pytest.raises(Stopped):
        train(SMALL, tmp_path, stopping=after(7))
    resumed = train(SMALL, tmp_path)
    assert same(resumed, uninterrupted)
    histories = [bundle.provenance["history"] for bundle in (resumed, uninterrupted)]
    assert histories[0] == histories[1]


@pytest.mark.slow
@pytest.mark.parametrize("n", [9, 30])
def test_a_run_that_learns_to_follow_asks_resumes_to_the_same_weights(tmp_path: Path, n: int):
    uninterrupted = train(ASKING, tmp_path / "uninterrupted")
    with pytest.raises(Stopped):
        train(ASKING, tmp_path / "stopped", stopping=after(n))
    resumed = train(ASKING, tmp_path / "stopped")
    assert resumed.id == uninterrupted.id
    assert resumed.provenance["history"] == uninterrupted.provenance["history"]
    assert [offer.kind for offer in resumed.asks] == ["return", "goal", "better"]
    assert resumed.asks == uninterrupted.asks
    assert not same(resumed, train(SMALL, tmp_path / "plain"))


class Vanishing(SerialCollector):
    """A collector that works ahead, and whose machines are gone when it is given the n-th moment."""

    def __init__(self, n: int) -> None:
        self._moments = after(n)

    def advance(self) -> None:
        if self._moments():
            raise WatchTryLearnError("the machines are gone")


@pytest.mark.parametrize("n", [pytest.param(4, marks=pytest.mark.slow), 17])
def test_a_collector_that_is_lost_is_noticed_while_nothing_is_collected_and_costs_time_alone(
    tmp_path: Path, uninterrupted: Bundle, n: int
):
    heard: list[Event] = []
    with pytest.raises(WatchTryLearnError, match="the machines are gone"):
        train(SMALL, tmp_path, collector=Vanishing(n), listen=heard.append)
    assert heard[-1].done < n
    resumed = train(SMALL, tmp_path)
    assert same(resumed, uninterrupted)
    assert resumed.provenance["history"] == uninterrupted.provenance["history"]


@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_run_that_dies_while_a_checkpoint_is_written_goes_on_from_the_one_before(
    tmp_path: Path, uninterrupted: Bundle, monkeypatch: pytest.MonkeyPatch, n: int
):
    written = after(n)

    def die(descriptor: int) -> None:
        if written():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", die)
        with pytest.raises(KeyboardInterrupt):
            train(SMALL, tmp_path)
    assert (tmp_path / "checkpoint.tmp").exists()
    assert (tmp_path / "checkpoint.safetensors").exists() == (n > 1)
    assert same(train(SMALL, tmp_path), uninterrupted)


@pytest.mark.slow
def test_another_seed_gives_other_weights(tmp_path: Path, uninterrupted: Bundle):
    assert not same(train(SMALL.with_seed(1), tmp_path), uninterrupted)


def test_a_folder_of_another_experiment_is_refused(tmp_path: Path):
    with pytest.raises(Stopped):
        train(SMALL, tmp_path, stopping=after(2))
    with pytest.raises(InvalidConfig, match="another experiment"):
        train(SMALL.with_seed(1), tmp_path)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path):
    with pytest.raises(Stopped):
        train(SMALL, tmp_path, stopping=after(30))
    (tmp_path / "checkpoint.safetensors").write_bytes(b"junk")
    with pytest.raises(InvalidConfig, match="not a checkpoint"):
        train(SMALL, tmp_path)


def test_the_listener_hears_of_every_phase_and_of_held_out_success(tmp_path: Path):
    heard: list[Event] = []
    bundle = train(SMALL, tmp_path, listen=heard.append)
    assert {event.phase for event in heard} == {"demonstrate", "train", "collect"}
    assert heard[-1].done == heard[-1].total == SMALL.training.total_steps
    assert len(heard[-1].success) > 1
    assert bundle.provenance["history"][-1]["step"] == SMALL.training.total_steps
    assert Bundle.load(tmp_path / "bundle").id == bundle.id


@pytest.mark.slow
def test_who_collects_does_not_change_what_is_collected():
    chunks = [DemonstrationChunk("reach-m2", tuple(range(i, i + 4)), DataConfig(), seed=3) for i in (0, 4)]
    here = list(SerialCollector().map(demonstrate_chunk, chunks))
    workers = ProcessCollector(2)
    try:
        there = list(workers.map(demonstrate_chunk, chunks))
    finally:
        workers.close()
    assert [[r.experts for r in records] for records in here] == [[r.experts for r in records] for records in there]


STALE = SMALL.model_copy(update={"training": SMALL.training.model_copy(update={"staleness": 4})})


@pytest.mark.slow
def test_stale_trials_are_of_an_earlier_policy_within_the_bound_and_resume_bit_for_bit(tmp_path: Path):
    straight = train(STALE, tmp_path / "straight")
    taken = straight.provenance["collections"]
    assert [(one["round"], one["version"], one["staleness"]) for one in taken] == [(1, 8, 4), (2, 14, 4)]
    assert [one["episodes"] for one in taken] == [80, 80]
    with pytest.raises(Stopped):
        train(STALE, tmp_path / "stopped", stopping=after(16))  # trials of step 8 are on their way
    workers = ProcessCollector(1)  # which works ahead
    try:
        resumed = train(STALE, tmp_path / "stopped", collector=workers)
    finally:
        workers.close()
    assert same(resumed, straight)
    assert resumed.provenance["collections"] == taken


def test_without_staleness_trials_are_of_the_policy_that_learns_from_them(uninterrupted: Bundle):
    assert [(one["version"], one["staleness"]) for one in uninterrupted.provenance["collections"]] == [(12, 0), (18, 0)]


def test_a_run_goes_on_from_its_copy_at_a_url(tmp_path: Path, uninterrupted: Bundle):
    url = f"memory://{tmp_path.name}/runs/small"
    with pytest.raises(Stopped):
        train(SMALL, RunStore(tmp_path / "machine", url), stopping=after(30))
    resumed = train(SMALL, RunStore(tmp_path / "another", url))
    assert same(resumed, uninterrupted)
    assert Bundle.load(fetch_folder(url + "/bundle", tmp_path / "fetched")).id == resumed.id


def test_a_url_that_nobody_can_open_is_one_sentence(tmp_path: Path):
    with pytest.raises(InvalidConfig, match="storage warp://runs: "):
        RunStore(tmp_path, "warp://runs")
    with pytest.raises(InvalidConfig, match="nothing at memory://nowhere/bundle"):
        fetch_folder("memory://nowhere/bundle", tmp_path)


def test_the_example_of_a_bundle_is_a_demonstration_that_it_was_trained_on(tmp_path: Path):
    bundle = train(SMALL.with_steps(1), tmp_path)
    demos = [demo for record in Dataset.load(tmp_path / "dataset").tasks for demo in record.demos]
    assert bundle.example in demos
    assert Bundle.load(tmp_path / "bundle").example == bundle.example


@pytest.mark.parametrize("with_memory", [False, True])
def test_a_search_remembers_validation_tasks_that_no_look_tries_and_is_kept_only_if_it_helps(
    with_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[Explored] = []

    def fitted(policy: Snapshot, spec: Spec, explored: list[Explored]) -> Snapshot | None:
        seen.extend(explored)
        halves = [replace(task, solved=(True, False) * policy.model.n_hypotheses) for task in explored]
        return with_search(policy, spec, halves)

    monkeypatch.setattr("metalearn.training.episode_source.MOST_EXPLORED", 6)
    monkeypatch.setattr("metalearn.training.episode_source.FEWEST_EXPLORED", 4)
    monkeypatch.setattr("metalearn.training.loop.with_search", fitted)
    training = TrainingConfig(steps=16, batch_tasks=8, check_tasks=8, trials_per_task=1, demo_dropout=0.0)
    given = SMALL.model.model_dump(exclude_unset=True) | {"dynamics_rank": 0} | ({} if with_memory else {"memory": 0})
    model = ModelConfig(**given)
    bundle = train(SMALL.model_copy(update={"model": model, "training": training}), tmp_path)
    assert len(seen) == 6
    assert {len(task.solved) for task in seen} == {2 * bundle.model["n_hypotheses"]}
    [decided] = [one for one in bundle.provenance["decisions"] if one["field"] == "model.search"]
    assert decided["value"] == bundle.model["search"]
    remembers = [one["value"] for one in bundle.provenance["decisions"] if one["field"] == "model.memory"]
    assert remembers == ([32, bundle.model["memory"]] if with_memory else [])
    assert not (bundle.model["memory"] and bundle.model["search"])
    assert bool(decided["value"]) == any(name.startswith("search.") for name in bundle.weights)
    assert "validation tasks are solved" in decided["reason"]
    assert bundle.provenance["weights_after_steps"] <= 16


def test_own_attempts_that_are_seen_by_a_camera_teach_a_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    beliefs: list[np.ndarray] = []
    infer_within = ConditionalPolicy.infer_within

    def noted(policy: ConditionalPolicy, *given: Any) -> Any:
        within = infer_within(policy, *given)
        beliefs.append(within.detach().exp().sum(-1).numpy())
        return within

    monkeypatch.setattr(ConditionalPolicy, "infer_within", noted)
    training = TrainingConfig(steps=8, batch_tasks=8, check_tasks=4, trials_per_task=1)
    own = {"family": "reach-pixels", "training": training, "model": ModelConfig(n_hypotheses=2, n_frames=2)}
    bundle = train(SMALL.model_copy(update=own), tmp_path)
    remembers = [one["value"] for one in bundle.provenance["decisions"] if one["field"] == "model.memory"]
    assert remembers[0] == 32
    assert beliefs
    assert all(np.allclose(belief, 1, atol=1e-4) for belief in beliefs)


@pytest.mark.parametrize("still_better", [False, True])
def test_an_earlier_look_is_kept_only_if_it_is_better_in_attempts_by_which_it_was_not_chosen(
    still_better: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first: list[Look] = []

    def earlier(best: BestLook, n_tasks: int) -> Look | None:
        first.extend([best.last] if best.last and not first else [])
        return first[0]

    def solved(source: EpisodeSource, policy: Snapshot, records: list[Any], n_attempts: int, number: int) -> Array:
        lucky = policy.version == first[0].step
        return np.linspace(0, 0.5, len(records)) + (0.5 if lucky == still_better else 0.0)

    monkeypatch.setattr(BestLook, "earlier", earlier)
    monkeypatch.setattr(BestLook, "surely_earlier", lambda best, n_tasks: earlier(best, n_tasks) and None)
    monkeypatch.setattr(EpisodeSource, "share_solved", solved)
    training = TrainingConfig(steps=16, batch_tasks=8, check_tasks=8, trials_per_task=1)
    bundle = train(SMALL.model_copy(update={"training": training}), tmp_path)
    assert first[0].step < 16
    assert bundle.provenance["weights_after_steps"] == (first[0].step if still_better else 16)


def test_a_phase_begins_with_the_weights_of_the_best_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone_back: list[int] = []
    look, go_back_to = AutomaticSchedule.look, Learner.go_back_to

    def over(schedule: AutomaticSchedule, *seen: Any) -> bool:
        look(schedule, *seen)
        return schedule.round > 0

    def note(learner: Learner, weights: Weights) -> None:
        go_back_to(learner, weights)
        gone_back.append(learner.steps)
        assert all(np.array_equal(now, weights[name]) for name, now in learner.averaged.to_weights().items())

    monkeypatch.setattr(AutomaticSchedule, "look", over)
    monkeypatch.setattr(BestLook, "earlier", lambda best, _: best.best)
    monkeypatch.setattr("metalearn.training.loop.is_still_better", lambda *_: True)
    monkeypatch.setattr(Learner, "go_back_to", note)
    training = TrainingConfig(steps=16, batch_tasks=8, check_tasks=8, trials_per_task=1)
    bundle = train(SMALL.model_copy(update={"training": training}), tmp_path)
    assert gone_back and min(gone_back) > bundle.provenance["collections"][0]["version"]


@pytest.mark.parametrize("staleness", [0, 3])
def test_a_training_that_decides_for_itself_resumes_bit_for_bit_and_may_learn_while_others_collect(
    staleness: int, tmp_path: Path
):
    training = TrainingConfig(
        steps=24, batch_tasks=8, check_tasks=8, check_steps=3, trials_per_task=1, anneal_steps=2, staleness=staleness
    )
    own = SMALL.model_copy(update={"training": training})
    whole = train(own, tmp_path / "whole")
    for n in (4, 13):
        with pytest.raises(Stopped):
            train(own, tmp_path / "stopped", stopping=after(n))
    assert same(train(own, tmp_path / "stopped"), whole)
    assert [one["staleness"] for one in whole.provenance["collections"]] == [staleness] * len(
        whole.provenance["collections"]
    )
    assert whole.provenance["collections"]
