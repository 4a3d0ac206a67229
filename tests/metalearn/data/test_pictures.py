"""What people are shown of pictures of any size and any channels."""

import numpy as np
import pytest

from metalearn.data.errors import InvalidData
from metalearn.data.pictures import decode_picture, encode_png, thumbnail, visible

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("n_channels", "shown"),
    [
        (1, [0]),
        (2, [1]),
        (3, [0, 1, 2]),
        (4, [0, 1, 2, 3]),
        (5, [4]),
        (8, [4, 5, 6]),
        (9, [6, 7, 8]),
        (12, [9, 10, 11]),
    ],
)
def test_of_frames_in_a_stack_the_last_one_is_shown(n_channels: int, shown: list[int]) -> None:
    picture = RNG.integers(0, 256, (4, 5, n_channels), np.uint8)
    np.testing.assert_array_equal(visible(picture), picture[..., shown])


@pytest.mark.parametrize("n_channels", [1, 3, 4, 9])
def test_a_large_picture_is_shrunk_and_keeps_its_form(n_channels: int) -> None:
    picture = np.full((480, 640, n_channels), 200, np.uint8)
    picture[:, :320] = 50
    shrunk = thumbnail(picture, 84)
    assert shrunk.shape == (63, 84, min(n_channels, 4) if n_channels != 9 else 3)
    colours = shrunk[..., :3]
    assert np.ptp(colours[:, :40]) <= 1 < 100 < colours[:, 44:].min() - colours[:, :40].max()
    assert len(encode_png(shrunk)) < 2000


def test_a_small_picture_stays_as_it_is() -> None:
    picture = RNG.integers(0, 256, (84, 60, 3), np.uint8)
    assert thumbnail(picture, 84) is picture


def test_a_file_never_has_nine_channels() -> None:
    file = encode_png(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(
        InvalidData, match=r"it: expected uint8 numbers of shape \[4, 5, 9\], got a file, which has 1, 3"
    ):
        decode_picture("it", file, (4, 5, 9))
