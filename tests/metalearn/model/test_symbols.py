"""Maps of symbols: cells are looked up, and found again by what is in them."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from metalearn.config import ModelConfig
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.model.observations import ImageEncoder, SymbolEncoder
from metalearn.model.policy import ConditionalPolicy

SMALL = {"encoder_width": 16, "policy_width": 16, "latent_dim": 8, "n_hypotheses": 2}


def encoder(shape: tuple[int, ...] = (4, 5, 2), n_symbols: int = 5) -> SymbolEncoder:
    torch.manual_seed(0)
    return SymbolEncoder(shape, n_symbols)


def test_symbols_that_are_near_as_numbers_are_not_near_in_meaning() -> None:
    drawn = torch.zeros(3, 40)
    drawn[1, 6], drawn[2, 6] = 1, 2
    features = encoder()(drawn)
    apart = (features[:, None] - features).norm(dim=-1)
    assert apart[1, 2] > 0.5 * apart[0, 1] > 0


def test_a_number_that_is_no_symbol_is_one_more_the_same_for_all_others() -> None:
    drawn = torch.full((3, 40), 5.0)
    drawn[1, 3], drawn[2, 3] = 255, 4
    features = encoder()(drawn)
    assert torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])


def test_a_cell_is_found_where_it_is_by_what_is_in_it() -> None:
    reader, drawn = encoder(), torch.zeros(2, 4, 5, 2)
    drawn[0, 0, 4] = drawn[1, 3, 0] = torch.tensor([3.0, 1.0])  # a corner each
    key = torch.nn.functional.normalize(reader.key(reader.cells(reader.what[3 * 6 + 1])), dim=-1)
    reader.sharpness.data.fill_(1000.0)
    _, found = reader.look(drawn.view(1, 1, 2, 40), key.expand(1, 1, 4, -1))
    places = found.view(2, 4, 3)
    torch.testing.assert_close(places[0, 0], torch.tensor([-1.0, 1.0, 1.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(places[1, 2], torch.tensor([1.0, -1.0, 1.0]), atol=1e-4, rtol=0)


def test_more_channels_than_can_be_looked_up_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"at most [0-9,]+ combinations of what is in the 9 channels of a cell"):
        encoder((16, 16, 9), 15)
    assert encoder((4, 4, 9), 1)(torch.zeros(2, 144)).shape == (2, 128)


def test_each_picture_of_a_dict_is_read_as_what_it_holds() -> None:
    picture = spaces.Box(0, 255, (6, 6, 1), np.uint8)
    spec = Spec(spaces.Dict(camera=picture, map=picture), spaces.Discrete(2), horizon=8, rate_hz=10.0)
    policy = ConditionalPolicy(ModelConfig(**SMALL, symbols=(0, 4)), spec)
    assert [type(part) for part in policy.observations.parts] == [ImageEncoder, SymbolEncoder]
