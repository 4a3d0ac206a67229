"""What a kind of ask says of itself: what it accepts, what it remarks on a value, and how a shell writes it."""

import numpy as np
import pytest
from support.asks import OFFERS

from metalearn.data.asks import Ask, AskOffer, Better, Goal, Return, accepted
from metalearn.data.errors import InvalidData

RETURN, GOAL, BETTER, _ = OFFERS


def test_a_model_says_in_one_line_what_it_can_be_asked_for() -> None:
    assert accepted(()) == "null: this model was trained for no ask"
    assert accepted((RETURN, BETTER)) == (
        "some of return (a number from -20 to 120), better (true, or a number from 0 to 1)"
    )
    assert Goal.accepted(AskOffer("goal", (0.0,), (1.0,), (0.5,), (1.0,))) == "a list of 1 number from 0 to 1"
    long = np.zeros((2, 100))
    assert Goal.accepted(AskOffer.fitted("goal", long)) == "a list of 100 numbers"


@pytest.mark.parametrize(
    ("value", "remark"),
    [
        (Return(-20.0), None),
        (Return(120.5), "return is 120.5, and those of training were -20 to 120: it counts as 120"),
        (Return(-1e9), "return is -1e+09, and those of training were -20 to 120: it counts as -20"),
        (Goal((0.0, 0.5)), None),
        (Goal((0.0, 0.75)), "goal[1] is 0.75, and those of training were 0 to 0.5"),
        (Better(1.0), None),
    ],
)
def test_what_is_out_of_range_is_remarked_on(value: Return | Goal | Better, remark: str | None) -> None:
    assert Ask((value,)).remarks(OFFERS) == (() if remark is None else (remark,))


def test_a_return_out_of_range_is_read_as_the_nearest_end() -> None:
    assert Return(1e9).features(RETURN) == Return(120.0).features(RETURN)


def test_a_goal_is_read_with_its_sines_where_a_model_was_trained_so() -> None:
    before = AskOffer("goal", (0.0,), (4.0,), (2.0,), (1.0,))
    assert Goal((2.5,)).features(before).tolist() == [0.5]
    now = AskOffer.fitted("goal", np.array([[1.0], [3.0]]), sines=(1.0,))
    np.testing.assert_allclose(Goal((2.5,)).features(now), [0.5, 1.0, 0.0], atol=1e-6)  # a quarter of a turn
    assert (Goal.size(before), Goal.size(now)) == (1, 3)
    assert Goal.offer([Goal((1.0,)), Goal((3.0,))]).sines


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Return, "120", 120),
        (Return, "1e2", 100.0),
        (Return, "much", "much"),
        (Goal, "0.3, 0.2", [0.3, 0.2]),
        (Goal, "[1]", [1]),
        (Goal, "1", [1]),
        (Better, "true", True),
        (Better, "0.25", 0.25),
    ],
)
def test_a_shell_writes_values_without_brackets(kind: type[Return | Goal | Better], text: str, value: object) -> None:
    assert kind.from_text(text) == value


def test_numpy_says_the_same_as_lists_and_numbers() -> None:
    given = {"return": np.float64(7), "goal": np.array([0.5, 0.25]), "better": np.bool_(True)}
    assert Ask.from_json(given).to_json() == {"return": 7.0, "goal": [0.5, 0.25], "better": True}
    with pytest.raises(InvalidData, match=r"ask.goal\[0\]: expected a number from -1e\+30 to 1e\+30, got bool"):
        Ask.from_json({"goal": np.array([True, False])})
    with pytest.raises(InvalidData, match=r"ask.return: expected a number from -1e\+30 to 1e\+30, got list"):
        Ask.from_json({"return": np.array([1.0])})


def test_kinds_that_a_model_does_not_know_are_named_before_values_are_read() -> None:
    with pytest.raises(InvalidData, match=r'ask: expected some of return \(.*\), got "goal"'):
        Ask.received({"goal": "nowhere"}, (RETURN,))
    assert Ask.received(None, ()) == Ask.received({}, ()) == Ask()
