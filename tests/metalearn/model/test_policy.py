from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from support.asks import Urgency
from torch import Tensor

from metalearn.adapter import Belief
from metalearn.config import ModelConfig
from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spaces import from_vectors
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.model.policy import LOG_SIGMA_RANGE, OUTLIER, ConditionalPolicy

CONTINUOUS = Spec(spaces.Box(-3, 3, (6,)), spaces.Box(-1, 1, (2,)), horizon=8, rate_hz=10.0)
DISCRETE = Spec(spaces.Box(-3, 3, (6,)), spaces.Discrete(3, start=2), horizon=8, rate_hz=10.0)
OBJECTS, BODY = spaces.Box(-3, 3, (2, 3)), spaces.Box(-3, 3, (2,))
LISTED = Spec(spaces.Dict(objects=OBJECTS), CONTINUOUS.action_space, horizon=8, rate_hz=10.0)
TWO_LISTS = Spec(spaces.Dict(body=BODY, near=OBJECTS, far=OBJECTS), DISCRETE.action_space, horizon=8, rate_hz=10.0)


def inference(spec: Spec = CONTINUOUS, **fields: Any) -> Inference:
    torch.manual_seed(0)
    config = ModelConfig(encoder_width=16, policy_width=16, latent_dim=8, n_hypotheses=3, **fields)
    return Inference(ConditionalPolicy(config, spec), spec)


def some_episodes(spec: Spec, n: int, seed: int = 0) -> list[Episode]:
    rng = np.random.default_rng(seed)
    return [spec.example_episode(rng, n_steps=1 + i) for i in range(n)]


def latents(model: Inference, contexts: Sequence[Context]) -> np.ndarray:
    return np.stack([belief.latent for belief in model.infer_belief(contexts)])


@pytest.mark.parametrize("spec", [CONTINUOUS, DISCRETE, LISTED, TWO_LISTS])
@pytest.mark.parametrize(("k", "n_trials"), [(0, 0), (1, 0), (0, 2), (3, 1), (2, 5)])
def test_any_number_of_demos_and_trials_gives_an_action(spec: Spec, k: int, n_trials: int):
    model = inference(spec)
    episodes = some_episodes(spec, k + n_trials)
    (belief,) = model.infer_belief([Context(tuple(episodes[:k]), tuple(episodes[k:]))])
    assert belief.probabilities.sum() == pytest.approx(1, abs=1e-5)
    observation = spec.example_episode(np.random.default_rng(0)).observations[:1]
    action = model.act(model.conditioning(belief.latent[None], np.array([0])), observation)
    assert spec.action_space.contains(action[0])


@pytest.mark.parametrize("spec", [CONTINUOUS, LISTED])
def test_the_order_of_demos_and_of_trials_does_not_matter(spec: Spec):
    model, (a, b, c, d) = inference(spec), some_episodes(spec, 4)
    one, other = latents(model, [Context((a, b), (c, d)), Context((b, a), (d, c))])
    np.testing.assert_allclose(one, other, atol=1e-5)


def failures(*episodes: Episode) -> list[Episode]:
    return [replace(episode, success=False) for episode in episodes]


def test_a_failure_tells_nothing_until_one_is_learnt_from():
    model, (a, b, c) = inference(max_trials=3), some_episodes(CONTINUOUS, 3)
    for others in ((), (c,)):
        one, other = latents(model, [Context((a,), (*failures(b, b), *others)), Context((a,), others)])
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_trial_is_not_a_demo_and_success_is_not_failure():
    model, (a, b) = inference(), some_episodes(CONTINUOUS, 2)
    torch.nn.init.normal_(model.policy.encoder.trial[-1].weight)  # as if failures had been learnt from
    contexts = [Context((a, b)), Context((a,), (b,)), Context((a,), (*failures(b),)), Context((a,))]
    different = latents(model, contexts)
    distances = np.abs(different[:, None] - different[None]).max(-1)[~np.eye(4, dtype=bool)]
    assert distances.min() > 1e-4


def test_a_context_is_encoded_alike_alone_and_among_others():
    model, (a, b, c) = inference(), some_episodes(CONTINUOUS, 3)
    alone = latents(model, [Context((a,))])[0]
    among = latents(model, [Context((b, c), (a,)), Context((a,)), Context()])[1]
    np.testing.assert_allclose(alone, among, atol=1e-5)


def test_entities_may_be_listed_in_any_order():
    model, (a,) = inference(LISTED), some_episodes(LISTED, 1)
    swapped = Episode.of({"objects": a.observations["objects"][:, ::-1]}, a.actions, a.rewards, a.success)
    one, other = latents(model, [Context((a,)), Context((swapped,))])
    np.testing.assert_allclose(one, other, atol=1e-5)
    conditioning = model.conditioning(one[None], np.array([1]))
    acted = [model.act(conditioning, episode.observations[:1]) for episode in (a, swapped)]
    np.testing.assert_allclose(*acted, atol=1e-5)


def test_an_ask_that_nobody_trained_for_is_refused():
    with pytest.raises(InvalidData, match='ask: expected null: this model was trained for no ask, got "urgency"'):
        inference().infer_belief([Context(ask=Ask((Urgency(),)))])


def test_weights_survive_the_bundle():
    model, (a,) = inference(), some_episodes(CONTINUOUS, 1)
    policy = model.policy
    again = Inference(ConditionalPolicy.from_weights(policy.config, CONTINUOUS, policy.to_weights()), CONTINUOUS)
    np.testing.assert_array_equal(latents(model, [Context((a,))]), latents(again, [Context((a,))]))


def test_an_actor_explores_until_a_trial_was_scored():
    model, (a, b) = inference(), some_episodes(CONTINUOUS, 2)
    rng = np.random.default_rng(0)
    exploring = {tuple(model.adapt([Context((a,))], rng).hypotheses) for _ in range(40)}
    settled = {tuple(model.adapt([Context((a,), (b,))], rng).hypotheses) for _ in range(40)}
    assert len(exploring) > 1
    assert len(settled) == 1


def test_conditioning_leads_to_the_actions_that_are_most_likely_in_training():
    for spec in (CONTINUOUS, DISCRETE, LISTED):
        model = inference(spec)
        beliefs = model.infer_belief([Context((one,)) for one in some_episodes(spec, 3)])
        latent, hypotheses = np.stack([belief.latent for belief in beliefs]), np.array([0, 1, 1])
        seen = np.random.default_rng(0).normal(size=(3, spec.observation_size)).astype(np.float32)

        def likelihood(actions, model=model, latent=latent, seen=seen, hypotheses=hypotheses):
            steps = [torch.from_numpy(array)[:, None] for array in (seen, actions)]
            nothing = torch.zeros(3, 1, model.policy.n_sums)
            found = model.policy.log_likelihood(torch.from_numpy(latent), *steps, torch.ones(3, 1), nothing)
            return found[torch.arange(3), torch.from_numpy(hypotheses)]

        with torch.inference_mode():
            conditioning = model.policy.conditioning(torch.from_numpy(latent), torch.from_numpy(hypotheses))
            wanted = model.policy.act(conditioning, torch.from_numpy(seen)).numpy()
            if spec.discrete:
                others = torch.stack([likelihood(np.full(3, action)) for action in range(spec.action_size)])
                np.testing.assert_array_equal(others.argmax(0), wanted)
            else:
                top = -model.policy.log_sigma.sum().expand(3)  # of a Gaussian, up to a constant
                torch.testing.assert_close(likelihood(wanted), top)
        expected = wanted if spec.discrete else np.clip(wanted, spec.action_space.low, spec.action_space.high)
        acted = model.act(model.conditioning(latent, hypotheses), from_vectors(seen, spec.observation_space))
        np.testing.assert_array_equal(acted, expected + (spec.action_space.start if spec.discrete else 0))


def test_an_episode_has_to_tell_more_against_what_its_context_says():
    torch.manual_seed(0)
    policy = ConditionalPolicy(ModelConfig(n_hypotheses=3, memory=2), CONTINUOUS).eval()
    latent = torch.zeros(1, policy.config.latent_dim + policy.n_sums)
    observation = torch.ones(1, CONTINUOUS.observation_size)

    def set_to(network: str, *values: float) -> None:
        with torch.no_grad():
            policy.get_parameter(f"{network}.2.weight").zero_()
            policy.get_parameter(f"{network}.2.bias").copy_(torch.tensor(values))

    def acted(chosen: int, *told: float) -> torch.Tensor:
        """The action of an episode that has told so much for each hypothesis, for so long that all of it counts."""
        set_to("evidence", *told)
        conditioning = policy.conditioning(latent, torch.tensor([chosen]))
        conditioning[:, -1] = 1e6  # the number of steps
        with torch.inference_mode():
            return policy.act(conditioning, observation)

    set_to("prior", 0.0, -8.0, -8.0)
    under = [acted(z, 0.0, 0.0, 0.0) for z in range(3)]
    assert not any(torch.equal(under[i], under[j]) for i, j in ((0, 1), (0, 2), (1, 2))), "whoever is drawn is kept"
    assert torch.equal(acted(0, 0.0, 6.0, 0.0), under[0])
    assert torch.equal(acted(0, 0.0, 12.0, 0.0), under[1])
    assert torch.equal(acted(2, 6.0, 0.0, 0.0), under[0])
    set_to("prior", 0.0, 0.0, 0.0)
    assert torch.equal(acted(0, 0.0, 6.0, 0.0), under[1])
    with pytest.raises(InvalidConfig, match="memory: expected 0"):
        ConditionalPolicy(ModelConfig(n_hypotheses=1, memory=2), CONTINUOUS)


def pull(policy: ConditionalPolicy, n_deviations: float) -> Tensor:
    """The gradient of a likelihood in an action so many deviations off."""
    (episode,) = some_episodes(CONTINUOUS, 1)
    (belief,) = Inference(policy, CONTINUOUS).infer_belief([Context((episode,))])
    latent, seen = torch.from_numpy(belief.latent)[None], torch.from_numpy(episode.observations[:1].copy())
    with torch.no_grad():
        mean = policy.act(policy.conditioning(latent, torch.zeros(1, dtype=torch.long)), seen)
    action = mean + n_deviations * policy.log_sigma.detach().clamp(*LOG_SIGMA_RANGE).exp()
    nothing = torch.zeros(1, 1, policy.n_sums)
    known = latent, seen[:, None], action[:, None].requires_grad_(), torch.ones(1, 1), nothing
    (gradient,) = torch.autograd.grad(policy.log_likelihood(*known)[0, 0], known[2])
    return gradient


@pytest.mark.parametrize("log_sigma", [-0.5, -2.0, -9.0])
def test_a_likelihood_is_as_steep_as_its_gradient_one_deviation_off(log_sigma: float):
    policy = inference(CONTINUOUS).policy
    with torch.no_grad():
        policy.log_sigma.fill_(log_sigma)
    torch.testing.assert_close(policy.steepness, pull(policy, 1.0).norm())
    assert float(inference(DISCRETE).policy.steepness) == 1.0


def test_what_is_far_off_does_not_pull_harder_the_farther_it_is():
    policy = inference(CONTINUOUS).policy
    one, three, many = (pull(policy, n) for n in (1.0, OUTLIER, 40.0))
    torch.testing.assert_close(three, OUTLIER * one)
    torch.testing.assert_close(many, three)


def test_a_belief_samples_by_its_probabilities_and_knows_its_entropy():
    belief = Belief(np.zeros(1, np.float32), np.array([0.25, 0.75, 0.0], np.float32))
    rng = np.random.default_rng(0)
    drawn = np.bincount([belief.sample(rng) for _ in range(2000)], minlength=3) / 2000
    np.testing.assert_allclose(drawn, [0.25, 0.75, 0.0], atol=0.04)
    assert belief.map_hypothesis == 1
    assert belief.entropy == pytest.approx(0.25 * np.log(4) + 0.75 * np.log(4 / 3), abs=1e-6)


def test_more_trials_than_in_any_training_context_count_as_the_longest_one():
    model, (a, b) = inference(), some_episodes(CONTINUOUS, 2)
    longest = model.policy.config.max_trials
    few, many = latents(model, [Context((a,), (b,) * longest), Context((a,), (b,) * (5 * longest))])
    np.testing.assert_allclose(few, many, atol=1e-5)
