from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from support.small_run import SMALL

from metalearn.config import ModelConfig, TrainingConfig
from metalearn.data.asks import Ask, Goal, Return
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, Demonstrator, TaskRecord
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from metalearn.model.asks import AskReader
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.training.asking import goal_reader, offers_of
from metalearn.training.batches import MetaBatch, TrainingSet
from metalearn.training.collect import DemonstrationChunk, TaskTrials, demonstrate_chunk
from metalearn.training.loop import train
from metalearn.training.ways import Answer, way

SPEC = Spec(spaces.Box(-1e6, 1e6, (1,)), spaces.Box(-1e6, 1e6, (1,)), horizon=4, rate_hz=1.0)
CONFIG = TrainingConfig(batch_tasks=64, ask_share=2.0)
KINDS = ("return", "goal", "better")


def goals(observations: Array) -> Array:
    return observations[:, :1].astype(np.float32)


def episode(number: float, reward: float) -> Episode:
    return Episode.of(number + 0.1 * np.arange(4)[:, None], np.full((3, 1), number), [0.0, 0.0, reward], True)


def dataset(n_tasks: int = 64) -> Dataset:
    """Task i: the expert is 100 i + 1, the others 100 i + 20 of quality .2 and 100 i + 60 of quality .6."""
    records = []
    for i in range(n_tasks):
        others = tuple(
            Demonstrator(f"q{q}", q / 10, (episode(100 * i + 10 * q, 0.0),), (episode(100 * i + 10 * q + 1, q / 10),))
            for q in (2, 6)
        )
        expert = episode(100 * i + 1, 1.0)
        records.append(TaskRecord(f"own/{i}", (episode(100 * i, 1.0),), (expert,), others=others))
    return Dataset(SPEC, tuple(records))


def asking(data: Dataset, kinds: tuple[str, ...] = KINDS) -> TrainingSet:
    config = ModelConfig(asks=kinds, ask_offers=offers_of(kinds, data, goals, "", 0))
    return TrainingSet(data, config, goals)


def draw(data: TrainingSet, n: int = 8) -> list[MetaBatch]:
    generator = torch.Generator().manual_seed(0)
    return [data.draw(CONFIG, False, generator) for _ in range(n)]


def test_half_of_a_batch_is_as_if_nobody_ever_asked():
    data = dataset(100)
    plain = TrainingSet(data, ModelConfig()).draw(CONFIG, False, torch.Generator().manual_seed(0))
    batch = draw(asking(data), 1)[0]
    assert len(plain.mask) == 64
    assert len(batch.mask) == 64 + 128
    assert not batch.asks[:64].any()
    assert batch.asks[64:].any(1).float().mean() > 0.6


def test_what_is_asked_for_is_what_the_imitated_episode_was():
    data = asking(dataset(), ("return", "goal"))
    offers = data._config.ask_offers
    [returns, places] = offers
    for batch in draw(data):
        for row in range(64, len(batch.mask)):
            number = float(batch.actions[row, 0, 0])
            if batch.asks[row, 1]:  # a return
                asked = float(batch.asks[row, 0]) * returns.spread[0] + returns.mean[0]
                quality = {1: 1.0, 21: 0.2, 61: 0.6}[round(number) % 100]
                assert asked == pytest.approx(quality, abs=1e-3)
            if batch.asks[row, -1]:  # a goal: reached right after the steps that are imitated
                asked = float(batch.asks[row, 2]) * places.spread[0] + places.mean[0]
                last = float(batch.observations[row, int(batch.mask[row].nonzero().max()), 0])
                assert asked == pytest.approx(last + 0.1, abs=0.02)


def test_who_is_asked_for_a_goal_has_nothing_to_guess_and_everybody_else_may_have():
    for batch in draw(asking(dataset(), ("return", "goal"))):
        has_goal = batch.asks[:, -1] > 0
        assert torch.equal(batch.clear, has_goal)
        assert 0 < has_goal.float().mean() < 1 and batch.asks[:, 1][~has_goal].any()


def test_of_those_who_play_mostly_the_last_steps_before_a_goal_are_imitated():
    long = Episode.of(np.zeros((65, 1)), np.zeros((64, 1)), np.zeros(64), success=False)
    rng = np.random.default_rng(0)
    expert, other = ([way(Answer(0, long, quality, ()), rng) for _ in range(4000)] for quality in (1.0, 0.0))
    assert {steps.start for steps in expert} == {0}
    assert {steps.stop for steps in expert} == {steps.stop for steps in other} == set(range(1, 65))
    assert min(len(steps) for steps in other) == 1
    late = [len(steps) for steps in other if steps.stop > 60]
    shares = [np.mean([low <= n < 2 * low for n in late]) for low in (1, 2, 4, 8, 16, 32)]
    assert max(late) > 55
    np.testing.assert_allclose(shares, 1 / 6, atol=0.09)  # as many of each length, twice it, four times it
    graded, unknown = ([way(Answer(0, long, q, ()), rng).start == 0 for _ in range(4000)] for q in (0.8, None))
    assert all(graded) and 0.5 < np.mean(unknown) < 0.75


def test_steps_are_picked_between_a_start_and_an_end():
    steps = asking(dataset(), ("goal",))._steps
    index, starts, ends = torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2, 3])
    whole = steps.pick(index, 0, torch.Generator(), starts, ends)
    assert whole["mask"].tolist() == [[False, True, False], [True, True, True]]
    some = steps.pick(index, 2, torch.Generator().manual_seed(0), starts, ends)
    assert some["mask"].tolist() == [[True, False], [True, True]]  # a single step is not there twice
    assert (some["observations"][0, 0] == whole["observations"][0, 1]).all()
    assert some["remembered"][0].tolist() == [1, 0]
    drawn = [steps.pick(index, 2, torch.Generator().manual_seed(i), starts, ends) for i in range(50)]
    every = [tuple(int((row == whole["observations"][1]).all(-1).nonzero()[0, 0]) for row in one["observations"][1])
             for one in drawn]  # fmt: skip
    assert set(every) == {(0, 1), (0, 2), (1, 1), (1, 2)}  # one of each half of the three


def test_a_batch_asks_as_often_however_few_tasks_there_are():
    assert [len(batch.mask) for batch in draw(asking(dataset(10)), 1)] == [10 + 128]


def test_who_is_better_than_whom_is_shown():
    data = asking(dataset(), ("better",))
    differences = set()
    for batch in draw(data):
        for row in range(64, len(batch.mask)):
            shown = batch.demos.observations[row, 0, 0, 0] if batch.demos.mask[row].any() else None
            quality = {0: 1.0, 2: 0.2, 6: 0.6}
            imitated = quality[round(float(batch.actions[row, 0, 0])) % 100 // 10]
            if not batch.asks[row, 2]:
                if shown is not None:  # nobody asks: the quality that was watched
                    assert quality[round(float(shown)) % 100 // 10] == imitated
                continue
            assert shown is not None
            difference = imitated - quality[round(float(shown)) % 100 // 10]
            assert difference >= 0
            differences.add(round(difference, 1))
    assert differences == {0.0, 0.4, 0.8}


def test_own_attempts_answer_too():
    data = asking(dataset(), ("return",))
    attempts = [(episode(100 * i + 31, 0.3),) for i in range(64)]
    data.replace_trials([TaskTrials(a, tuple(e.actions for e in a if e.actions is not None)) for a in attempts])
    imitated = {round(float(n)) % 100 for batch in draw(data) for n in batch.actions[64:, 0, 0]}
    assert imitated >= {1, 21, 31, 61}


@pytest.mark.parametrize("own", [True, False])
def test_what_is_imitated_is_not_in_the_context_whatever_is_asked(own: bool) -> None:
    records = dataset().tasks
    trials = [(replace(episode(100 * i + 31, 0.3), success=False),) for i in range(len(records))]
    if not own:
        records = tuple(replace(r, trials=t) for r, t in zip(records, trials, strict=True))
    data = asking(Dataset(SPEC, records), ("return",))
    if own:
        data.replace_trials([TaskTrials(t, tuple(e.actions for e in t if e.actions is not None)) for t in trials])
    answered, generator = 0, torch.Generator().manual_seed(0)
    for _ in range(4):
        batch = data.draw(CONFIG, True, generator)
        for row in range(len(batch.mask)):
            imitated = round(float(batch.actions[row, 0, 0]))
            known = batch.trials.observations[row, batch.trials.mask[row], 0, 0].round().long().tolist()
            assert imitated not in known
            answered += row >= 64 and imitated % 100 == 31
    assert answered > 20


def test_an_own_attempt_for_the_memory_stands_beside_its_demonstration_whatever_is_asked():
    data, kinds = dataset(), ("return", "better")
    set_ = TrainingSet(
        data, ModelConfig(memory=2, asks=kinds, ask_offers=offers_of(kinds, data, goals, "", 0)), goals, own_trials=True
    )
    attempts = [(episode(100 * i + 30, 0.0), episode(100 * i + 31, 1.0)) for i in range(len(data.tasks))]
    set_.replace_trials([TaskTrials(a, tuple(e.actions for e in a if e.actions is not None)) for a in attempts])
    batch = set_.draw(CONFIG, True, torch.Generator().manual_seed(0)).attempts
    assert batch is not None
    assert batch.demos.mask.all()
    assert (batch.demos.observations[:, :, 0, 0] % 100 < 1).all(), "of the expert"
    assert (batch.observations[:, 0, 0].long() % 100 // 10 == 3).all()
    assert not batch.asks.any()


def test_without_an_expert_everything_is_an_answer():
    alone = tuple(replace(record, demos=(), experts=()) for record in dataset().tasks)
    data = asking(Dataset(SPEC, alone).check(), ("goal",))
    for batch in draw(data, 2):
        assert batch.asks.any(1).all()
        assert {round(float(n)) % 100 for n in batch.actions[:, 0, 0]} == {21, 61}
    [(task, batch)] = data.every_target("asks", 200)
    assert len(task) == 128
    assert batch.asks.any(1).all()
    assert not list(data.every_target("demos", 100))


def test_training_says_what_a_kind_needs():
    plain = Dataset(SPEC, tuple(replace(record, others=()) for record in dataset().tasks))
    with pytest.raises(InvalidConfig, match=r"model\.asks: better: expected training data with demonstrations, and"):
        offers_of(("better",), plain, None, "", 0)
    with pytest.raises(InvalidConfig, match=r"model\.asks: goal: expected training data with a family with the method"):
        offers_of(("goal",), plain, None, "", 0)


def test_goals_are_a_part_of_the_observation_or_the_familys_own():
    spec = replace(SPEC, observation_space=spaces.Dict(achieved_goal=spaces.Box(-1, 1, (2,)), rest=spaces.Discrete(3)))
    reader, seen = goal_reader(None, spec), spec.example_episode(np.random.default_rng(0)).observations
    assert reader is not None
    np.testing.assert_array_equal(reader(seen), seen["achieved_goal"])
    assert goal_reader(None, SPEC) is None


def test_a_policy_is_asked_for_what_it_was_trained_for(tmp_path):
    settings = {
        "model": SMALL.model.model_copy(update={"asks": ("return", "goal")}),
        "data": SMALL.data.model_copy(update={"graded_per_task": 1, "play_per_task": 1}),
    }
    bundle = train(SMALL.model_copy(update=settings), tmp_path)
    inference = Inference.load(bundle)
    asks = [
        Ask(),
        Ask((Return(0.0),)),
        Ask((Return(1.0),)),
        Ask((Goal((0.1, 0.2)),)),
        Ask((Return(1.0), Goal((0.1, 0.2)))),
    ]
    latents = np.stack([belief.latent for belief in inference.infer_belief([Context(ask=ask) for ask in asks])])
    assert np.abs(latents[:, None] - latents[None]).max(-1)[~np.eye(5, dtype=bool)].min() > 1e-4
    with pytest.raises(InvalidData, match=r"expected some of return \(.*\), goal \(.*\), got \"better\""):
        inference.infer_belief([Context(ask=Ask.from_json({"better": True}))])
    again = ConditionalPolicy.from_weights(ModelConfig.model_validate(bundle.model), bundle.spec, bundle.weights)
    assert again.config.ask_offers == inference.policy.config.ask_offers


def test_a_policy_that_is_shown_nothing_in_training_acts_as_it_was_trained(tmp_path):
    settings = {
        "model": SMALL.model.model_copy(update={"asks": ("goal",)}),
        "data": SMALL.data.model_copy(update={"demos_per_task": 0, "experts_per_task": 0, "play_per_task": 1}),
        "training": SMALL.training.model_copy(update={"rounds": 0, "trials_per_task": 0, "check_tasks": 0}),
    }
    weights = train(SMALL.model_copy(update=settings), tmp_path).weights
    # Running statistics of what never varies would be those of rounding errors, by which evaluation divides.
    assert not weights["encoder.normalise.running_mean"].any()
    assert (weights["encoder.normalise.running_var"] == 1).all()


def test_what_is_asked_for_changes_actions_from_the_first_step_of_training_on():
    torch.manual_seed(0)
    for n_features in (2, 4, 400):
        asks = torch.nn.functional.one_hot(torch.arange(2), n_features) * n_features**0.5
        added = AskReader((n_features,), 64, 256)(torch.zeros(2, 64), asks.float())
        assert 0.3 < float(added.detach().std()) < 3


def test_whoever_plays_needs_no_expert():
    data = SMALL.data.model_copy(
        update={"demos_per_task": 0, "experts_per_task": 0, "play_per_task": 2, "graded_per_task": 0}
    )
    records = demonstrate_chunk(DemonstrationChunk("reach-m2", (0, 1), data, 0))
    assert [[(one.source, one.quality, len(one.episodes)) for one in record.others] for record in records] == [
        [("play", 0.0, 2)]
    ] * 2
    held = np.concatenate([np.diff(e.actions, axis=0).any(1) for r in records for e in r.others[0].episodes])
    assert 0.1 < held.mean() < 0.35
