import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import RATE_HZ, Spec

KITCHEN = spaces.Dict(
    {
        "robot": spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "objects": spaces.Box(-1, 1, (4, 5), np.float64),
        "camera": spaces.Dict({"front": spaces.Box(0, 255, (4, 4, 3), np.uint8)}),
        "mode": spaces.Discrete(3, start=-1),
        "pair": spaces.Tuple((spaces.MultiDiscrete([2, 5], start=[0, 1]), spaces.MultiBinary([2, 2]))),
    }
)
OBSERVATIONS = [
    KITCHEN,
    spaces.Tuple((spaces.Box(-1, 1, (3,)), spaces.Discrete(4))),
    spaces.Discrete(16, start=2),
    spaces.MultiBinary(5),
    spaces.Box(0, 10, (7, 7, 3), np.uint8),
    spaces.Box(np.array([0.0, -np.inf]), np.array([np.inf, 3.0])),
]
ACTIONS = [
    spaces.Box(-np.inf, np.inf, (2, 3)),
    spaces.Box(-1, 1, ()),
    spaces.Discrete(3, start=5),
    spaces.MultiDiscrete([3, 2, 4], start=[1, 0, -2]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    spaces.MultiBinary(4),
]
KINDS = [Spec(KITCHEN, space, 5, 10.0) for space in ACTIONS] + [
    Spec(space, ACTIONS[2], 5, 10.0) for space in OBSERVATIONS
]
SPEC = KINDS[3]


def example(spec: Spec = SPEC) -> Episode:
    return spec.example_episode(np.random.default_rng(0))


@pytest.mark.parametrize("spec", KINDS, ids=str)
def test_a_spec_of_any_spaces_accepts_its_own_examples_and_survives_json(spec: Spec) -> None:
    assert spec.check(example(spec))
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    dtype, shape = spec.observation_layout
    assert (example(spec).observations.dtype, example(spec).observations.shape[1:]) == (dtype, shape)


@pytest.mark.parametrize("spec", KINDS, ids=str)
def test_an_episode_of_any_spaces_is_made_again_of_json_and_of_its_arrays(spec: Spec) -> None:
    episode = example(spec)
    assert spec.fit(Episode.of(**json.loads(json.dumps(episode.to_json())))) == episode
    assert spec.fit(Episode.of(**episode.to_dict())) == episode
    assert Episode.of_arrays(episode.arrays(), episode.success) == episode


def test_networks_have_a_number_for_each_choice_of_each_component() -> None:
    assert (SPEC.discrete, SPEC.action_choices, SPEC.action_size) == (True, (3, 2, 4), 9)
    assert (KINDS[0].discrete, KINDS[0].action_choices, KINDS[0].action_size) == (False, (), 6)
    assert SPEC.observation_size == sum(part.size for part in SPEC.parts) == 48 + 1 + 20 + 2 + 4 + 2


def test_parts_come_nested_or_flat_as_columns_or_step_by_step() -> None:
    KITCHEN.seed(0)
    steps = [KITCHEN.sample() for _ in range(3)]
    for step in steps:
        step["pair"] = {"0": step["pair"][0], "1": step["pair"][1]}
    columns = {
        "robot": [step["robot"] for step in steps],
        "objects": np.stack([step["objects"] for step in steps]),
        "camera/front": np.stack([step["camera"]["front"] for step in steps]),
        "mode": [[int(step["mode"])] for step in steps],
        "pair": {name: np.stack([step["pair"][name] for step in steps]) for name in "01"},
    }
    actions = [[1, 0, -2], [3.0, 1.0, 1.0]]
    episode = SPEC.fit(Episode.of(steps, actions))
    assert episode == SPEC.fit(Episode.of(columns, actions))
    assert episode == SPEC.fit(Episode.of(episode.observations, actions))
    assert episode.actions is not None and episode.actions.dtype == np.int64
    assert episode.observations["camera/front"].dtype == np.uint8


def test_pictures_come_as_whole_numbers_where_json_has_no_bytes() -> None:
    pictures = Spec(OBSERVATIONS[4], ACTIONS[2], 5, 10.0)
    assert pictures.fit(Episode.of(np.full((2, 7, 7, 3), 9.0))).observations.dtype == np.uint8
    for wrong in (0.5, -1.0, 300.0):
        with pytest.raises(InvalidData, match="observations: expected uint8"):
            pictures.fit(Episode.of(np.full((2, 7, 7, 3), wrong)))


def test_parts_are_read_only_and_decide_whether_episodes_are_equal() -> None:
    episode = example()
    with pytest.raises(ValueError, match="read-only"):
        episode.observations["robot"][0, 0] = 1.0
    parts = dict(episode.to_dict()["observations"])
    moved = parts | {"robot": parts["robot"] + 1}
    assert Episode.of(moved, episode.actions, episode.rewards, True) != episode
    renamed = {"arm" if name == "robot" else name: part for name, part in parts.items()}
    assert Episode.of(renamed, episode.actions, episode.rewards, True) != episode


def with_part(name: str, value: Any) -> dict[str, Any]:
    return {**example().to_dict()["observations"], name: value}


@pytest.mark.parametrize(
    ("observations", "said"),
    [
        (with_part("objects", np.zeros((6, 4, 4))), r"observations\.objects: expected shape \[n, 4, 5\], got shape"),
        (with_part("mode", [0.0, 1, 1, -1, 0, 2]), r"observations\.mode: expected integers .* got 2.0 at \[5\]"),
        (with_part("mode", np.full(6, 0.5)), r"observations\.mode: expected integers from -1 to 1, got 0.5"),
        (with_part("pair/0", np.full((6, 2), 5)), r"observations\.pair/0: expected integers from 0 to 1, got 5.0"),
        (with_part("camera/front", np.full((6, 4, 4, 3), 0.1)), r"observations\.camera/front: expected uint8, got"),
        (with_part("robot", np.full((6, 2), np.nan)), r"observations\.robot: expected finite numbers, got nan"),
        (with_part("robot", np.zeros((5, 2))), r"observations\.\S+: expected 5, as many as in other parts, got 6"),
        (with_part("robot", 1.0), r"observations\.robot: expected one value for each of n observations"),
        (with_part("rbot", np.zeros((6, 2))), r"observations\.rbot: expected one of .* did you mean robot\?"),
        ({"robot": np.zeros((6, 2))}, r"observations\.camera/front: expected a value, got none"),
        (np.zeros((6, 9)), r"observations: expected the parts camera/front, .*, got one array of shape \[6, 9\]"),
        ([{"robot": [0, 0]}, {"arm": [0, 0]}], r"observations\[1\]: expected the parts robot, got arm"),
        ({}, "observations: expected at least one part"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_part_is_said_by_its_name(observations: object, said: str) -> None:
    with pytest.raises(InvalidData, match=said):
        SPEC.fit(Episode.of(observations))


def test_parts_are_refused_where_observations_have_none() -> None:
    with pytest.raises(InvalidData, match=r"observations: expected one array of shape \[n, 5\], got the parts a, b"):
        KINDS[9].fit(Episode.of({"a": [0.0, 0.0], "b": [0.0, 0.0]}))


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ([[1, 0, -2], [4, 0, 0]], r"actions: expected integers from 1 to 3, got 4 at \[1, 0\]"),
        ([[1, 0, -2], [1.5, 0, 0]], r"actions: expected \[t, 3\] integers, got float32"),
        ([1, 2], r"actions: expected \[t, 3\] integers, got int64 of shape \[2\]"),
    ],
)
def test_an_action_of_several_choices_is_checked_one_by_one(actions: object, said: str) -> None:
    parts = {name: part[:3] for name, part in example().to_dict()["observations"].items()}
    with pytest.raises(InvalidData, match=said):
        SPEC.fit(Episode.of(parts, actions))


@pytest.mark.parametrize("spec", [KINDS[0], KINDS[2], SPEC], ids=str)
def test_recordings_say_what_parts_and_choices_they_have(spec: Spec) -> None:
    episodes = [spec.example_episode(np.random.default_rng(seed)) for seed in range(20)]
    found = Spec.of_episodes(episodes, 10.0)
    assert [(part.name, part.shape, part.dtype) for part in found.parts] == [
        (part.name, part.shape, part.dtype) for part in spec.parts
    ]
    assert (found.discrete, found.action_size) == (spec.discrete, spec.action_size)
    assert all(found.check(episode) for episode in episodes)
    with pytest.raises(InvalidData, match=r"episodes\.observations: expected the parts camera/front, .*, got arm"):
        Spec.of_episodes([*episodes, Episode.of({"arm": [0, 0]}, episodes[0].actions[:1])], 10.0)


def test_a_spec_is_read_from_an_environment_as_gymnasium_registers_it() -> None:
    env = gym.make("CartPole-v1")
    found = Spec.of_env(env)
    assert (found.horizon, found.rate_hz) == (500, 50.0)
    assert (found.observation_space, found.action_space) == (env.observation_space, env.action_space)
    own: gym.Env[Any, Any] = gym.Env()
    own.observation_space, own.action_space = KITCHEN, spaces.MultiBinary(4)
    assert Spec.of_env(own, horizon=7) == Spec(KITCHEN, spaces.MultiBinary(4), 7, RATE_HZ)
    with pytest.raises(InvalidConfig, match="horizon: expected the most steps of an episode, got none"):
        Spec.of_env(own)


BOX = {"type": "box", "shape": [2], "low": None, "high": None, "dtype": "float32"}
FAR: dict[str, Any] = BOX
for _ in range(9):
    FAR = {"type": "tuple", "spaces": [FAR]}


@pytest.mark.parametrize(
    ("field", "space", "said"),
    [
        ("observation_space", {"type": "dict", "spaces": []}, "observation_space.spaces: expected an object of spaces"),
        ("observation_space", {"type": "dict", "spaces": {}}, "expected at least one part, got none"),
        ("observation_space", {"type": "dict", "spaces": {"a": {"type": "x"}}}, "observation_space.a: expected an obj"),
        ("observation_space", {"type": "tuple", "spaces": [BOX | {"shape": [2**22]}] * 3}, "at most 8388608"),
        ("observation_space", {"type": "dict", "spaces": {"": BOX}}, "a name of its own for each part, got ''"),
        ("observation_space", FAR, "expected an object whose type is box, discrete, multi_discrete or multi_b"),
        ("action_space", {"type": "dict", "spaces": {"a": BOX}}, "action_space: expected an object whose type is box,"),
        ("action_space", {"type": "multi_discrete", "nvec": [2, 0], "start": [0, 0]}, "have to be positive"),
        ("action_space", {"type": "multi_discrete", "nvec": [2, 1], "start": [0]}, "should have the same shape"),
        ("action_space", {"type": "multi_discrete", "nvec": [2.5], "start": [0]}, "action_space.nvec: expected a list"),
        ("action_space", {"type": "multi_discrete", "nvec": 2, "start": 0}, "action_space.nvec: expected a list"),
        ("action_space", {"type": "multi_binary", "n": [10**9]}, "action_space.n: expected at most"),
        ("action_space", {"type": "multi_binary", "n": "3"}, "action_space.n: expected an integer, got '3'"),
    ],
)  # fmt: skip
def test_spaces_in_json_are_read_in_full_and_within_limits(field: str, space: object, said: str) -> None:
    value = {"observation_space": BOX, "action_space": BOX, "horizon": 3, "rate_hz": 1, "version": 1}
    with pytest.raises(InvalidConfig) as caught:
        Spec.from_json(value | {field: space})
    assert said in str(caught.value)
