import numpy as np
import pytest

from metalearn.tasks.envs.reach_words import COLOURS, coloured
from metalearn.tasks.family import SPLITS, ParaphrasedFamily
from metalearn.tasks.registry import find_family

FAMILIES = ("reach-m2", "reach-m4", "reach-colour", "babyai-go-to-local", "babyai-put-next-local")


@pytest.mark.parametrize("name", FAMILIES)
def test_wordings_of_tests_are_none_of_training(name: str) -> None:
    family = find_family(name)
    assert isinstance(family, ParaphrasedFamily)
    tasks = range(200)
    known = {sentence for index in tasks for sentence in family.sentences(index)}
    held_out = {sentence for index in tasks for sentence in family.held_out_sentences(index)}
    assert known and held_out and not known & held_out


@pytest.mark.parametrize("name", ["reach-m2", "reach-m4", "reach-colour"])
def test_a_sentence_tells_the_candidates_of_a_task_apart(name: str) -> None:
    family, start = find_family(name), SPLITS["test"].start
    assert isinstance(family, ParaphrasedFamily)
    m = 4 if name == "reach-m4" else 2
    for group in range(start, start + 400, m):
        for said in (family.sentences, family.held_out_sentences):
            sentences = [set(said(index)) for index in range(group, group + m)]
            assert len(set.union(*sentences)) == sum(map(len, sentences))


def test_a_colour_has_the_nearest_name_and_two_of_one_name_are_compared() -> None:
    red, dark_red = (2 * np.array(one) - 1 for one in (COLOURS["red"], (0.9, 0.0, 0.0)))
    blue = 2 * np.array(COLOURS["blue"]) - 1
    assert list(coloured(np.array([red, blue]), 0, ("{colour}",))) == ["red"]
    assert list(coloured(np.array([red, dark_red]), 1, ("{colour}",))) == ["less red red"]
    assert list(coloured(np.array([red, dark_red]), 0, ("{colour}",))) == ["redder red"]
