"""BabyAI's levels, one mission a task."""

import numpy as np
import pytest

pytest.importorskip("minigrid", reason="the extra `babyai` is not installed")

from metalearn.tasks.envs.babyai import SYNONYMS, BabyAI, go_to_local, go_to_red_ball, put_next_local
from metalearn.tasks.family import SPLITS, SynonymFamily, make_vec
from metalearn.tasks.rollout import RandomActor, demonstrate, rollout

LEVELS = [go_to_red_ball(), go_to_local(), put_next_local()]
TEST = SPLITS["test"].start


@pytest.mark.parametrize("family", LEVELS, ids=lambda family: family.name)
def test_the_bot_fulfils_every_mission(family: BabyAI) -> None:
    indices = list(range(TEST, TEST + 12))
    shown = demonstrate(family, indices, list(range(12)), "demo")
    assert shown.success.all()
    for episode in shown.episodes:
        family.spec.check(episode)


@pytest.mark.parametrize("family", LEVELS, ids=lambda family: family.name)
def test_the_bot_corrects_whoever_strays(family: BabyAI) -> None:
    env = make_vec(family, [TEST, TEST + 1])
    played = rollout(env, RandomActor(env, 0), [0, 1], relabel=True)
    assert played.expert_actions is not None
    for episode, labels in zip(played.episodes, played.expert_actions, strict=True):
        assert len(labels) == len(episode)


def test_the_same_seed_lays_out_the_same_room_and_the_mission_is_not_seen() -> None:
    family = go_to_local()
    env = family.make(TEST)
    first, again, other = (env.reset(seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first["image"], again["image"])
    assert not np.array_equal(first["image"], other["image"])
    assert set(first) == {"direction", "image"} and env.observation_space.contains(first)


def test_new_missions_are_in_no_training() -> None:
    for family, n_new in ((go_to_local(), 3), (put_next_local(), 51)):
        missions = {family.mission(index) for index in range(2000)}
        assert len(family.new) == n_new and not missions & family.new
        assert {family.mission(TEST + index) for index in range(2000)} == set(family.missions)
        assert family.is_new(TEST + next(i for i in range(2000) if family.mission(TEST + i) in family.new))


def test_kinds_and_colours_of_new_missions_are_known_from_others() -> None:
    known = {family_mission[0] for family_mission in (go_to_local().mission(i) for i in range(100))}
    for kind, colour in (mission[0] for mission in go_to_local().new):
        assert kind in {k for k, _ in known} and colour in {c for _, c in known}


@pytest.mark.parametrize("family", LEVELS, ids=lambda family: family.name)
def test_synonyms_are_words_that_no_training_has(family: BabyAI) -> None:
    assert isinstance(family, SynonymFamily)
    known = {word for index in range(400) for one in family.sentences(index) for word in one.split()}
    assert not known & {word for synonym in SYNONYMS.values() for word in synonym.split()}
    for index in range(TEST, TEST + 40):
        said = family.synonym_sentences(index)
        assert len(said) == len(family.sentences(index))
        assert not any(word in SYNONYMS for one in said for word in one.strip(",.?").split())
