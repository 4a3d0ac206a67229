import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from metalearn.data.asks import Ask, AskOffer, Hindsight, Words, features_of
from metalearn.data.asks.words import LONGEST
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData

SENTENCES = ("go to the red ball", "go to the blue key", "go to the green box")
OFFER = Words.offer([Words(one) for one in SENTENCES], "bag-of-words")
EPISODE = Episode(np.zeros((2, 1), np.float32), np.zeros((1, 1), np.float32))


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "got null"),
        (3, "got int"),
        (["go"], "got list"),
        ("", "got none but space"),
        (" \n\t ", "got none but space"),
        ("x" * (LONGEST + 1), f"got {LONGEST + 1} characters"),
        ("go\x00", r"got U\+0000"),
        ("go \x1b[31m", r"got U\+001B"),
        ("go \ud800", r"got U\+D800"),
    ],
)
def test_what_is_no_sentence_is_refused_without_being_repeated(value: object, got: str) -> None:
    with pytest.raises(InvalidData, match=rf"ask\.words: expected a sentence of 1 to .*{got}"):
        Ask.from_json({"words": value})


def test_space_and_the_way_accents_are_written_do_not_count() -> None:
    assert Words.from_json("  go\tto \n the cafe\u0301 ") == Words("go to the café")
    assert Words.from_json("走到红色的球").to_json() == "走到红色的球"


def test_in_hindsight_one_of_the_sentences_was_said() -> None:
    rng = np.random.default_rng(0)
    drawn = {Words.in_hindsight(Hindsight(EPISODE, 1, sentences=SENTENCES), rng) for _ in range(50)}
    assert drawn == {Words(one) for one in SENTENCES}
    assert Words.in_hindsight(Hindsight(EPISODE, 1), rng) is None


def test_sentences_of_training_are_about_one_unit_apart() -> None:
    numbers = features_of([Ask((Words(one),)) for one in SENTENCES] + [Ask()], [OFFER])
    assert numbers.shape == (4, Words.size(OFFER) + 1)
    np.testing.assert_allclose(numbers[:3, :-1].mean(0), 0, atol=1e-4)
    assert numbers[:3, :-1].std() == pytest.approx(1, abs=1e-3)
    assert not numbers[3].any() and numbers[:3, -1].all()


def test_an_offer_survives_json() -> None:
    assert AskOffer.of(json.loads(json.dumps(asdict(OFFER)))) == OFFER
    assert OFFER.examples == SENTENCES


def test_one_sentence_alone_has_a_unit_too() -> None:
    offer = Words.offer([Words("go")], "bag-of-words")
    assert np.isfinite(Words("stop").features(offer)).all()


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("bag-of-words@another", "bag-of-words 1 is installed here"),
        ("no-such@1", "unknown sentence encoder 'no-such'"),
    ],
)
def test_another_encoder_than_that_of_training_is_refused(encoder: str, said: str) -> None:
    Words("go").check(OFFER)
    with pytest.raises(InvalidData, match=said) as caught:
        Words("go").check(replace(OFFER, encoder=encoder))
    assert caught.value.field == "ask.words"
