"""An observation has one door into networks: what the encoder does not let through, no network sees."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from metalearn.baselines import mixture, paper_network
from metalearn.baselines.mixture import MixtureConfig, Network
from metalearn.baselines.paper_network import PaperConfig, RetrialNetwork, TrialNetwork
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.parts import observation_vectors
from metalearn.data.spaces import beside_pictures
from metalearn.data.spec import Spec
from metalearn.model import policy
from metalearn.model.inference import Inference
from metalearn.model.observations import (
    ObservationEncoder,
    PartsEncoder,
    UnclippedVectorEncoder,
    VectorEncoder,
    make_baseline_encoder,
    make_observation_encoder,
)
from metalearn.model.policy import ConditionalPolicy

SPEC = Spec(spaces.Box(-1, 1, (6,)), spaces.Box(-1, 1, (2,)), horizon=30, rate_hz=10.0)


class BlindEncoder(ObservationEncoder):
    """A new kind of encoder, whose features are of other sizes than an observation, and always the same."""

    size, frame_size, mean_size, plain_size = 3, 5, 4, 2

    def fit(self, observations: Tensor, episodes: Tensor | None = None) -> None:
        """There is nothing to fit."""

    def forward(self, observations: Tensor) -> Tensor:
        return torch.ones(*observations.shape[:-1], self.size)

    def read(self, observations: Tensor, changes: Tensor, kind: str) -> tuple[Tensor, Tensor | None]:
        return torch.ones(*observations.shape[:-1], self.frame_size), None

    def read_means(self, means: Tensor) -> Tensor:
        return torch.ones(*means.shape[:-1], self.mean_size)

    def look(self, observations: Tensor, queries: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return torch.ones(*observations.shape[:-1], self.plain_size), None


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "make_observation_encoder", lambda spec, config: BlindEncoder())
    for module in (mixture, paper_network):
        monkeypatch.setattr(module, "make_baseline_encoder", lambda spec, fourier=(), ddof=0: BlindEncoder())


def vectors(spec: Spec, n: int) -> Tensor:
    return torch.from_numpy(observation_vectors(spec.example_episode(np.random.default_rng(0), n - 1).observations))


def episodes(n: int) -> list[Episode]:
    """That differ in their observations alone."""
    rng = np.random.default_rng(0)
    actions = SPEC.example_episode(rng, 4).actions
    return [Episode(SPEC.example_episode(rng, 4).observations, actions, success=True) for _ in range(n)]


def acts(means: bool) -> Callable[[], tuple[np.ndarray, ...]]:
    """What the policy makes of two contexts and two observations that differ."""

    def of_policy() -> tuple[np.ndarray, ...]:
        torch.manual_seed(0)
        config = ModelConfig(encoder_width=8, policy_width=8, latent_dim=4, n_hypotheses=2, frame_means=means)
        model = Inference(ConditionalPolicy(config, SPEC), SPEC)
        one, other = episodes(2)
        beliefs = model.infer_belief([Context((one,), (other,)), Context((other,), (one,))])
        conditioning = model.conditioning(np.stack([belief.latent for belief in beliefs]), np.array([1, 1]))
        seen = np.concatenate([one.observations[:1], other.observations[:1]])
        return (
            np.stack([b.latent for b in beliefs]),
            model.act(conditioning, seen),
            model.act(conditioning[[0, 0]], seen),
        )

    return of_policy


def of_mixture() -> tuple[np.ndarray, ...]:
    torch.manual_seed(0)
    network = Network(SPEC, MixtureConfig(width=8, latent_dim=2)).eval()
    seen = torch.from_numpy(np.stack([one.observations[0] for one in episodes(2)]))
    return (network.best(seen, torch.zeros(2, 2)).detach().numpy(),)


def of_paper() -> tuple[np.ndarray, ...]:
    torch.manual_seed(0)
    config = PaperConfig(n_frames=4, kernel=2, filters=(3,), hidden=8, embedding=4)
    trial, retrial = TrialNetwork(SPEC, config).eval(), RetrialNetwork(SPEC, config).eval()
    shown = torch.from_numpy(np.stack([one.observations[:4] for one in episodes(2)]))
    contexts = trial.context(shown), retrial.context(shown, shown, torch.ones(2))
    pairs = zip((trial, retrial), contexts, strict=True)
    return tuple(array.detach().numpy() for array in (*contexts, *(n.best(c, shown[:, 0]) for n, c in pairs)))


NETWORKS = {"policy": acts(False), "policy with means": acts(True), "mixture": of_mixture, "paper": of_paper}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_see_nothing_of_observations_but_what_their_encoder_lets_through(name: str, blind: None) -> None:
    for array in NETWORKS[name]():
        np.testing.assert_allclose(array[0], array[1], atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_check_above_can_fail(name: str) -> None:
    for array in NETWORKS[name]():
        assert np.abs(array[0] - array[1]).max() > 1e-4


def test_rllibs_networks_have_the_same_door(monkeypatch: pytest.MonkeyPatch, blind: None) -> None:
    from metalearn.baselines import rl_module

    monkeypatch.setattr(rl_module, "make_baseline_encoder", lambda spec: BlindEncoder())
    cloned = Network(SPEC, MixtureConfig(width=8, latent_dim=2))
    for network in (None, cloned):
        config = {"spec": SPEC.to_json(), "mean": np.zeros(6), "std": np.ones(6), "cloned": network}
        module = rl_module.ActorCritic(
            observation_space=SPEC.observation_space, action_space=SPEC.action_space, model_config=config
        )
        seen = np.stack([one.observations[0] for one in episodes(2)])
        best, values = module.best(seen), module.compute_values({"obs": torch.from_numpy(seen)})
        np.testing.assert_allclose(best[0], best[1], atol=1e-5)
        torch.testing.assert_close(values[0], values[1])


def of(observation_space: spaces.Space) -> Spec:
    return Spec(observation_space, SPEC.action_space, horizon=40, rate_hz=10.0)


VECTORS = of(spaces.Dict(arm=spaces.Box(-1, 1, (4,)), hand=spaces.Box(-1, 1, (2,))))
LISTED = of(spaces.Dict(near=spaces.Box(-1, 1, (3, 2)), far=spaces.Box(-1, 1, (2, 4)), robot=spaces.Box(-1, 1, (2,))))
PICTURE = of(spaces.Box(0, 255, (9, 7, 3), np.uint8))
CHOICES = of(spaces.Tuple((spaces.Discrete(3, start=5), spaces.MultiDiscrete([2, 3]))))
EVERYTHING = of(
    spaces.Dict(
        arm=spaces.Box(-1, 1, (4,)),
        front=spaces.Box(0, 255, (8, 8, 1), np.uint8),
        wrist=spaces.Box(0, 255, (20, 12, 3), np.uint8),
        mode=spaces.Discrete(4),
        near=spaces.Box(-1, 1, (3, 2)),
    )
)
SPECS = {
    "vector": SPEC,
    "vectors": VECTORS,
    "sets": LISTED,
    "a picture": PICTURE,
    "choices": CHOICES,
    "all": EVERYTHING,
}


def test_vectors_are_read_as_one_and_other_parts_each_by_its_kind() -> None:
    for spec in (SPEC, VECTORS):
        assert type(make_observation_encoder(spec, ModelConfig())) is VectorEncoder
        assert type(make_baseline_encoder(spec)) is UnclippedVectorEncoder
    assert type(make_baseline_encoder(LISTED)) is UnclippedVectorEncoder
    encoder = make_observation_encoder(EVERYTHING, ModelConfig())
    assert isinstance(encoder, PartsEncoder)
    kinds = [type(part).__name__ for part in encoder.parts]
    assert kinds == ["VectorEncoder", "ImageEncoder", "CategoryEncoder", "SetEncoder", "ImageEncoder"]


def test_a_plain_vector_has_the_weights_that_bundles_have_had_from_the_start() -> None:
    assert list(make_observation_encoder(SPEC, ModelConfig()).state_dict()) == ["mean", "std"]


@pytest.mark.parametrize("name", SPECS)
def test_sizes_are_those_of_what_is_made(name: str) -> None:
    spec = SPECS[name]
    seen = vectors(spec, 24).view(2, 3, 4, -1)
    for encoder in (make_observation_encoder(spec, ModelConfig(n_frames=4)), make_baseline_encoder(spec, (0.5,))):
        queries = torch.zeros(2, 5, *encoder.memory_shape) if encoder.memory_shape else None
        plain_numbers = seen[..., beside_pictures(spec.parts)]
        frames, keys = encoder.read(seen, plain_numbers, "demo")
        plain, found = encoder.look(seen[:, :1], queries)
        sizes = (encoder.size, encoder.frame_size, encoder.mean_size, encoder.plain_size)
        made = (encoder(seen), frames, encoder.read_means(plain_numbers), plain)
        assert sizes == tuple(one.shape[-1] for one in made)
        assert encoder.found_size == (0 if found is None else found.shape[-1])
        assert encoder.memory_shape == (None if keys is None else keys.shape[-2:])


def test_the_policy_and_the_baselines_normalise_each_in_their_way() -> None:
    seen = torch.tensor([[-1.0, 5.0, 1e-9], [1.0, 5.0, 3e-9]])
    spec = Spec(spaces.Box(-9, 9, (3,)), SPEC.action_space, horizon=8, rate_hz=10.0)
    ours, baseline = make_observation_encoder(spec, ModelConfig(fourier=())), make_baseline_encoder(spec)
    ours.fit(seen)
    baseline.fit(seen)
    far = torch.tensor([[100.0, 6.0, 2e-9]])
    # Clipped; what was always 5 says nothing; what is small is not a constant.
    torch.testing.assert_close(ours(far), torch.tensor([[5.0, 0.0, 0.0]]))
    torch.testing.assert_close(baseline(far), torch.tensor([[100.0, 0.0, 0.0]]))


def test_baselines_see_pictures_and_choices_and_learn_to() -> None:
    network, seen = Network(EVERYTHING, MixtureConfig(width=8, latent_dim=2)), vectors(EVERYTHING, 3)
    network.observations.fit(seen)
    network(seen[:, None], torch.zeros(3, 2)).sum().backward()
    assert network.observations.parts[1].network.convolutions[0].weight.grad.abs().sum() > 0


def test_each_part_is_fitted_to_its_own_numbers() -> None:
    spec = of(spaces.Dict(arm=spaces.Box(-9, 9, (1,)), mode=spaces.Discrete(3)))
    encoder, seen = make_observation_encoder(spec, ModelConfig(fourier=())), torch.tensor([[2.0, 0.0], [4.0, 2.0]])
    encoder.fit(seen)
    torch.testing.assert_close(encoder(seen), torch.tensor([[-(0.5**0.5), 1, 0, 0], [0.5**0.5, 0, 0, 1]]))


def test_a_choice_becomes_a_column_and_its_change_a_flag() -> None:
    encoder = make_observation_encoder(CHOICES, ModelConfig())
    seen = torch.tensor([[6.0, 1.0, 2.0]])
    columns = [0, 1, 0, 0, 1, 0, 0, 1]
    assert encoder(seen)[0].tolist() == columns
    frames, keys = encoder.read(seen[None, None], torch.tensor([[[[0.0, -1.0, 0.0]]]]), "demo")
    assert frames.flatten().tolist() == [*columns[:3], 0, *columns[3:], 1, 0]
    assert keys is None


def test_two_sets_have_a_memory_each_and_are_asked_for_what_they_hold() -> None:
    encoder, seen = make_observation_encoder(LISTED, ModelConfig(n_frames=2)), vectors(LISTED, 4).view(2, 1, 2, -1)
    assert isinstance(encoder, PartsEncoder)
    far, near, robot = encoder.parts
    assert encoder.memory_shape == (8, 32)
    queries = torch.randn(2, 3, 8, 32)
    plain, found = encoder.look(seen, queries)
    torch.testing.assert_close(plain, robot.look(seen[..., -2:], None)[0])
    expected = [far.look(seen[..., :8], queries[:, :, :4])[1], near.look(seen[..., 8:14], queries[:, :, 4:])[1]]
    torch.testing.assert_close(found, torch.cat(expected, -1))


@pytest.mark.parametrize("name", ["a picture", "choices", "all"])
def test_dynamics_are_refused_for_observations_that_are_no_vectors(name: str) -> None:
    with pytest.raises(InvalidConfig, match="dynamics_rank"):
        _ = make_observation_encoder(SPECS[name], ModelConfig()).unit


def test_numbers_of_entities_have_units_for_dynamics_too() -> None:
    encoder = make_observation_encoder(LISTED, ModelConfig())
    encoder.fit(torch.arange(32.0).view(2, 16).sin())
    assert encoder.unit.shape == (16,)
    assert encoder.unit[:8].tolist() == 2 * encoder.unit[:4].tolist()
