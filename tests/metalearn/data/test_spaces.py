import numpy as np
import pytest
from gymnasium import spaces

from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.parts import joined, named, observation_vectors, split
from metalearn.data.spaces import composite, from_vectors, layout_of, parts_of

SPACE = spaces.Dict(
    {
        "robot": spaces.Box(-1, 1, (2,), np.float32),
        "objects": spaces.Box(-np.inf, np.inf, (4, 5), np.float64),
        "camera": spaces.Dict({"front": spaces.Box(0, 255, (8, 8, 3), np.uint8)}),
        "mode": spaces.Discrete(3, start=-1),
        "pair": spaces.Tuple((spaces.MultiDiscrete([2, 5]), spaces.MultiBinary(3))),
    }
)


def observations(n: int) -> np.ndarray:
    batch = {name: [] for name in named(SPACE)}
    SPACE.seed(0)
    for _ in range(n):
        for name, value in named(SPACE.sample()).items():
            batch[name].append(value)
    return joined({name: np.asarray(values) for name, values in batch.items()})


def test_parts_are_named_by_their_path_and_read_by_their_shape() -> None:
    found = {part.name: (part.kind, part.shape, str(part.dtype)) for part in parts_of(SPACE)}
    assert found == {
        "camera/front": ("image", (8, 8, 3), "uint8"),
        "mode": ("category", (), "float32"),
        "objects": ("set", (4, 5), "float32"),
        "pair/0": ("category", (2,), "float32"),
        "pair/1": ("vector", (3,), "float32"),
        "robot": ("vector", (2,), "float32"),
    }


def test_numbers_of_parts_follow_one_another_in_the_vector() -> None:
    parts = parts_of(SPACE)
    assert [part.start for part in parts] == np.cumsum([0, *(part.size for part in parts)]).tolist()[:-1]
    vectors = observation_vectors(observations(4))
    for part in parts:
        expected = observations(4)[part.name].reshape(4, -1)
        assert np.array_equal(vectors[:, part.numbers], expected.astype(np.float32))


def test_vectors_become_the_same_observations_again() -> None:
    seen = observations(5)
    assert np.array_equal(from_vectors(observation_vectors(seen), SPACE), seen)
    assert seen.dtype == layout_of(SPACE)[0]


@pytest.mark.parametrize(
    ("space", "shape", "dtype", "kind"),
    [
        (spaces.Box(-1, 1, (3,)), (3,), np.float32, "vector"),
        (spaces.Box(-1, 1, ()), (1,), np.float32, "vector"),
        (spaces.Box(-1, 1, (4, 5)), (4, 5), np.float32, "vector"),
        (spaces.Box(0, 255, (16, 16, 3), np.uint8), (16, 16, 3), np.uint8, "image"),
        (spaces.Box(0, 255, (84, 84, 12), np.uint8), (84, 84, 12), np.uint8, "image"),
        (spaces.Box(0, 10, (7, 7, 7), np.uint8), (7, 7, 7), np.uint8, "image"),
        (spaces.Box(0, 255, (3, 64, 64), np.uint8), (3, 64, 64), np.uint8, "vector"),
        (spaces.Box(0, 255, (16, 16, 9), np.int64), (16, 16, 9), np.float32, "vector"),
        (spaces.Discrete(16), (1,), np.float32, "category"),
        (spaces.MultiBinary([2, 2]), (2, 2), np.float32, "vector"),
    ],
)
def test_an_observation_of_one_part_is_an_array_as_ever(space, shape, dtype, kind) -> None:
    assert not composite(space)
    assert layout_of(space) == (np.dtype(dtype), shape)
    assert parts_of(space)[0].kind == kind
    assert split(np.zeros((2, *shape), dtype)).keys() == {""}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (spaces.Dict({"mission": spaces.Text(5)}), "part 'mission': expected Box, Discrete"),
        (spaces.Dict({}), "expected at least one part, got none"),
        (spaces.Box(0, 1, (0,)), r"at least one component, got shape \[0\]"),
    ],
)
def test_a_space_that_no_network_reads_is_refused_by_name(space, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        parts_of(space)


def test_parts_of_different_length_are_refused() -> None:
    with pytest.raises(InvalidData, match=r"observations\.b: expected 2, as many as in other parts, got 3"):
        joined({"a": np.zeros((2, 1)), "b": np.zeros((3, 1))})
