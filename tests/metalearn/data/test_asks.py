import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalearn.data.asks import (
    NOTHING,
    Ask,
    AskOffer,
    Better,
    Goal,
    Hindsight,
    Return,
    features_of,
    kinds_of,
    sizes_of,
)
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData

RETURNS = Return.offer([Return(value) for value in (-90.0, *[0.0] * 99, *[5.0] * 99, *[10.0] * 99, 99.0)], "")
GOALS = Goal.offer([Goal((0.0, 1.0)), Goal((2.0, 1.0))], "")
BETTER = Better.offer([Better(0.0), Better(0.5), Better()], "")
RNG = np.random.default_rng(0)


def episode(*rewards: float) -> Episode:
    return Episode.of(np.zeros((len(rewards) + 1, 1)), np.zeros((len(rewards), 1)), rewards)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "ask: expected an object or null, got int"),
        ({"speed": 1}, 'ask: expected some of return, goal, better, words, got "speed"'),
        ({"return": None}, r"ask.return: expected a number from -1e\+30 to 1e\+30, got null"),
        ({"return": True}, r"ask.return: expected a number from -1e\+30 to 1e\+30, got bool"),
        ({"return": math.nan}, r"ask.return: expected a number from -1e\+30 to 1e\+30, got nan"),
        ({"return": 10**400}, r"ask.return: expected a number from -1e\+30 to 1e\+30, got a huge number"),
        ({"return": 1e31}, r"ask.return: expected a number from -1e\+30 to 1e\+30, got 1e\+31"),
        ({"goal": 1.0}, r"ask.goal: expected a list of numbers from -1e\+30 to 1e\+30, got float"),
        ({"goal": []}, r"ask.goal: expected 1 to 1024 numbers from -1e\+30 to 1e\+30, got 0"),
        ({"goal": [0, "1"]}, r"ask.goal\[1\]: expected a number from -1e\+30 to 1e\+30, got str"),
        ({"goal": [0, -math.inf]}, r"ask.goal\[1\]: expected a number from -1e\+30 to 1e\+30, got -inf"),
        ({"better": False}, "ask.better: expected true, or a number from 0 to 1, got bool"),
        ({"better": 1.5}, "ask.better: expected true, or a number from 0 to 1, got 1.5"),
    ],
)
def test_what_is_no_ask_is_refused_in_a_sentence(value: object, sentence: str):
    with pytest.raises(InvalidData, match=f"^{sentence}$"):
        Ask.from_json(value)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "return": st.floats(-1e30, 1e30),
            "goal": st.lists(st.floats(-1e30, 1e30), min_size=2, max_size=2),
            "better": st.just(True) | st.floats(0, 1),
        },
    )
)
def test_an_ask_survives_json_and_is_read_as_small_numbers(value: dict[str, object]):
    ask = Ask.from_json(value)
    assert ask.to_json() == value
    assert ask == Ask.from_json(ask.to_json())
    ask.check([RETURNS, GOALS, BETTER])
    [row] = features_of([ask], [RETURNS, GOALS, BETTER])
    ends = np.cumsum(sizes_of([RETURNS, GOALS, BETTER]))
    assert row.shape == (ends[-1],)
    assert np.abs(row).max(initial=0) <= 10
    assert row[ends - 1].tolist() == [float(kind.name in value) for kind in (Return, Goal, Better)]


def test_nothing_is_zeros():
    assert not features_of([NOTHING], [RETURNS, GOALS, BETTER]).any()
    assert features_of([NOTHING] * 3, []).shape == (3, 0)


def test_a_return_beyond_the_usual_range_is_its_end():
    assert (
        features_of([Ask((Return(1e9),))], [RETURNS]).tolist()
        == features_of([Ask((Return(10.0),))], [RETURNS]).tolist()
    )
    assert RETURNS.low == (0.0,)
    assert RETURNS.high == (10.0,)
    assert RETURNS.examples == (0.0, 0.0, 5.0, 10.0, 10.0)


def test_a_model_says_what_it_was_trained_for():
    with pytest.raises(InvalidData, match=r'ask: expected some of return \(.*\), goal \(.*\), got "better"'):
        Ask((Better(),)).check([RETURNS, GOALS])
    with pytest.raises(InvalidData, match=r"ask\.goal: expected 2 numbers, got 3"):
        Ask((Goal((1.0, 2.0, 3.0)),)).check([GOALS])
    with pytest.raises(InvalidData, match="ask: expected at most one value of each kind, got return, return"):
        Ask((Return(1.0), Return(2.0)))


def test_an_offer_survives_json():
    for offer in (RETURNS, GOALS, BETTER):
        assert AskOffer.of({name: list(v) if isinstance(v, tuple) else v for name, v in vars(offer).items()}) == offer


def test_kinds_are_named():
    assert kinds_of(["better", "return"]) == (Return, Better)
    with pytest.raises(InvalidConfig, match="asks: expected some of return, goal, better, words, got 'speed'"):
        kinds_of(["speed"])


def test_a_return_in_hindsight_is_free_of_luck():
    lucky, unlucky = episode(5.0), episode(-15.0)
    assert Return.in_hindsight(Hindsight(lucky, 1, alike=(lucky, unlucky)), RNG) == Return(-5.0)
    unrewarded = Episode.of(np.zeros((2, 1)), np.zeros((1, 1)))
    assert Return.in_hindsight(Hindsight(unrewarded, 1, alike=(unrewarded,)), RNG) is None


def test_a_goal_in_hindsight_is_what_was_achieved_at_the_end_of_what_is_imitated():
    one, achieved = episode(0.0, 0.0), np.array([[0.0], [1.0], [2.0]], np.float32)
    assert Goal.in_hindsight(Hindsight(one, 1, achieved=achieved), RNG) == Goal((1.0,))
    assert Goal.in_hindsight(Hindsight(one, 1), RNG) is None


def test_better_in_hindsight_is_the_difference_of_skill():
    one = episode(0.0)
    assert Better.in_hindsight(Hindsight(one, 1, quality=0.6, shown=0.2), RNG) == Better(0.4)
    assert Better.in_hindsight(Hindsight(one, 1, quality=0.2, shown=0.6), RNG) is None
    assert Better.in_hindsight(Hindsight(one, 1, quality=0.6), RNG) is None
    by_expert = {Better.in_hindsight(Hindsight(one, 1, quality=1.0, shown=0.25), RNG) for _ in range(30)}
    assert by_expert == {Better(), Better(0.75)}
