"""Which numbers of an entity say where it is, and which how it looks: found in the data."""

import numpy as np
import pytest
import torch
from torch import Tensor

from metalearn.model.observations.entities import SetEncoder, place_and_look


def episodes(shuffled: bool = False, n: int = 6, t: int = 5, m: int = 3) -> tuple[Tensor, Tensor]:
    """Entities of a place (2 numbers, moving), a colour (2), and a number that is always 7: `[n t, m, 5]`."""
    rng = np.random.default_rng(0)
    entities = np.full((n, t, m, 5), 7.0, np.float32)
    entities[..., :2] = rng.normal(size=(n, 1, m, 2)) + 0.3 * rng.normal(size=(n, t, 1, 2)).cumsum(1)
    entities[..., 2:4] = rng.normal(size=(n, 1, m, 2))
    if shuffled:
        entities = rng.permuted(entities.transpose(2, 0, 1, 3).reshape(m, -1), axis=0).reshape(m, n, t, 5)
        entities = entities.transpose(1, 2, 0, 3)
    return torch.from_numpy(entities).flatten(0, 1), torch.arange(n).repeat_interleave(t)


def told(entities: Tensor, numbers: Tensor) -> tuple[list[bool], list[bool]]:
    place, look = place_and_look(entities, numbers)
    return place.tolist(), look.tolist()


@pytest.mark.parametrize("shuffled", [False, True], ids=["listed alike", "listed in any order at every step"])
def test_what_varies_within_episodes_is_place_and_what_only_differs_between_them_is_look(shuffled: bool) -> None:
    place, look = told(*episodes(shuffled))
    assert place == [True, True, False, False, False]
    assert look == [False, False, True, True, False]


def test_the_noise_of_a_sensor_leaves_a_look_a_look() -> None:
    entities, numbers = episodes()
    noisy = entities + 0.03 * torch.randn(entities.shape, generator=torch.Generator().manual_seed(0))
    assert told(noisy[..., :4], numbers) == ([True, True, False, False], [False, False, True, True])


@pytest.mark.parametrize("kept", [[0, 1], [2, 3], [4]], ids=["all move", "none moves", "nothing differs"])
def test_where_nothing_tells_them_apart_every_number_is_both(kept: list[int]) -> None:
    entities, numbers = episodes()
    every = [True] * len(kept)
    assert told(entities[..., kept], numbers) == (every, every)


def test_numbers_of_the_same_look_make_the_same_key_wherever_the_entity_is() -> None:
    torch.manual_seed(0)
    encoder = SetEncoder((3, 5), (0.5,), n_frames=2, width=8)
    entities, numbers = episodes()
    encoder.fit(entities.flatten(1), numbers)
    moved = entities.clone()
    moved[..., :2] += 1
    keys, elsewhere = (encoder.memory.keys(encoder.numbers.views(one)) for one in (entities, moved))
    torch.testing.assert_close(keys, elsewhere)
    assert (keys[0, 0] - keys[0, 1]).abs().max() > 0.01


def test_the_decision_is_kept_with_the_weights() -> None:
    fitted, fresh = (SetEncoder((3, 5), (), n_frames=2, width=8) for _ in range(2))
    entities, numbers = episodes()
    fitted.fit(entities.flatten(1), numbers)
    fresh.load_state_dict(fitted.state_dict())
    assert fresh.memory.place.tolist() == [1, 1, 0, 0, 0]
    assert fresh.memory.look.tolist() == [0, 0, 1, 1, 0]


def test_entities_are_normalised_alike_whatever_their_slot() -> None:
    encoder = SetEncoder((2, 2), (), n_frames=2, width=8)
    seen = torch.tensor([[0.0, 1, 4, 3], [8, 5, 12, 7]])
    encoder.fit(seen)
    torch.testing.assert_close(encoder(seen[:, [2, 3, 0, 1]]), encoder(seen)[:, [2, 3, 0, 1]])
    assert encoder.memory.look.tolist() == [1, 1], "which episodes they are from is not known"
