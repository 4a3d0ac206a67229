"""Settings: every field by its name, what is wrong in one sentence, and an option never decides one silently again."""

import json
import pickle

import pytest

from metalearn.benchmark.by_hand import BY_HAND
from metalearn.config import Experiment
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.experiments import EXPERIMENTS, own_experiment
from metalearn.settings import InvalidSetting, decided, parse, settings, with_settings
from metalearn.tasks.registry import find_family
from metalearn.training.collect import DemonstrationChunk, demonstrate_chunk
from metalearn.training.decisions import decide, decide_data

DARK = BY_HAND["dark-room"]
FREE = [one for one in settings().values() if not one.set_by]


def test_settings_change_what_they_name_and_nothing_else():
    other = with_settings(DARK, parse(["model.n_frames=16", "training.minutes=5", "data.demo_actions=false", "seed=3"]))
    assert (other.model.n_frames, other.training.minutes, other.data.demo_actions, other.seed) == (16, 5.0, False, 3)
    back = {"model.n_frames": 4, "training.minutes": None, "data.demo_actions": True, "seed": 0}
    assert with_settings(other, back) == DARK


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("model.fourier=[0.5, 2]", (0.5, 2.0)),
        ("model.fourier=0.5,2", (0.5, 2.0)),
        ("model.fourier=2", (2.0,)),
        ("model.fourier=", ()),
        ("model.asks=words,goal", ("goal", "words")),
        ("model.asks=words", ("words",)),
        ("data.n_tasks=2e3", 2000),
        ("training.minutes=null", None),
        ("model.image_encoder=networks:small", "networks:small"),
    ],
)
def test_a_value_is_json_or_a_list_with_commas_or_a_word(written, value):
    section, field = written.partition("=")[0].split(".")
    assert getattr(getattr(with_settings(DARK, parse([written])), section), field) == value


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("model.n_frame=4", "unknown setting 'model.n_frame'; did you mean model.n_frames?"),
        ("n_frames=4", "unknown setting 'n_frames'; did you mean model.n_frames?"),
        ("nonsense=4", "unknown setting 'nonsense'; `wtl settings` lists them"),
        ("model.n_frames=1", "model.n_frames: expected a whole number, at least 2 and at most 10,000, got 1"),
        ("model.n_frames=many", "got \"many\""),
        ("model.n_frames=true", "got true"),
        ("model.n_frames=2.5", "got 2.5"),
        ("training.learning_rate=NaN", "training.learning_rate: expected a number, more than 0, got NaN"),
        ("training.learning_rate=1e999", "got Infinity"),
        ("data.demo_actions=1", "data.demo_actions: expected true or false, got 1"),
        ("model.fourier=null", "model.fourier: expected a list of numbers, got null"),
        ("model.image_encoder=resnet", "expected a word, as scratch or package.module:function, got \"resnet\""),
        ("model.units={}", "model.units is not for you to set: it follows from training"),
        ("model.n_frames", "--set: expected NAME=VALUE, as model.n_frames=16, got 'model.n_frames'"),
        ("=4", "--set: expected NAME=VALUE"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_one_sentence(written, sentence):
    with pytest.raises(InvalidSetting) as refused:
        with_settings(DARK, parse([written]))
    assert sentence in str(refused.value)
    assert isinstance(refused.value, InvalidConfig)


def test_a_name_has_one_value():
    with pytest.raises(InvalidSetting, match=r"model.n_frames: expected one value, got two"):
        parse(["model.n_frames=4", "model.n_frames=5"])


def test_the_error_names_field_expected_and_got_in_another_process_too():
    with pytest.raises(InvalidSetting) as refused:
        with_settings(DARK, {"model.n_frames": 1})
    again = pickle.loads(pickle.dumps(refused.value))
    assert (again.field, again.got, str(again)) == ("model.n_frames", "1", str(refused.value))


@pytest.mark.parametrize("one", settings().values(), ids=lambda one: one.name)
def test_every_field_says_what_it_means_and_what_its_absence_means(one):
    assert one.meaning and "\n" not in one.meaning and not one.meaning.endswith(".")
    assert one.default is not None or one.decided or "null:" in one.meaning


@pytest.mark.parametrize("one", FREE, ids=lambda one: one.name)
def test_every_default_can_be_written_as_it_is_shown(one):
    usual = Experiment(name="any", family="")
    assert with_settings(usual, parse([f"{one.name}={json.dumps(one.default)}"])) == usual


def test_the_fields_that_are_said_to_be_decided_are_those_that_a_training_decides():
    usual, family = Experiment(name="any", family="reach-m2"), find_family("reach-m2")
    records = demonstrate_chunk(DemonstrationChunk("reach-m2", (0, 1, 2, 3), usual.data, 0))
    made = (
        decide_data(usual, family.spec, 100, side_by_side=True).made
        + decide(usual, Dataset(family.spec, tuple(records))).made
    )
    assert {one.field for one in made} == {one.name for one in FREE if one.decided}


def test_what_has_no_effect_where_phases_end_by_themselves_is_refused():
    own = own_experiment("doors", "")
    with pytest.raises(
        InvalidSetting, match=r"training.warmup_steps has no effect: the phases of this training end by"
    ):
        decided(own, {"training.warmup_steps": 100})
    fixed = decided(own, {"training.warmup_steps": 100, "training.minutes": None})
    assert (fixed.training.automatic, fixed.training.warmup_steps) == (False, 100)
    assert decided(own, {"training.trials_per_task": 2}, steps=50).training.total_steps == 50


def test_what_nobody_set_may_still_be_decided():
    changed = with_settings(Experiment(name="any", family=""), {"model.n_frames": 5})
    assert (changed.model.model_fields_set, changed.training.model_fields_set) == ({"n_frames"}, set())


def test_every_experiment_can_be_written_as_settings():
    usual = Experiment(name="any", family="")
    for experiment in EXPERIMENTS.values():
        content = experiment.model_dump(mode="json")
        values = {one.name: content[one.name.split(".")[0]][one.name.split(".")[1]] for one in FREE if "." in one.name}
        made = with_settings(usual, values)
        assert (made.data, made.model, made.training) == (experiment.data, experiment.model, experiment.training)


def test_steps_end_a_training_however_many_minutes_it_had():
    family = DARK.with_minutes(20)
    assert decided(family, {}).training.minutes == 20
    short = decided(family, {}, steps=100)
    assert (short.training.minutes, short.training.total_steps) == (None, 100)


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({}, {"steps": 100, "minutes": 5}, "steps and minutes both say when the training ends"),
        ({"training.minutes": 5}, {"steps": 100}, "training.minutes is set, and steps decides it too"),
        ({"training.warmup_steps": 7}, {"steps": 100}, "training.warmup_steps is set, and steps decides it too"),
        ({"seed": 7}, {"seed": 8}, "seed is set, and seed decides it too"),
        ({"training.staleness": 7}, {"staleness": 8, "seed": 1}, "seed or staleness decides it too"),
    ],
)
def test_what_is_decided_twice_is_refused(changes, options, sentence):
    with pytest.raises(InvalidSetting, match=sentence):
        decided(DARK, changes, **options)


def test_settings_and_options_that_agree_are_no_contradiction():
    made = decided(DARK, {"training.rounds": 0, "seed": 1}, steps=100, seed=1)
    assert (made.training.total_steps, made.training.rounds, made.seed) == (100, 0, 1)
