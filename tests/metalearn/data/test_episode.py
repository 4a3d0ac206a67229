import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.pixels import PackedRows
from metalearn.data.spec import Spec

finite = st.floats(-1e6, 1e6, width=32)


@st.composite
def episodes(draw: st.DrawFn, o: int = 3, a: int = 2) -> Episode:
    t = draw(st.integers(1, 6))
    return Episode.of(
        draw(hnp.arrays(np.float32, (t + 1, o), elements=finite)),
        draw(st.none() | hnp.arrays(np.float32, (t, a), elements=finite)),
        draw(st.none() | hnp.arrays(np.float32, (t,), elements=finite)),
        draw(st.none() | st.booleans()),
    )


@given(episodes())
def test_an_episode_is_made_again_of_its_fields(episode: Episode):
    assert Episode.of(**episode.to_dict()) == episode
    assert episode.arrays().keys() == {name for name, value in vars(episode).items() if isinstance(value, np.ndarray)}


@given(episodes())
def test_equal_episodes_have_equal_digests_and_others_do_not(episode: Episode):
    again = Episode.of(episode.observations.tolist(), None if episode.actions is None else episode.actions.tolist(),
                       None if episode.rewards is None else episode.rewards.tolist(), episode.success)  # fmt: skip
    assert again.digest == episode.digest
    assert Episode.of(episode.observations + 1, episode.actions, episode.rewards, episode.success) != episode


def test_the_digest_is_the_same_on_every_machine():
    episode = Episode.of([[0.0], [1.0]], [[0.5]], [1.0], True)
    assert episode.digest == "44a5af7edae58a7d9d6be626f99f11276baab429fb43ca5824ee54b72fdf3a65"


def test_arrays_are_read_only():
    episode = Episode.of([[0.0], [1.0]])
    with pytest.raises(ValueError, match="read-only"):
        episode.observations[0, 0] = 1.0


def test_changing_what_was_handed_in_does_not_change_the_episode():
    observations = np.zeros((2, 1), np.float32)
    episode = Episode.of(observations)
    observations[0] = 7.0
    assert episode.observations[0, 0] == 0.0


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("observations", {"observations": [[0.0]]}),
        ("observations", {"observations": []}),
        ("observations", {"observations": [[0.0], [0.0, 1.0]]}),
        ("observations", {"observations": [[0.0], [float("nan")]]}),
        ("observations", {"observations": [["a"], ["b"]]}),
        ("observations", {"observations": [[True], [0.5]]}),
        ("observations", {"observations": [[0.0], [1e40]]}),
        ("observations", {"observations": [[0.0], [10**400]]}),
        ("actions", {"observations": [[0.0], [1.0]], "actions": [[0.0], [1.0]]}),
        ("actions", {"observations": [[0.0], [1.0]], "actions": [[True]]}),
        ("rewards", {"observations": [[0.0], [1.0]], "rewards": [[1.0, 2.0]]}),
        ("rewards", {"observations": [[0.0], [1.0]], "rewards": [float("inf")]}),
        ("success", {"observations": [[0.0], [1.0]], "success": 2}),
        ("success", {"observations": [[0.0], [1.0]], "success": "yes"}),
        ("success", {"observations": [[0.0], [1.0]], "success": [True, True]}),
    ],
)
def test_a_bad_value_names_its_field(field: str, arguments: dict[str, object]):
    with pytest.raises(InvalidData) as caught:
        Episode.of(**arguments)
    assert caught.value.field.startswith(field)
    assert caught.value.expected
    assert caught.value.got


SPEC = Spec(spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (2,)), horizon=5, rate_hz=10.0)
DISCRETE = Spec(spaces.Box(0, 255, (2, 2, 3), np.uint8), spaces.Discrete(4, start=1), horizon=5, rate_hz=10.0)


@pytest.mark.parametrize("spec", [SPEC, DISCRETE])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_spec_accepts_its_own_examples_and_survives_json(spec: Spec, seed: int):
    assert spec.check(spec.example_episode(np.random.default_rng(seed)))
    assert Spec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("field", "episode"),
    [
        ("observations", Episode.of(np.zeros((2, 4)))),
        ("observations", Episode.of(np.zeros((7, 3)))),
        ("actions", Episode.of(np.zeros((2, 3)), np.zeros((1, 3)))),
        ("actions", Episode.of(np.zeros((2, 3)), np.full((1, 2), 1.5))),
        ("actions", Episode.of(np.zeros((2, 3)), [1])),
    ],
)
def test_a_spec_refuses_what_is_not_of_its_kind(field: str, episode: Episode):
    with pytest.raises(InvalidData) as caught:
        SPEC.check(episode)
    assert caught.value.field == field


@pytest.mark.parametrize("action", [0, 5])
def test_a_discrete_action_out_of_range_is_refused(action: int):
    pixels = np.zeros((2, 2, 2, 3), np.uint8)
    with pytest.raises(InvalidData, match="integers from 1 to 4"):
        DISCRETE.check(Episode.of(pixels, [action]))


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (1,)), spaces.Discrete(2)])
@pytest.mark.parametrize(
    "actions", [[0, 1], [[0], [1]], [0.0, 1.0], [[0.0], [1.0]], np.array([0, 1], np.uint16), [False, True]]
)
def test_one_component_comes_with_or_without_its_axis(space: spaces.Space[Any], actions: object):
    spec = Spec(spaces.Box(-np.inf, np.inf, (1,)), space, horizon=5, rate_hz=10.0)
    fitted = spec.fit(Episode.of([0.0, 0.5, 1.0], actions, [[0.0], [1.0]]))
    plain = spec.fit(Episode.of([[0.0], [0.5], [1.0]], [[0.0], [1.0]], [0.0, 1.0]))
    assert fitted == plain == spec.check(fitted)


def test_actions_between_two_choices_are_none():
    spec = Spec(spaces.Box(-np.inf, np.inf, (1,)), spaces.Discrete(2), horizon=5, rate_hz=10.0)
    with pytest.raises(InvalidData, match="actions: expected"):
        spec.fit(Episode.of([0.0, 0.5, 1.0], [0.0, 0.5]))


def test_a_state_of_small_integers_is_no_image():
    assert SPEC.fit(Episode.of(np.ones((3, 3), np.uint8))) == Episode.of(np.ones((3, 3)))


CAMERA = spaces.Box(0, 255, (4, 5, 3), np.uint8)
WATCHED = Spec(spaces.Dict(arm=SPEC.observation_space, camera=CAMERA), SPEC.action_space, horizon=9, rate_hz=10.0)


@pytest.mark.parametrize("spec", [SPEC, WATCHED], ids=["numbers", "a picture beside numbers"])
def test_a_packed_episode_is_the_episode(spec: Spec):
    episode = spec.example_episode(np.random.default_rng(0), 5)
    packed = pickle.loads(pickle.dumps(episode.packed()))
    assert packed == episode
    assert len(packed) == len(episode)
    assert spec.check(packed) is packed
    assert packed.packed() is packed
    assert packed.without_actions() == episode.without_actions()
    for name, value in packed.arrays().items():
        np.testing.assert_array_equal(value, episode.arrays()[name])
    with pytest.raises(AttributeError, match="colour"):
        packed.colour  # noqa: B018


def test_rows_that_are_packed_are_picked_as_those_of_an_array():
    whole = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    rows = PackedRows.of(whole)
    assert (rows.shape, len(rows)) == (whole.shape, 4)
    np.testing.assert_array_equal(rows[2], whole[2])
    for index in ([3, 0, 0], np.array([[1, 2], [0, 3]]), slice(1, 3), slice(2, 2), ...):
        np.testing.assert_array_equal(rows[index], whole[index])
        np.testing.assert_array_equal(rows.pick(index)[...], whole[index])
    table = PackedRows.zeros((2, 5), whole.dtype, whole.shape[1:])
    table[1, :4] = rows
    table[0, 1:3] = whole[2:]
    np.testing.assert_array_equal(table[1, :4], whole)
    np.testing.assert_array_equal(table[0, [1, 2]], whole[2:])
    assert not table[:, 4].any()
