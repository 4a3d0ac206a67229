from collections.abc import Collection
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from metalearn.config import ModelConfig, TrainingConfig
from metalearn.data import spec as spec_module
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.frames import Frames
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.experiments import own_experiment
from metalearn.model.encoder import EpisodeTensors
from metalearn.training.batches import MEMORY_SHARE, MetaBatch, TrainingSet, _split_for_memory
from metalearn.training.collect import TaskTrials
from metalearn.training.episode_source import EpisodeSource

SPEC = Spec(spaces.Box(-1e6, 1e6, (1,)), spaces.Box(-1e6, 1e6, (1,)), horizon=4, rate_hz=1.0)
CONFIG = TrainingConfig(batch_tasks=256, demo_dropout=0.1)


def episode(number: int) -> Episode:
    """An episode that can be told by its number in every observation."""
    return Episode.of(np.full((3, 1), number), np.full((2, 1), number), [0.0, 1.0], True)


def dataset(n_tasks: int = 20) -> Dataset:
    """Task i: demos 100 i and 100 i + 1, experts 100 i + 10 and 100 i + 11."""
    return Dataset(
        SPEC,
        tuple(
            TaskRecord(
                f"own/{i}",
                (episode(100 * i), episode(100 * i + 1)),
                (episode(100 * i + 10), episode(100 * i + 11)),
            )
            for i in range(n_tasks)
        ),
    )


def with_trials(data: TrainingSet, n_tasks: int = 20, without_demos: Collection[int] = ()) -> TrainingSet:
    """Attempts 100 i + 20, 21, 22 of task i, relabelled; some were made without the demonstrations."""
    attempts = [tuple(episode(100 * i + 20 + j) for j in range(3)) for i in range(n_tasks)]
    tried = [TaskTrials(a, tuple(e.actions for e in a if e.actions is not None)) for a in attempts]
    data.replace_trials(tried, without_demos)
    return data


def numbers(batch: MetaBatch) -> list[tuple[set[int], list[int], int]]:
    """Per row: the demos, the trials in order, the target."""
    demos, trials = ((e.observations[:, :, 0, 0].long(), e.mask) for e in (batch.demos, batch.trials))
    return [
        (
            set(demos[0][row][demos[1][row]].tolist()),
            trials[0][row][trials[1][row]].tolist(),
            int(batch.observations[row, 0, 0]),
        )
        for row in range(len(batch.observations))
    ]


def draw(data: TrainingSet, own_trials: bool) -> list[tuple[set[int], list[int], int]]:
    generator = torch.Generator().manual_seed(0)
    return [row for _ in range(8) for row in numbers(data.draw(CONFIG, own_trials, generator))]


def test_context_and_target_are_of_one_task_and_the_target_is_never_in_the_context():
    for own_trials in (False, True):
        for demos, trials, target in draw(with_trials(TrainingSet(dataset(), ModelConfig())), own_trials):
            assert {number // 100 for number in (*demos, *trials)} <= {target // 100}
            assert target not in demos
            assert target not in trials


def test_every_kind_of_context_is_drawn():
    kinds = {
        (len(demos), tuple(number % 100 // 10 for number in trials), target % 100 // 10)
        for demos, trials, target in draw(with_trials(TrainingSet(dataset(), ModelConfig())), own_trials=True)
    }
    for wanted in [(0, (), 1), (1, (), 1), (2, (), 2), (1, (1,), 1), (1, (2,), 1), (2, (2, 2), 2)]:
        assert wanted in kinds


def test_an_own_attempt_is_imitated_in_the_context_it_was_made_in():
    for _, trials, target in draw(with_trials(TrainingSet(dataset(), ModelConfig())), own_trials=True):
        after_expert = any(number % 100 // 10 == 1 for number in trials)
        if target % 100 // 10 == 2 and not after_expert:
            assert trials == [target // 100 * 100 + 20 + j for j in range(target % 10)]


def test_own_attempts_for_the_memory_are_of_tasks_that_nothing_else_learns_from():
    plain = with_trials(TrainingSet(dataset(80), ModelConfig()), 80)
    assert plain.draw(CONFIG, True, torch.Generator()).attempts is None, "there is no memory"
    data = TrainingSet(dataset(80), ModelConfig(memory=2), own_trials=True)
    first = data.draw(CONFIG, False, torch.Generator())
    assert first.attempts is None, "nothing was tried yet"
    with_trials(data, 80, without_demos=(3,))
    generator, of_attempts, of_rest = torch.Generator().manual_seed(0), set(), tasks_of(first)
    for _ in range(16):
        batch = data.draw(CONFIG, True, generator)
        assert batch.attempts is not None
        assert len(batch.attempts.mask) == len(batch.mask) / 8
        of_attempts |= tasks_of(batch.attempts)
        of_rest |= tasks_of(batch)
    assert len(of_attempts) == 80 / 8
    assert max(of_attempts) < 80 / 4, "the first are tried first"
    assert of_rest | of_attempts == set(range(80))
    assert not of_rest & of_attempts


def test_without_own_trials_to_come_no_task_is_set_apart():
    data, generator = with_trials(TrainingSet(dataset(16), ModelConfig(memory=2)), 16), torch.Generator().manual_seed(0)
    batches = [data.draw(CONFIG, True, generator) for _ in range(16)]
    assert all(batch.attempts is None for batch in batches)
    assert set().union(*map(tasks_of, batches)) == set(range(16))


@pytest.mark.parametrize("n_tasks", [4096, 49_152])
def test_of_few_attempts_some_are_for_the_memory_and_some_for_the_rest_with_and_without_a_demonstration(n_tasks: int):
    source = EpisodeSource.__new__(EpisodeSource)
    source._experiment = own_experiment("any", "reach-m2")
    alone = source.without_demos(n_tasks)
    rest, for_memory = (set(one.tolist()) for one in _split_for_memory(n_tasks, MEMORY_SHARE))
    assert len(for_memory) == n_tasks * MEMORY_SHARE
    assert rest | for_memory == set(range(n_tasks))
    for n_tried in (256, 512, 1024):
        tried = set(range(n_tried))
        for ours in (tried & rest, tried & for_memory):
            assert len(ours) == pytest.approx(n_tried / 2, rel=0.2)
            assert 2 <= len(ours & alone) <= n_tried / 20


def test_an_own_attempt_stands_beside_all_that_it_was_made_on():
    data = TrainingSet(dataset(80), ModelConfig(memory=2), own_trials=True)
    alone = int(data._for_memory[0])
    with_trials(data, 80, without_demos=(alone,))
    batch = data.draw(CONFIG, True, torch.Generator().manual_seed(0)).attempts
    assert batch is not None
    for demos, trials, target in numbers(batch):
        task = target // 100 * 100
        assert target - task >= 20
        assert demos == (set() if task == 100 * alone else {task, task + 1})
        assert trials == list(range(task + 20, target))
    for known in (batch.demos, batch.trials):
        there = known.mask.float()
        assert there.any()
        assert torch.equal(known.has_actions, there)
        assert torch.equal(known.has_rewards, there)
        assert torch.equal(known.success, there)
    assert torch.equal(batch.remembered, batch.mask.float())


def tasks_of(batch: MetaBatch) -> set[int]:
    return {target // 100 for _, _, target in numbers(batch)}


def test_failures_are_learnt_from_more_often_than_successes():
    outcomes = [[False, True, True], [True, True, True], [None, False, True]]
    tried = [[replace(episode(10 * i + j), success=went) for j, went in enumerate(of)] for i, of in enumerate(outcomes)]
    data = TrainingSet(Dataset(SPEC, dataset().tasks[:3]), ModelConfig())
    data.replace_trials([TaskTrials(tuple(one), tuple(e.actions for e in one)) for one in tried])
    task, nobody = torch.arange(3).repeat(8000), torch.zeros(24_000, dtype=torch.bool)
    context, _ = data._draw_own(task, nobody, torch.Generator().manual_seed(0))
    lengths = (context >= 0).sum(1).view(-1, 3)
    for i, weights in enumerate([[0.5, 1.0, 0.25], [0.5, 0.25, 0.25], [0.5, 0.5, 1.0]]):
        share = torch.bincount(lengths[:, i], minlength=3) / len(lengths)
        torch.testing.assert_close(share, torch.tensor(weights) / sum(weights), rtol=0, atol=0.03)


def test_new_trials_take_the_place_of_earlier_ones():
    data = with_trials(with_trials(TrainingSet(dataset(), ModelConfig())))
    assert {t % 100 for _, trials, target in draw(data, True) for t in (*trials, target)} <= {10, 11, 20, 21, 22}


def test_forgetting_leaves_a_trial_scored():
    frames = Frames.of([episode(1)], 3, Units(SPEC))
    trials = EpisodeTensors.gather(frames, torch.zeros((200, 1), dtype=torch.long))
    known = trials.drop_modalities(
        torch.Generator().manual_seed(1),
        actions=0.5,
        rewards=0.5,
        success=0.9,
    )
    assert ((known.has_rewards > 0) | (known.success != 0)).all()
    assert (known.has_rewards == 0).any()
    assert (known.success == 0).any()


def test_large_pictures_are_packed_and_drawn_alike(monkeypatch: pytest.MonkeyPatch):
    parts = spaces.Dict(arm=spaces.Box(-9, 9, (3,)), camera=spaces.Box(0, 255, (20, 20, 3), np.uint8))
    rng = np.random.default_rng(0)

    def batches(bulky: int) -> tuple[Spec, list[MetaBatch]]:
        monkeypatch.setattr(spec_module, "BULKY", bulky)
        spec = Spec(parts, SPEC.action_space, horizon=9, rate_hz=1.0)
        tasks = [TaskRecord(f"own/{i}", tuple(shown), tuple(done)) for i, (shown, done, _) in enumerate(episodes)]
        data = TrainingSet(
            Dataset(spec, tuple(tasks)), ModelConfig(n_frames=3, frame_means=True, memory=2), own_trials=True
        )
        trials = [TaskTrials(tuple(tried), tuple(e.actions for e in tried)) for _, _, tried in episodes]
        drawn = []
        for own in (False, True):
            if own:
                data.replace_trials(trials)
            config = TrainingConfig(batch_tasks=16, demo_dropout=0.3, steps_per_episode=4)
            drawn.append(data.draw(config, own, torch.Generator().manual_seed(0)))
        return spec, drawn

    of = Spec(parts, SPEC.action_space, horizon=9, rate_hz=1.0).example_episode
    episodes = [[[of(rng)], [of(rng), of(rng)], [of(rng), of(rng)]] for _ in range(16)]
    (large, packed), (small, plain) = batches(1024), batches(10**6)
    assert (large.bulky, small.bulky) == (True, False)
    assert packed[1].attempts is not None
    attempts = [(one.attempts, other.attempts) for one, other in zip(packed, plain, strict=True) if one.attempts]
    for one, other in [*zip(packed, plain, strict=True), *attempts]:
        for field in fields(MetaBatch):
            a, b = getattr(one, field.name), getattr(other, field.name)
            if field.name == "attempts":
                continue
            for name in (f.name for f in fields(a)) if isinstance(a, EpisodeTensors) else ("",):
                torch.testing.assert_close(*((getattr(x, name) if name else x) for x in (a, b)), rtol=0, atol=0)
