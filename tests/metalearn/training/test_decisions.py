"""What is decided from demonstrations, wherever nobody has set it."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

from metalearn.config import DataConfig, Experiment, ModelConfig, TrainingConfig
from metalearn.data.dataset import Dataset, Demonstrator, TaskRecord
from metalearn.data.spec import Spec
from metalearn.tasks.registry import find_family
from metalearn.training.collect import DemonstrationChunk, demonstrate_chunk
from metalearn.training.decisions import Decisions, decide, decide_data

ANY = Experiment(name="any", family="", training=TrainingConfig(steps=100))


def shown(family: str, n_tasks: int = 64) -> Dataset:
    chunk = DemonstrationChunk(family, tuple(range(n_tasks)), DataConfig(expert_noise=0.1), 0)
    return Dataset(find_family(family).spec, tuple(demonstrate_chunk(chunk)))


def value(decisions: Decisions, field: str) -> object:
    return {one.field: one.value for one in decisions.made}[field]


@pytest.mark.parametrize(
    ("family", "rank"), [("reach-m2", 0), ("reach-m4", 0), ("reach-dynamics", 2), ("dark-room", 0)]
)
def test_dynamics_are_looked_for_where_tasks_differ_in_them(family: str, rank: int) -> None:
    assert value(decide(ANY, shown(family)), "model.dynamics_rank") == rank


@pytest.mark.parametrize(
    ("family", "differ"), [("reach-manners", True), ("reach-plain", False), ("reach-m4", False), ("dark-room", False)]
)
def test_the_spread_of_actions_is_read_from_the_context_where_demonstrators_differ_in_it(
    family: str, differ: bool
) -> None:
    assert value(decide(ANY, shown(family, 256)), "model.context_sigma") is differ


def test_how_unsteady_demonstrators_are_does_not_depend_on_the_unit_of_actions() -> None:
    manners = shown("reach-manners", 256)
    for unit in (0.001, 1000.0):
        box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        spec = replace(manners.spec, action_space=box)
        tasks = tuple(
            replace(
                record,
                demos=(),
                experts=tuple(replace(e, actions=e.actions * np.float32(unit)) for e in record.experts),
                labels=tuple(label * np.float32(unit) for label in record.labels),
            )
            for record in manners.tasks
        )
        assert value(decide(ANY, Dataset(spec, tasks)), "model.context_sigma") is True


def test_who_shows_less_skill_for_the_sake_of_asks_is_no_demonstrator_to_be_as_unsteady_as() -> None:
    chunk = DemonstrationChunk("reach-m2", tuple(range(64)), DataConfig(graded_per_task=2), 0)
    graded = Dataset(find_family("reach-m2").spec, tuple(demonstrate_chunk(chunk)))
    assert value(decide(ANY, graded), "model.context_sigma") is False


def test_a_long_episode_is_read_at_more_frames_and_their_means() -> None:
    short = decide(ANY, shown("reach-m2", 8))
    assert (value(short, "model.n_frames"), value(short, "model.frame_means")) == (8, False)
    long = decide(ANY, shown("cheetah-vel", 2))
    assert (value(long, "model.n_frames"), value(long, "model.frame_means")) == (16, True)
    assert value(long, "training.steps_per_episode") == 16


def test_large_pictures_are_read_at_fewer_frames() -> None:
    assert value(decide(ANY, shown("reach-pixels", 8)), "model.n_frames") == 4


def test_entities_are_remembered_and_what_is_beside_them_is_read_at_few_frames() -> None:
    assert value(decide(ANY, shown("reach-colour", 8)), "model.n_frames") == 3


def test_what_somebody_set_is_kept_and_not_called_a_decision() -> None:
    own = ANY.model_copy(update={"model": ModelConfig(n_frames=3, memory=0)})
    decided = decide(own, shown("reach-m2", 8))
    assert (decided.experiment.model.n_frames, decided.experiment.model.memory) == (3, 0)
    assert {"model.n_frames", "model.memory"}.isdisjoint(one.field for one in decided.made)
    assert decided.experiment.model.n_hypotheses == 8


def test_what_pictures_tell_within_an_episode_is_remembered_too() -> None:
    remembered = [value(decide(ANY, shown(name, 8)), "model.memory") for name in ("reach-pixels", "reach-m2")]
    assert remembered == [32, 32]


def test_recorded_tasks_have_neither_trials_of_ones_own_nor_a_memory() -> None:
    decided = decide(ANY, shown("reach-m2", 8), own_trials=False)
    assert (value(decided, "training.trials_per_task"), value(decided, "model.memory")) == (0, 0)


def test_nothing_is_imitated_uncorrected_and_no_intention_guessed_where_nobody_demonstrates() -> None:
    others = [replace(one, demos=(), experts=(), labels=(), trials=one.demos) for one in shown("reach-m2", 8).tasks]
    decided = decide(ANY, Dataset(find_family("reach-m2").spec, tuple(others)))
    fields = ("training.trials_per_task", "model.memory", "model.n_hypotheses")
    assert [value(decided, field) for field in fields] == [0, 0, 1]


def test_continuous_experts_are_pushed_off_their_way() -> None:
    box, choice = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2)
    noises = [
        value(decide_data(ANY, Spec(box, actions, 10, 1.0), 100, side_by_side=True), "data.expert_noise")
        for actions in (box, choice)
    ]
    assert noises[0] > 0 == noises[1]


@pytest.mark.parametrize(
    ("n_train", "minutes", "steps", "n_tasks"),
    [
        (10**6, 20.0, None, 49_152),
        (10**6, 2.5, None, 10_240),
        (300, 20.0, None, 300),
        (10**6, None, 10, 1280),
        (1, 20.0, None, 2),
    ],
)
def test_tasks_are_as_many_as_there_are_and_as_are_learnt_from(
    n_train: int, minutes: float | None, steps: int | None, n_tasks: int
) -> None:
    training = TrainingConfig(minutes=minutes, steps=steps)
    own, spec = ANY.model_copy(update={"training": training}), find_family("reach-m2").spec
    assert value(decide_data(own, spec, n_train, side_by_side=True), "data.n_tasks") == n_tasks


def test_of_large_pictures_tasks_and_steps_are_fewer() -> None:
    spec, n = find_family("reach-pixels").spec, 10**6
    minutes = ANY.model_copy(update={"training": TrainingConfig(minutes=20.0)})
    assert value(decide_data(minutes, spec, n, side_by_side=True), "data.n_tasks") == 16_384
    done = spec.example_episode(np.random.default_rng(0))
    shown = Dataset(spec, tuple(TaskRecord(f"t/{i}", (done,), (done,)) for i in range(2)))
    assert value(decide(ANY, shown), "training.steps_per_episode") == 6


def test_every_decision_has_a_reason() -> None:
    made = decide(ANY, shown("reach-m2", 8)).made
    assert made
    assert all(len(one.reason.split()) > 2 for one in made)


@pytest.mark.parametrize(
    ("n_channels", "largest", "n_symbols"),
    [(3, 10, 11), (3, 15, 16), (3, 16, 0), (3, 255, 0), (4, 15, 16), (9, 1, 2), (9, 10, 0)],
)
def test_pictures_of_a_few_small_numbers_hold_symbols(n_channels: int, largest: int, n_symbols: int) -> None:
    view = spaces.Dict(facing=spaces.Discrete(4), view=spaces.Box(0, 255, (5, 5, n_channels), np.uint8))
    spec = Spec(view, spaces.Discrete(3), horizon=5, rate_hz=10.0)
    seen = spec.example_episode(np.random.default_rng(0))
    observations = seen.observations.copy()
    observations["view"] = observations["view"].clip(max=largest)
    observations["view"][0, 0, 0, 0] = largest
    seen = replace(seen, observations=observations)
    dataset = Dataset(spec, tuple(TaskRecord(f"t/{i}", demos=(seen,), experts=(seen,)) for i in range(2)))
    assert value(decide(ANY, dataset), "model.symbols") == (n_symbols,)


def test_pictures_of_symbols_are_found_in_the_episodes_of_whoever_plays() -> None:
    spec = Spec(spaces.Box(0, 9, (5, 5, 3), np.uint8), spaces.Discrete(3), horizon=5, rate_hz=10.0)
    played = tuple(spec.example_episode(np.random.default_rng(i)) for i in range(4))
    tasks = tuple(TaskRecord(f"t/{i}", (), (), others=(Demonstrator("play", 0.0, (), played),)) for i in range(2))
    assert value(decide(ANY, Dataset(spec, tasks)), "model.symbols") == (10,)
