"""Pictures of any size are read by a convolutional network, or by one that somebody brings."""

import math
import sys
import types

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError
from torch import Tensor, nn

from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.model.encoder import ABOUT
from metalearn.model.inference import Inference
from metalearn.model.observations import make_baseline_encoder
from metalearn.model.observations.images import ImageEncoder
from metalearn.model.policy import ConditionalPolicy

PICTURE = Spec(spaces.Box(0, 255, (8, 8, 3), np.uint8), spaces.Box(-1, 1, (2,)), horizon=8, rate_hz=10.0)
SMALL = {"encoder_width": 16, "policy_width": 16, "latent_dim": 8, "n_hypotheses": 2}


class Bright(nn.Module):
    """How bright each channel is, and a statistic of the batches that it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.norm = nn.Linear(3, 5), nn.BatchNorm1d(5)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.norm(self.scale(pictures.mean((2, 3))))


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package of somebody, with networks in it."""
    module = types.ModuleType("somebodys_networks")
    vars(module).update(
        bright=Bright, maps=lambda: nn.Conv2d(3, 2, 3), few=lambda: nn.Conv2d(1, 2, 3), nothing=lambda: None
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def pictures(n: int, shape: tuple[int, ...] = (8, 8, 3)) -> torch.Tensor:
    drawn = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    return torch.from_numpy(drawn.reshape(n, -1).astype(np.float32))


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (2, 5, 3), (5, 5, 3), (7, 7, 3), (17, 9, 4), (64, 64, 3), (96, 256, 3), (7, 7, 2), (84, 84, 12)],
)
def test_pictures_of_any_size_are_read(shape: tuple[int, ...]) -> None:
    encoder = ImageEncoder(shape, "scratch")
    encoder.fit(pictures(3, shape))
    features = encoder(pictures(3, shape).view(3, 1, -1))
    assert features.shape == (3, 1, encoder.size)
    assert features.isfinite().all()
    assert (features[0] - features[1]).abs().max() > 1e-4 or shape == (1, 1, 1)


def test_large_pictures_are_looked_at_in_no_more_places_than_small_ones() -> None:
    n_places = [len(ImageEncoder((size, size, 3), "scratch").network.places) for size in (16, 64, 100, 256)]
    assert all(36 <= n <= 81 for n in n_places)


def test_layers_of_small_numbers_are_read_as_well_as_brightnesses() -> None:
    torch.manual_seed(0)
    layers = (pictures(20, (8, 8, 12)) > 200).float()
    encoder = ImageEncoder((8, 8, 12), "scratch")
    encoder.fit(layers)
    torch.testing.assert_close(encoder.network.std, layers.view(-1, 12).std(0) / 255)
    layers[0, 0] = 255  # brightnesses, among which a difference of one is noise
    encoder.fit(layers)
    assert encoder.network.std[1:].eq(1).all()


def test_the_place_of_something_bright_is_read_from_the_picture() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder((64, 64, 3), "scratch")
    with torch.no_grad():
        for convolution in encoder.network.convolutions[::2]:
            convolution.weight.fill_(1.0)
            convolution.bias.zero_()
    left, right = torch.zeros(2, 64, 64, 3)
    left[30:34, 8:12], right[30:34, 52:56] = 255, 255
    (_, x), (_, mirrored) = (encoder(one.view(1, -1))[0, :2].tolist() for one in (left, right))
    assert x == pytest.approx(-mirrored, abs=1e-4)
    assert x < -0.5


def test_features_change_to_the_next_frame_and_pixels_do_not_count() -> None:
    encoder, frames = ImageEncoder((8, 8, 3), "scratch"), pictures(3).view(1, 1, 3, -1)
    seen, keys = encoder.read(frames, torch.full_like(frames, torch.nan), "demo")
    features, changes = seen.chunk(2, -1)
    torch.testing.assert_close(changes[0, 0, 0], features[0, 0, 1] - features[0, 0, 0])
    torch.testing.assert_close(changes[0, 0, 2], changes[0, 0, 1])
    assert keys is not None
    assert keys.shape == (1, 1, *encoder.memory_shape)


def test_what_was_where_an_episode_ended_is_found_in_another_picture_before_anything_is_learnt() -> None:
    red, blue, white = torch.tensor([[200.0, 30.0, 30.0], [30.0, 60.0, 200.0], [255.0, 255.0, 255.0]])

    def picture(**squares: tuple[int, int]) -> Tensor:
        drawn = torch.full((64, 64, 3), 25.0)
        for colour, (row, column) in squares.items():
            drawn[row - 3 : row + 3, column - 3 : column + 3] = {"red": red, "blue": blue, "white": white}[colour]
        return drawn.view(-1)

    nearer, n_seeds = 0, 8
    for seed in range(n_seeds):
        torch.manual_seed(seed)
        encoder = ImageEncoder((64, 64, 3), "scratch")
        aside = {"red": (12, 12), "blue": (50, 50)}
        episode = torch.stack([picture(**aside, white=(32, 32)), picture(**aside, white=(14, 14))])
        elsewhere = picture(red=(50, 14), blue=(14, 50), white=(32, 32))
        encoder.fit(torch.stack([*episode, elsewhere]))
        _, keys = encoder.read(episode[None, None], episode[None, None, :, :0], "demo")
        assert keys is not None
        _, found = encoder.look(elsewhere.view(1, 1, 1, -1), keys)
        assert found is not None
        y, x, _ = found[0, 0, 0].unflatten(0, (-1, 3))[0].tolist()
        nearer += y > x  # below the diagonal, where the red square is
    assert nearer >= n_seeds - 1


def test_baselines_remember_nothing_of_pictures() -> None:
    (encoder,) = make_baseline_encoder(PICTURE).parts
    assert encoder.memory_shape is None
    assert encoder.found_size == 0


def test_a_policy_reads_each_picture_once_whatever_the_number_of_hypotheses(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, n_read = ConditionalPolicy(ModelConfig(**SMALL), PICTURE), []
    network = policy.observations.parts[0].network
    network.convolutions[0].register_forward_hook(lambda _, given, made: n_read.append(len(made)))
    seen, n_keys = pictures(6).view(2, 3, -1), ABOUT * math.prod(policy.observations.memory_shape)
    policy.log_likelihood(
        torch.zeros(2, 8 + n_keys), seen, torch.zeros(2, 3, 2), torch.ones(2, 3), torch.zeros(2, 3, 0)
    )
    assert n_read == [6]


def test_a_network_that_is_brought_is_not_trained_and_is_part_of_the_bundle(brought: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(**SMALL, image_encoder=f"{brought}:bright")
    policy = ConditionalPolicy(config, PICTURE)
    policy.observations.fit(pictures(20))
    before = {name: value for name, value in policy.to_weights().items() if ".inner." in name}
    assert len(before) == 7
    assert not any(parameter.requires_grad for parameter in policy.observations.parameters())
    policy.train()
    features = policy.observations(pictures(20))
    torch.testing.assert_close(features.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(0), torch.ones(5))
    assert not features.requires_grad
    for name, value in before.items():
        np.testing.assert_array_equal(policy.to_weights()[name], value)
    bundle = Bundle("any", PICTURE, config.model_dump(mode="json"), policy.to_weights())
    torch.testing.assert_close(Inference.load(bundle).policy.observations(pictures(20)), features)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("no_such", "cannot be loaded: AttributeError"),
        ("maps", r"to make \[n, k\] of \[n, 3, 8, 8\], got \[2, 2, 6, 6\]"),
        ("few", r"does not read pictures \[n, 3, 8, 8\]: .*expected input"),
        ("nothing", "to return a torch.nn.Module, got NoneType"),
    ],
)
def test_a_network_that_cannot_be_one_is_refused(function: str, why: str, brought: str) -> None:
    with pytest.raises(InvalidConfig, match=why):
        ImageEncoder((8, 8, 3), f"{brought}:{function}")


def test_the_name_of_a_network_is_checked_before_anything_is_imported() -> None:
    with pytest.raises(ValidationError, match="image_encoder"):
        ModelConfig(image_encoder="resnet")
