"""Episodes at another rate: by-hand numbers for each kind of column, and what stays the same at every rate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.fitting import joined
from metalearn.data.formats import Selection, read_episodes, write_episodes
from metalearn.data.resampling import flags_among, resample


def at(given: Episode, rate_hz: float, to_hz: float) -> Episode:
    return resample(given, rate_hz, to_hz, flags=flags_among([given.observations]))


def test_half_the_rate_takes_every_second_state_means_of_actions_and_sums_of_rewards() -> None:
    given = Episode.of([0, 1, 4, 9, 16], [1.0, 2.0, 3.0, 5.0], [1, 2, 3, 4], True)
    made = at(given, 20, 10)
    assert made == Episode.of([0, 4, 16], [1.5, 4.0], [3, 7], True)


def test_twice_the_rate_is_between_states_and_holds_actions() -> None:
    made = at(Episode.of([0, 1, 4], [1.0, 2.0], [1, 2], False), 10, 20)
    assert made == Episode.of([0, 0.5, 1, 2.5, 4], [1.0, 1.0, 2.0, 2.0], [0, 1, 0, 2], False)


def test_rates_that_do_not_divide_weigh_what_was_held_by_its_share() -> None:
    made = at(Episode.of([0, 1, 2, 6], [0.0, 3.0, 6.0], [1, 2, 4]), 30, 20)
    assert made == Episode.of([0, 1.5, 6], [1.0, 5.0], [1, 6])


def test_a_last_step_that_is_not_whole_goes_to_the_end() -> None:
    made = at(Episode.of([0, 1, 2, 6], [0.0, 3.0, 6.0], [1, 2, 4]), 20, 10)
    assert made == Episode.of([0, 2, 6], [1.5, 6.0], [3, 4])


def test_pixels_flags_and_discrete_actions_take_what_is_nearest() -> None:
    pixels = np.arange(5, dtype=np.uint8).reshape(5, 1, 1) * 50
    made = at(Episode.of(pixels, [0, 1, 2, 3]), 30, 20)
    assert (made.observations.dtype, made.observations.reshape(-1).tolist()) == (np.uint8, [0, 100, 150, 200])
    assert (made.actions.dtype, made.actions.tolist()) == (np.int64, [0, 2, 3])
    gripper = Episode.of([[0, 0.0], [1, 0.0], [2, 0.08]], [0.0, 0.0])
    assert at(gripper, 10, 20).observations.tolist() == pytest.approx(
        np.array([[0, 0], [0.5, 0], [1, 0], [1.5, 0.08], [2, 0.08]], np.float32)
    )


def test_what_is_a_flag_is_decided_by_the_whole_recording() -> None:
    short, long = np.array([[0.0, 0], [0, 1]]), np.array([[0.0, 0], [0.5, 1], [1, 1]])
    assert flags_among([short])[""].tolist() == [True, True]
    assert flags_among([short, long])[""].tolist() == [False, True]


@pytest.mark.parametrize("to_hz", [0.5, 7, 29.97, 30.03, 50, 173])
def test_ends_sums_and_outcome_stay_at_any_rate(to_hz: float) -> None:
    rng = np.random.default_rng(int(to_hz))
    given = Episode.of(rng.normal(size=(62, 3)), rng.normal(size=(61, 2)), rng.normal(size=61), True)
    made = at(given, 30, to_hz)
    assert abs(len(made) - 61 * to_hz / 30) <= 1
    np.testing.assert_array_equal(made.observations[[0, -1]], given.observations[[0, -1]])
    assert made.rewards.sum() == pytest.approx(given.rewards.sum(), abs=1e-4)
    assert made.success is True
    for name in ("observations", "actions"):
        old, new = getattr(given, name), getattr(made, name)
        assert (new.min(axis=0) >= old.min(axis=0) - 1e-5).all()
        assert (new.max(axis=0) <= old.max(axis=0) + 1e-5).all()


def test_what_has_no_actions_and_no_rewards_has_none_after() -> None:
    made = at(Episode.of([0, 1, 2]), 10, 20)
    assert (made.actions, made.rewards, made.success) == (None, None, None)


# Recordings


def recordings(tmp_path: Path, *rates: float | None) -> list[Path]:
    paths = [tmp_path / f"{i}.npz" for i in range(len(rates))]
    for path, rate in zip(paths, rates, strict=True):
        write_episodes(path, [Episode.of([0, 1, 2, 3, 4], [0.0, 0.1, 0.2, 0.3])], rate_hz=rate)
    return paths


def test_recordings_whose_rates_differ_are_brought_to_one(tmp_path: Path) -> None:
    fast, slow = recordings(tmp_path, 20.0, 10.0)
    chosen = Selection(resample_hz=10.0)
    together = joined([read_episodes(fast, chosen), read_episodes(slow, chosen)])
    assert (together.rate_hz, [len(one) for one in together.episodes]) == (10.0, [2, 4])
    assert [[remark.code for remark in own] for own in together.remarks] == [["resampled"], []]
    assert "brought from 20 to 10 Hz" in together.remarks[0][0].message
    unlike = joined([read_episodes(fast), read_episodes(slow)])
    assert "--resample HZ brings them to one" in unlike.remarks[0][0].message


def test_a_rate_that_the_recording_does_not_say_has_to_be_said(tmp_path: Path) -> None:
    [silent, known] = recordings(tmp_path, None, 20.0)
    with pytest.raises(InvalidData, match=r"0\.npz: resample: expected a rate that the recording says, or FROM:TO"):
        read_episodes(silent, Selection(resample_hz=10.0))
    found = read_episodes(silent, Selection(resample_hz=10.0, recorded_hz=40.0))
    assert (found.rate_hz, len(found.episodes[0])) == (10.0, 1)
    assert len(read_episodes(known, Selection(resample_hz=10.0, recorded_hz=40.0)).episodes[0]) == 2


@pytest.mark.parametrize("to_hz", [1e-9, 1e9])
def test_a_rate_of_another_order_is_refused(tmp_path: Path, to_hz: Any) -> None:
    [path] = recordings(tmp_path, 20.0)
    with pytest.raises(InvalidData, match="resample: expected at most 1000 times faster or slower than 20 Hz"):
        read_episodes(path, Selection(resample_hz=to_hz))
