import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from metalearn.config import ModelConfig, TrainingConfig
from metalearn.tasks.family import Family
from metalearn.training.batches import TrainingSet

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def own_task(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)
    import own_task

    yield own_task
    sys.modules.pop("own_task")


def test_the_family_of_the_example_is_one_and_its_environment_is_gymnasiums(own_task: ModuleType):
    family = own_task.Doors()
    assert isinstance(family, Family)
    for scene in ("demo", "trial"):
        check_env(family.make(0, scene), skip_render_check=True)


def test_the_demonstration_of_the_example_does_not_tell_opposite_doors_apart(own_task: ModuleType):
    north, south, east = (own_task.demonstrate(own_task.Doors(), [i], [5], "demo").episodes[0] for i in (0, 2, 1))
    assert north == south
    assert north != east


def test_failed_trials_that_were_recorded_become_context(own_task: ModuleType):
    data = TrainingSet(own_task.record(64), ModelConfig())
    batch = data.draw(TrainingConfig(), own_trials=True, generator=torch.Generator().manual_seed(0))
    failed = (batch.trials.success < 0) & batch.trials.mask
    assert 0.2 < failed.any(1).float().mean() < 0.7


@pytest.mark.slow
def test_the_example_learns_from_trials_with_an_expert_and_from_recorded_episodes(own_task: ModuleType):
    report = own_task.main(n_tasks=512, steps=200)
    for name, enough in (("wtl", 0.85), ("recorded", 0.65)):
        trial, retrial = (point.success for point in report.methods[name].curve)
        assert np.isclose(trial, 0.5, atol=0.08)
        assert retrial > enough
