from pathlib import Path

import numpy as np
import pytest

from metalearn.benchmark.ask_controls import best_tenth, everybody, shuffled, steps_of, trained_on, unlike
from metalearn.benchmark.figures import lines, rate
from metalearn.config import Experiment, ModelConfig, TrainingConfig
from metalearn.data.dataset import Dataset
from metalearn.evaluation.protocol import returned
from metalearn.experiments import find_experiment
from metalearn.tasks.registry import find_family
from metalearn.training.asking import alike_of, episodes_with_quality
from metalearn.training.collect import DemonstrationChunk, demonstrate_chunk
from metalearn.training.loop import train


@pytest.fixture(scope="module")
def gambled() -> Dataset:
    data = find_experiment("gambling").data
    records = demonstrate_chunk(DemonstrationChunk("gambling", tuple(range(8)), data, 0))
    return Dataset(find_family("gambling").spec, tuple(records))


def alike(dataset: Dataset) -> set[int]:
    return {len(same) for r in dataset.tasks for same in alike_of([e for e, _ in episodes_with_quality(r)])}


def test_a_naive_gambler_takes_luck_for_skill(gambled: Dataset):
    assert min(alike(gambled)) > 1
    naive = unlike(gambled)
    assert alike(naive) == {1}
    np.testing.assert_array_equal(returned(everybody(naive)), returned(everybody(gambled)))
    assert max(np.abs(e.observations - 1).max() for e in everybody(naive)) < 0.01


def test_shuffled_labels_are_the_same_returns_of_other_episodes(gambled: Dataset):
    before, after = (returned(everybody(one)) for one in (gambled, shuffled(gambled, 0)))
    np.testing.assert_array_equal(np.sort(before), np.sort(after))
    assert (before != after).mean() > 0.3
    done = [[e.actions for e in everybody(one)] for one in (gambled, shuffled(gambled, 0))]
    np.testing.assert_array_equal(*done)


def test_the_best_tenth_of_gamblers_had_luck(gambled: Dataset):
    best = everybody(best_tenth(gambled))
    assert len(best) == len(everybody(gambled)) // 10
    assert set(returned(best)) == {5.0}


def test_a_control_has_the_settings_and_at_most_the_steps_of_whom_it_stands_beside(gambled: Dataset, tmp_path: Path):
    usual = Experiment(
        name="own",
        family="gambling",
        model=ModelConfig(n_hypotheses=8, memory=0, latent_dim=16, asks=("return",)),
        training=TrainingConfig(steps=4, batch_tasks=4, check_steps=4, check_tasks=0),
    )
    subject = train(usual, tmp_path / "own", dataset=gambled)
    control = trained_on(tmp_path / "control", subject, shuffled(gambled, 0), ("return",))
    assert steps_of(control) <= steps_of(subject) == 4
    assert control.model | {"ask_offers": ()} == subject.model | {"ask_offers": ()}
    assert control.provenance["collections"] == []
    assert control.id != subject.id
    assert trained_on(tmp_path / "control", subject, gambled, ("return",)).id == control.id  # it is there
    assert trained_on(tmp_path / "control", control, gambled, ("return",)).id != control.id  # of another subject


def test_figures_are_said_with_their_intervals():
    said = lines("goal", {"reached": rate(np.array([True, True, False, False])), "runs": [1, 0.5]})
    assert said == ["goal", "  reached: 0.500 (0.150 .. 0.850)", "  runs: (1 .. 0.500)"]
