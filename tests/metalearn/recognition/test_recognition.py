"""Who acted: likelihoods by hand, relations between them, and posteriors that add up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from scipy.stats import norm

from metalearn.adapter import ActionHeads, Belief, sample_actions
from metalearn.bundle import Bundle
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.recognition import (
    Candidates,
    EpisodeEvidence,
    InverseModel,
    RecognitionCalibration,
    evidence_of,
    evidence_of_each,
    recognise,
)
from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.deviation import watched_deviation
from metalearn.recognition.likelihood import chance, predictive, step_log_likelihoods
from metalearn.recognition.posterior import posterior

SEEN = spaces.Box(-np.inf, np.inf, (3,), np.float32)
BOX = Spec(SEEN, spaces.Box(-2.0, 2.0, (2,), np.float32), 50, 10.0)
CHOICES = Spec(SEEN, spaces.MultiDiscrete([2, 3]), 50, 10.0)
EXACT = EvidenceScale(sigma=1.0, width=3.0, outliers=1e-6, weight=1.0, dependence=0.0, nobody=0.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def heads(means: object, log_sigma: float = -1.0) -> ActionHeads:
    out = np.asarray(means, np.float32)
    return ActionHeads(out, np.full((len(out), out.shape[-1]), log_sigma, np.float32))


def one_each(n: int) -> Candidates:
    return Candidates.of([[Belief(np.zeros(2, np.float32), np.ones(1, np.float32))]] * n)


def test_a_step_is_as_probable_as_its_normal_distribution_says() -> None:
    done = np.array([[0.5, -0.25]], np.float32)
    narrow, wide = step_log_likelihoods(heads([[[0.25, 0.0]]]), done, np.zeros(2, np.float32), Units(BOX), EXACT)
    sigma = np.exp(-1.0)
    assert narrow[0, 0] == pytest.approx(norm.logpdf([0.25, 0.25], 0, sigma).sum(), abs=1e-4)
    assert wide[0, 0] == pytest.approx(norm.logpdf([0.25, 0.25], 0, 3 * sigma).sum(), abs=1e-4)


def test_a_mean_out_of_bounds_is_the_bound_that_the_policy_acts_on() -> None:
    done = np.array([[2.0, 2.0]], np.float32)
    at, beyond = (
        step_log_likelihoods(heads([[[x, x]]]), done, np.zeros(2, np.float32), Units(BOX), EXACT)[0] for x in (2.0, 9.0)
    )
    assert at == pytest.approx(beyond)


def test_densities_are_per_unit_of_the_raw_action_whatever_the_unit_of_the_model() -> None:
    episode = Episode.of(np.zeros((3, 3)), [[1.0, -1.0], [0.5, 0.0]])
    plain, halves = Units(BOX), Units(BOX, actions=((0.5, 2.0), (0.0, 2.0)))
    means = np.array([[[0.9, -0.8], [0.4, 0.1]]])
    encoded = (means - [0.5, 0.0]) / 2
    one = evidence_of(heads(means, -1.0), one_each(1), episode, plain, EXACT)
    other = evidence_of(heads(encoded, -1.0 - np.log(2)), one_each(1), episode, halves, EXACT)
    np.testing.assert_allclose(one.steps, other.steps, atol=1e-4)
    assert chance(plain) == pytest.approx(chance(halves)) == pytest.approx(-2 * np.log(4))


def test_choices_are_as_probable_as_their_softmaxes_say() -> None:
    logits = np.log(np.array([[[0.25, 0.75, 0.2, 0.3, 0.5]]], np.float32))
    done = Units(CHOICES).encode_actions(np.array([[1, 2]]))
    narrow, _ = step_log_likelihoods(heads(logits), done, np.zeros(5, np.float32), Units(CHOICES), EXACT)
    assert narrow[0, 0] == pytest.approx(np.log(0.75 * 0.5), abs=1e-4)
    unsure = np.array([[0.5, 0.5, 0.0, 0.0, 1.0]], np.float32)
    narrow, _ = step_log_likelihoods(heads(logits), unsure, np.zeros(5, np.float32), Units(CHOICES), EXACT)
    assert narrow[0, 0] == pytest.approx(np.log((0.125 + 0.375) * 0.5), abs=1e-4)
    assert chance(Units(CHOICES)) == pytest.approx(-np.log(6))


def test_steps_add_up_to_the_marginal_over_hypotheses(rng: np.random.Generator) -> None:
    beliefs = [Belief(np.zeros(2, np.float32), np.array([0.7, 0.3], np.float32))]
    candidates = Candidates.of([beliefs, beliefs])
    steps = rng.normal(size=(4, 6))
    whole = np.log(0.7 * np.exp(steps[0].sum()) + 0.3 * np.exp(steps[1].sum()))
    found = predictive(steps, candidates)
    assert found.shape == (2, 6)
    assert found[0].sum() == pytest.approx(whole, abs=1e-6)


def test_hypotheses_that_nobody_believes_in_are_left_out() -> None:
    sure = Belief(np.zeros(2, np.float32), np.array([0.0, 0.9999, 0.0001, 0.0], np.float32))
    flat = Belief(np.ones(2, np.float32), np.full(4, 0.25, np.float32))
    candidates = Candidates.of([[sure], [flat], [sure, flat]])
    assert candidates.owner.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert candidates.hypotheses[0] == 1
    np.testing.assert_allclose([np.exp(candidates.log_weights[candidates.owner == i]).sum() for i in range(3)], 1)


def test_whoever_acts_as_predicted_is_recognised_and_copies_share(rng: np.random.Generator) -> None:
    means = rng.uniform(-1, 1, (3, 20, 2))
    means[1] = means[0]
    done = means[0] + rng.normal(0, np.exp(-1.0), (20, 2))
    episode = Episode.of(np.zeros((21, 3)), np.clip(done, -2, 2))
    found = recognise([evidence_of(heads(means), one_each(3), episode, Units(BOX), EXACT)], EXACT)
    assert found.probabilities.sum() == pytest.approx(1)
    assert found.probabilities[0] == pytest.approx(found.probabilities[1]) == pytest.approx(0.5, abs=0.01)
    assert not found.enough
    alone = recognise([evidence_of(heads(means[1:]), one_each(2), episode, Units(BOX), EXACT)], EXACT)
    assert (alone.best, alone.enough, alone.n_steps) == (0, True, 20)
    assert [scores.shape for scores in alone.scores] == [(3, 20)]


def test_somebody_near_a_candidate_who_is_not_it_is_none_of_these() -> None:
    means = np.zeros((2, 20, 2))
    means[1] = 1.5
    near = Episode.of(np.zeros((21, 3)), np.full((20, 2), 3 * np.exp(-1.0)) * np.tile([[1, -1], [-1, 1]], (10, 1)))
    found = recognise([evidence_of(heads(means), one_each(2), near, Units(BOX), EXACT)], EXACT)
    assert found.best == 2
    assert found.enough


def test_evidence_of_several_episodes_adds_up() -> None:
    one = EpisodeEvidence(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[-9.0, -9.0]]))
    long = EpisodeEvidence(np.tile(one.steps, 2), np.tile(one.others, 2))
    np.testing.assert_allclose(recognise([one, one], EXACT).probabilities, recognise([long], EXACT).probabilities)
    assert recognise([one], EXACT).probabilities[0] == pytest.approx(np.exp(2) / (np.exp(2) + 1), abs=1e-6)
    damped = EvidenceScale(1.0, 3.0, 0.01, 1.0, 1.0, 0.0)  # a mean per step
    assert recognise([one, one], damped).probabilities[0] == pytest.approx(np.exp(1) / (np.exp(1) + 1), abs=1e-4)


@pytest.mark.parametrize("known", [(True, True, True), (True, False, True), (False, False, False)])
def test_the_evidence_of_many_episodes_at_once_is_that_of_each_alone(
    rng: np.random.Generator, known: tuple[bool, ...]
) -> None:
    lengths, noise = (4, 1, 7), np.full(2, 0.3, np.float32)
    inverse = InverseModel(rng.normal(size=(7, 2)).astype(np.float32), noise)
    whole = [Episode.of(rng.normal(size=(n + 1, 3)), rng.uniform(-2, 2, (n, 2))) for n in lengths]
    episodes = [one if acted else one.without_actions() for one, acted in zip(whole, known, strict=True)]
    pair = Belief(np.zeros(2, np.float32), np.array([0.3, 0.7], np.float32))
    candidates = Candidates.of([[pair], [pair], [pair]])
    means = rng.normal(size=(6, sum(lengths), 2))
    together = evidence_of_each(heads(means), candidates, episodes, Units(BOX), EXACT, inverse)
    for episode, part, found in zip(episodes, np.split(means, np.cumsum(lengths)[:-1], 1), together, strict=True):
        alone = evidence_of(heads(part), candidates, episode, Units(BOX), EXACT, inverse)
        np.testing.assert_allclose(found.steps, alone.steps, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.others, alone.others, rtol=1e-9, atol=1e-9)


def test_an_inverse_says_which_action_led_to_what_is_seen(rng: np.random.Generator) -> None:
    def walk(n: int) -> Episode:
        actions = rng.uniform(-2, 2, (n, 2))
        seen = np.cumsum(np.vstack([np.zeros(2), 0.1 * actions]), 0)
        return Episode.of(np.hstack([seen, rng.normal(size=(n + 1, 1))]), actions)

    inverse = InverseModel.fit([walk(30) for _ in range(5)], Units(BOX))
    fresh = walk(10)
    np.testing.assert_allclose(inverse.predict(fresh.observations, BOX), fresh.actions, atol=0.02)
    with pytest.raises(InvalidData, match="at least one episode with actions"):
        InverseModel.fit([fresh.without_actions()], Units(BOX))
    with pytest.raises(InvalidConfig, match="inverse"):
        inverse.check(CHOICES)


def test_choices_are_inferred_from_what_they_do(rng: np.random.Generator) -> None:
    actions = np.stack([rng.integers(2, size=50), rng.integers(3, size=50)], -1)
    moved = np.stack([actions[:, 0], actions[:, 1] - 1.0, np.zeros(50)], -1)
    episode = CHOICES.fit(Episode.of(np.cumsum(np.vstack([np.zeros(3), moved]), 0), actions))
    found = InverseModel.fit([episode], Units(CHOICES)).predict(episode.observations, CHOICES)
    assert (found[:, :2].argmax(-1) == actions[:, 0]).mean() > 0.95
    assert (found[:, 2:].argmax(-1) == actions[:, 1]).mean() > 0.95
    np.testing.assert_allclose(found[:, :2].sum(-1), 1, atol=1e-5)


def test_what_is_not_known_of_actions_is_no_evidence() -> None:
    episode = Episode.of(np.zeros((11, 3)))
    vague = InverseModel(np.zeros((7, 2), np.float32), np.full(2, 1e4, np.float32))
    sharp = InverseModel(np.zeros((7, 2), np.float32), np.full(2, 1e-4, np.float32))
    means = np.zeros((2, 10, 2))
    means[1] = 1.0
    told = [
        recognise([evidence_of(heads(means), one_each(2), episode, Units(BOX), EXACT, inverse)], EXACT)
        for inverse in (vague, sharp)
    ]
    assert told[0].probabilities[0] == pytest.approx(told[0].probabilities[1], abs=1e-3)
    assert told[1].best == 0


def test_a_bundle_keeps_its_calibration_and_its_id(tmp_path: Path) -> None:
    plain = Bundle("point", BOX, {}, {"w": np.zeros(1, np.float32)})
    inverse = InverseModel(np.ones((7, 2), np.float32), np.ones(2, np.float32))
    made = RecognitionCalibration(EXACT, inverse, (Belief(np.ones(2, np.float32), np.ones(1, np.float32)),), True)
    kept = Bundle.load(plain.with_recognition(made.to_weights(), {"n_cases": 3}).save(tmp_path / "b"))
    found = RecognitionCalibration.of(kept)
    assert kept.id == plain.id
    assert found.fitted
    assert vars(found.scale) == pytest.approx(vars(EXACT), rel=1e-5)
    assert not RecognitionCalibration.of(plain).fitted
    with pytest.raises(InvalidConfig, match="does not fit"):
        RecognitionCalibration.of(plain.with_recognition({"scale": np.zeros(2, np.float32)}, {}))


def test_a_hand_that_shakes_is_told_from_one_that_is_imitated_badly(rng: np.random.Generator) -> None:
    units, belief = Units(BOX), Belief(np.zeros(2, np.float32), np.ones(1, np.float32))

    def heads_of(latents: object, hypotheses: object, observations: object, actions: np.ndarray) -> ActionHeads:
        return heads(np.zeros((1, len(actions), 2)), log_sigma=0.0)

    steady = Episode.of(np.zeros((81, 3)), np.full((80, 2), 0.5))
    shaky = Episode.of(np.zeros((81, 3)), np.clip(rng.normal(0.5, 0.2, (80, 2)), -2, 2))
    found = [
        watched_deviation(context, belief, 0, heads_of, units)
        for context in (Context((steady,)), Context((shaky,)), Context((shaky.without_actions(),)))
    ]
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
    np.testing.assert_allclose(found[1], 0.2, rtol=0.2)
    np.testing.assert_allclose(found[2], 1)  # nobody saw its hand: the policy's own sigma


def test_drawn_actions_vary_as_they_should_and_stay_in_bounds(rng: np.random.Generator) -> None:
    means = np.tile(np.array([[0.0, 1.9]], np.float32), (4000, 1))
    drawn = sample_actions(means, np.array([[0.3, 1.0]], np.float32), Units(BOX), rng)
    assert drawn[:, 0].std() == pytest.approx(0.3, rel=0.1)
    assert drawn[:, 1].max() == 2
    logits = np.log(np.tile(np.array([[0.25, 0.75, 0.2, 0.3, 0.5]], np.float32), (4000, 1)))
    chosen = sample_actions(logits, np.zeros((1, 5), np.float32), Units(CHOICES), rng)
    assert chosen.shape == (4000, 2)
    assert chosen[:, 0].mean() == pytest.approx(0.75, abs=0.03)
    assert (chosen[:, 1] == 2).mean() == pytest.approx(0.5, abs=0.03)


def test_evidence_counts_by_its_lead_and_nobody_by_the_number_of_steps() -> None:
    likely, others, steps = np.array([[0.0, -2.0]]), np.array([[-1.0]]), np.array([8])
    plain = posterior(likely, others, steps, -1.0, EXACT)
    surer = posterior(likely, others, steps, -1.0, replace(EXACT, weight_lead=1.0))
    assert surer[0, 0] > plain[0, 0] and surer[0, 1] < plain[0, 1]
    anybody = posterior(likely, others, steps, -1.0, replace(EXACT, nobody_steps=1.0))
    odds = (anybody[0, 2] / anybody[0, 0]) / (plain[0, 2] / plain[0, 0])
    assert odds == pytest.approx(8)
    # A question with fewer candidates is the same as one that never had more.
    fewer = posterior(np.array([[0.0, -2.0, -np.inf]]), np.array([[-1.0, -np.inf]]), steps, -1.0, EXACT)
    np.testing.assert_allclose(fewer[0, [0, 1, 3]], plain[0])
