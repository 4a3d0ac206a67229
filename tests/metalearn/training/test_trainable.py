"""What cannot be trained is refused in one sentence before anything is written; what little can be trained, is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.errors import InvalidConfig, InvalidData, WatchTryLearnError
from metalearn.data.spec import Spec
from metalearn.model.export import check_exportable
from metalearn.training.batches import MetaBatch, TrainingSet
from metalearn.training.loop import train

BOX = spaces.Box(-1, 1, (2,))
SPEC = Spec(spaces.Box(-np.inf, np.inf, (3,)), BOX, horizon=9, rate_hz=10.0)
USUAL = ModelConfig()
SHORT = TrainingConfig(warmup_steps=3, rounds=1, round_steps=2, anneal_steps=1, check_steps=10)


def record(i: int, spec: Spec = SPEC, n_steps: int | None = None, n_demos: int = 1, n_experts: int = 2) -> TaskRecord:
    rng = np.random.default_rng(i)
    episodes = [spec.example_episode(rng, n_steps) for _ in range(n_demos + n_experts)]
    return TaskRecord(f"own/{i}", tuple(episodes[:n_demos]), tuple(episodes[n_demos:]))


def recorded(n_tasks: int = 2, **how: int) -> Dataset:
    return Dataset(SPEC, tuple(record(i, **how) for i in range(n_tasks)))  # type: ignore[arg-type]


def experiment(model: ModelConfig = USUAL, family: str = "", **data: int) -> Experiment:
    return Experiment(name="own", family=family, model=model, training=SHORT, data=DataConfig(**data))  # type: ignore[arg-type]


def with_first(change: Callable[[TaskRecord], TaskRecord]) -> Dataset:
    first, *others = recorded().tasks
    return Dataset(SPEC, (change(first), *others))


UNFIT = {
    "no task": Dataset(SPEC, ()),
    "one task": recorded(1),
    "a name twice": Dataset(SPEC, (record(0), record(0))),
    "nothing to imitate": with_first(lambda r: replace(r, experts=())),
    "no actions to imitate": with_first(lambda r: replace(r, experts=(r.experts[0], r.experts[1].without_actions()))),
    "too few labels": with_first(lambda r: replace(r, labels=(np.zeros((5, 2), np.float32),))),
    "labels of another length": with_first(lambda r: replace(r, labels=(np.zeros((4, 2), np.float32),) * 2)),
    "labels of another size": with_first(lambda r: replace(r, labels=(np.zeros((5, 3), np.float32),) * 2)),
    "labels beyond the bounds": with_first(lambda r: replace(r, labels=(np.full((5, 2), 2, np.float32),) * 2)),
    "labels that are none": with_first(lambda r: replace(r, labels=(np.full((5, 2), np.nan, np.float32),) * 2)),
    "a trial of another size": with_first(
        lambda r: replace(r, trials=(record(1, replace(SPEC, observation_space=spaces.Box(-1, 1, (4,)))).demos[0],))
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_set_that_cannot_be_trained_on_is_refused_before_anything_is_written(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData):
        UNFIT[kind].check()
    with pytest.raises(InvalidData):
        train(experiment(), tmp_path / "run", dataset=UNFIT[kind])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wanted", "dataset"),
    [
        (experiment(), None),
        (experiment(family="reach-m2", n_tasks=1), None),
        (experiment(family="reach-m2", n_tasks=10_000_000), None),
        (experiment(family="reach-m2"), recorded()),
    ],
    ids=["nothing", "one task of a family", "more tasks than there are", "other spaces"],
)
def test_an_experiment_that_does_not_fit_is_refused_before_anything_is_written(
    wanted: Experiment, dataset: Dataset | None, tmp_path: Path
) -> None:
    with pytest.raises(InvalidConfig):
        train(wanted, tmp_path / "run", dataset=dataset)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "how"),
    [
        (ModelConfig(), {"n_steps": 1, "n_experts": 1}),
        (ModelConfig(), {"n_demos": 0, "n_experts": 1}),
        (ModelConfig(dynamics_rank=5), {}),
    ],
    ids=["one step", "no demonstration", "more dimensions of dynamics than tasks"],
)
def test_the_least_that_passes_the_check_can_be_trained(
    model: ModelConfig, how: dict[str, int], tmp_path: Path
) -> None:
    assert train(experiment(model), tmp_path, dataset=recorded(**how)).provenance["n_tasks"] == 2


@pytest.mark.parametrize("trials", [True, False])
def test_recorded_trials_are_learnt_from(trials: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first step on, beside episodes of the expert."""
    tasks = [replace(r, trials=(replace(r.demos[0], success=False),) if trials else ()) for r in recorded(16).tasks]
    config = Experiment(name="own", family="", training=TrainingConfig(steps=20, batch_tasks=8))
    outcomes, drawn = list[float](), TrainingSet.draw

    def draw(data: TrainingSet, *how: Any) -> MetaBatch:
        batch = drawn(data, *how)
        outcomes.extend(batch.trials.success[batch.trials.mask].tolist())
        return batch

    monkeypatch.setattr(TrainingSet, "draw", draw)
    train(config, tmp_path, dataset=Dataset(SPEC, tuple(tasks)))
    assert outcomes.count(1.0) > 20
    assert (-1.0 in outcomes[:10]) == (-1.0 in outcomes) == trials


@pytest.mark.parametrize(
    "actions",
    [
        spaces.Box(1000, 2000, (1,)),
        spaces.Box(-1e-5, -1e-6, (2,)),
        spaces.Box(np.array([5, -np.inf]), np.array([np.inf, -7]), dtype=np.float64),
        spaces.Box(np.array([3, -1]), np.array([3, 1]), dtype=np.float32),
        spaces.Box(-np.inf, np.inf, (1,)),
        spaces.Discrete(3, start=-4),
        spaces.MultiDiscrete([2, 3], start=[-1, 4]),
        spaces.Box(-1, 1, (2, 2)),
    ],
    ids=["far", "small", "half open", "constant", "open", "discrete", "several choices", "two axes"],
)
def test_any_action_space_has_examples_and_graphs(actions: spaces.Space[object]) -> None:
    spec = Spec(spaces.Box(30, 40, (2,)), actions, horizon=5, rate_hz=1.0)  # type: ignore[arg-type]
    spec.check(spec.example_episode(np.random.default_rng(0)))
    seen = spec.example_episode(np.random.default_rng(0)).observations
    assert seen.min() >= 30
    assert seen.max() <= 40
    check_exportable(ModelConfig(), spec)


def test_spaces_without_room_are_refused() -> None:
    for observations, wanted in ((spaces.Box(-1, 1, (0,)), BOX), (BOX, spaces.Box(-1, 1, (0,)))):
        with pytest.raises(InvalidConfig, match="at least one component"):
            Spec(observations, wanted, horizon=5, rate_hz=1.0)


def test_an_action_may_be_off_by_rounding_and_no_more() -> None:
    small = Spec(spaces.Box(-1, 1, (1,)), spaces.Box(-1e-3, 1e-3, (1,)), horizon=5, rate_hz=1.0)
    far = Spec(spaces.Box(-1, 1, (1,)), spaces.Box(1000, 2000, (1,)), horizon=5, rate_hz=1.0)
    episode = small.example_episode(np.random.default_rng(0), 1)
    for spec, just, beyond in ((small, 1e-3 + 5e-8, 1.05e-3), (far, 2000.02, 2000.5)):
        spec.check(replace(episode, actions=np.array([[just]], np.float32)))
        with pytest.raises(WatchTryLearnError, match="within the action space"):
            spec.check(replace(episode, actions=np.array([[beyond]], np.float32)))
