import numpy as np
import pytest
from gymnasium import spaces

from metalearn.data.episode import Episode
from metalearn.data.frames import Frames
from metalearn.data.pixels import PackedRows
from metalearn.data.spec import Spec
from metalearn.data.units import Units

SPEC = Spec(spaces.Box(-10, 10, (1,)), spaces.Box(-1, 1, (1,)), horizon=10, rate_hz=1.0)


def test_frames_of_an_episode_by_hand():
    episode = Episode.of([[0.0], [1.0], [3.0], [6.0], [10.0]], [[0.1], [0.2], [0.3], [0.4]], [0.0, 0.0, 0.5, 1.0], True)
    frames = Frames.of([episode], 3, Units(SPEC))
    np.testing.assert_array_equal(frames.observations[0, :, 0], [0.0, 3.0, 10.0])
    np.testing.assert_array_equal(frames.changes[0, :, 0], [1.0, 3.0, 4.0])
    np.testing.assert_allclose(frames.actions[0, :, 0], [0.1, 0.3, 0.4])
    np.testing.assert_array_equal(frames.rewards[0], [0.0, 0.0, 1.0])
    np.testing.assert_allclose(frames.times[0], [0.0, 0.2, 0.4])
    assert frames.success[0] == 1.0


def test_means_since_the_frame_before_by_hand():
    episode = Episode.of([[0.0], [1.0], [3.0], [6.0], [10.0]], None, [0.0, 1.0, 0.5, 1.0], True)
    frames = Frames.of([episode], 3, Units(SPEC), means=True)
    np.testing.assert_allclose(frames.mean_observations[0, :, 0], [0.0, 2.0, 8.0])
    np.testing.assert_allclose(frames.mean_rewards[0], [0.0, 0.5, 0.75])
    assert not Frames.of([episode], 3, Units(SPEC)).mean_observations.size


def test_means_of_an_episode_shorter_than_its_frames_are_the_frames():
    frames = Frames.of([Episode.of([[1.0], [4.0]], None, [0.5])], 4, Units(SPEC), means=True)
    np.testing.assert_array_equal(frames.mean_observations, frames.observations)
    np.testing.assert_array_equal(frames.mean_rewards[0], [0.0, 0.0, 0.5, 0.5])


def test_what_is_unknown_is_flagged_and_zero():
    frames = Frames.of([Episode.of([[1.0], [2.0]])], 3, Units(SPEC))
    assert not frames.has_actions[0]
    assert not frames.has_rewards[0]
    assert frames.success[0] == 0.0
    assert not frames.actions.any()


def test_first_and_last_observation_are_kept_whatever_the_length():
    for t in (1, 2, 5, 10):
        observations = np.arange(t + 1.0)[:, None]
        frames = Frames.of([Episode.of(observations)], 4, Units(SPEC))
        assert frames.observations[0, 0, 0] == 0.0
        assert frames.observations[0, -1, 0] == t


def test_discrete_actions_are_one_hot():
    spec = Spec(spaces.Box(-10, 10, (1,)), spaces.Discrete(3, start=5), horizon=10, rate_hz=1.0)
    frames = Frames.of([Episode.of([[0.0], [0.0], [0.0]], [5, 7])], 2, Units(spec))
    np.testing.assert_array_equal(frames.actions[0], [[1, 0, 0], [0, 0, 1]])


WATCHED = Spec(
    spaces.Dict(arm=spaces.Box(-9, 9, (3,)), camera=spaces.Box(0, 255, (20, 20, 3), np.uint8)),
    spaces.Box(-1, 1, (2,)), horizon=10, rate_hz=1.0,
)  # fmt: skip


@pytest.mark.parametrize("means", [False, True])
def test_frames_of_packed_episodes_are_those_of_the_episodes(means: bool):
    rng = np.random.default_rng(0)
    episodes = [WATCHED.example_episode(rng, n) for n in (1, 4, 9)]
    units, picked = Units(WATCHED), np.array([2, 0, 2])
    plain = Frames.of(episodes, 3, units, means=means)
    packed = Frames.of([episode.packed() for episode in episodes], 3, units, means=means)
    mixed = Frames.of([episodes[0].packed(), *episodes[1:]], 3, units, means=means)
    assert isinstance(packed.observations, PackedRows)
    assert isinstance(mixed.observations, np.ndarray)
    for frames in (packed, mixed):
        for name, values in frames.arrays().items():
            np.testing.assert_array_equal(values, plain.arrays()[name])
            np.testing.assert_array_equal(frames.pick(picked).arrays()[name], values[picked])


def test_pixels_have_neither_changes_nor_means():
    frames = Frames.of([WATCHED.example_episode(np.random.default_rng(0), 5)], 3, Units(WATCHED), means=True)
    assert frames.changes.shape == frames.mean_observations.shape == (1, 3, 3)
