"""Confidence: an estimate follows from its weights, and what calibration learns holds on other tasks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from support.asks import OFFERS
from support.bundles import reach_ask

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.confidence import Confidence, Novelty, describe, kind
from metalearn.config import DataConfig, ModelConfig
from metalearn.data.asks import KINDS, Ask, Goal, Return, sizes_of
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.tasks.family import TaskId
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import episode_seeds
from metalearn.training.calibrate import Plan, Played, demonstrate, draw_asks
from metalearn.training.collect import SerialCollector

SPEC = Spec(spaces.Box(-9, 9, (3,), np.float32), spaces.Box(-1, 1, (2,), np.float32), horizon=10, rate_hz=10.0)


def walks(n: int, seed: int = 0, backwards: bool = False) -> list[Episode]:
    """From around the origin straight to a far place that the third number names."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, 2 * np.pi, n)
    ends = np.stack([np.cos(angles), np.sin(angles)], 1)
    paths = np.linspace(0, 1, 8)[:, None] * ends[:, None] + rng.normal(0, 0.02, (n, 8, 2))
    named = np.concatenate([paths, np.repeat(angles[:, None, None], 8, 1)], 2)
    return [Episode.of(path[::-1] if backwards else path) for path in named]


def belief(p: float = 0.5) -> Belief:
    return Belief(np.zeros(4, np.float32), np.array([p, 1 - p], np.float32))


def belief_of(config: ModelConfig) -> Belief:
    return Belief(
        np.zeros(config.latent_dim, np.float32), np.ones(config.n_hypotheses, np.float32) / config.n_hypotheses
    )


def scored_trials(*outcomes: bool) -> tuple[Episode, ...]:
    return tuple(Episode.of(np.zeros((3, 3)), np.zeros((2, 2)), success=outcome) for outcome in outcomes)


@pytest.fixture(scope="module")
def novelty() -> Novelty:
    from metalearn.training.novelty import fit_novelty

    return Novelty(fit_novelty(walks(600), SPEC, seed=0, steps=300), SPEC)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """Succeeds after a failure, and half the time before."""
    from metalearn.training.success import fit_head

    rng = np.random.default_rng(0)
    situations, outcomes, group = [], [], []
    for _ in range(300):
        for tried in range(2):
            context = Context(trials=scored_trials(*[False] * tried))
            situations.append(describe(belief(rng.uniform()), context, None))
            outcomes.append([1.0 if tried else float(rng.random() < 0.5), 1.0])
            group.append(kind(context, None))
    task = np.arange(600) // 2
    head = fit_head(np.stack(situations), np.array(outcomes), task, np.array(group), task % 2 == 0, seed=0, steps=200)
    return {f"success.{name}": value for name, value in head.items()}


def test_demos_with_small_pictures_are_told_from_noise() -> None:
    from metalearn.training.novelty import fit_novelty

    picture, place = spaces.Box(0, 255, (4, 4, 3), np.uint8), spaces.Box(-1, 1, (1,), np.float32)
    spec = Spec(spaces.Dict(at=place, seen=picture), spaces.Discrete(2), horizon=10, rate_hz=10.0)
    rng = np.random.default_rng(0)

    def demo(brightness: float) -> Episode:
        """A spot in the picture's corner that gets brighter on the way."""
        seen = np.zeros((6, 4, 4, 3), np.uint8)
        seen[:, 0, 0] = (brightness * np.arange(1, 7))[:, None]
        return Episode.of({"at": np.linspace(-1, brightness / 40, 6)[:, None].astype(np.float32), "seen": seen})

    demos = [demo(rng.uniform(20, 40)) for _ in range(300)]
    novelty = Novelty(fit_novelty(demos[:200], spec, seed=0, steps=200), spec)
    noise = [
        Episode.of({"at": one.observations["at"], "seen": rng.integers(0, 255, (6, 4, 4, 3), np.uint8)})
        for one in demos[:20]
    ]
    assert novelty.scores(noise).min() > np.quantile(novelty.scores(demos[200:]), 0.95)


def test_ordinary_demos_are_typical_and_backward_ones_are_not(novelty: Novelty) -> None:
    quantiles = [novelty.quantile(score) for score in novelty.scores(walks(200, seed=1))]
    assert 0.35 < np.mean(quantiles) < 0.65
    strange = [novelty.quantile(score) for score in novelty.scores(walks(200, seed=2, backwards=True))]
    assert np.mean(np.array(strange) > 0.95) > 0.9


def test_far_from_everything_is_as_strange_as_can_be(novelty: Novelty) -> None:
    far = [Episode.of(demo.observations + 100) for demo in walks(20, seed=3)]
    assert {round(novelty.quantile(score), 2) for score in novelty.scores(far)} == {1.0}


def test_what_nobody_recorded_of_a_demo_is_not_strange(novelty: Novelty) -> None:
    seen = walks(1)[0].observations
    full = Episode.of(seen, np.ones((7, 2)), np.ones(7), True)
    assert novelty.scores([full]) == novelty.scores([Episode.of(seen)])


def test_a_trial_is_worth_what_it_adds(weights: dict[str, np.ndarray]) -> None:
    confidence = Confidence(weights, SPEC)
    before = confidence.estimate(belief(), Context())
    after = confidence.estimate(belief(), Context(trials=scored_trials(False)))
    assert before.success == pytest.approx(0.5, abs=0.12)
    assert after.success > 0.95
    assert before.value_of_trial == pytest.approx(after.success - before.success, abs=0.1)
    assert abs(after.value_of_trial) < 0.05
    assert before.novelty is None


def test_an_ask_is_a_part_of_what_success_is_predicted_from() -> None:
    asked, nothing = Context(ask=Ask.from_json({"return": 120.0})), Context()
    seen = [describe(belief(), context, None, OFFERS) for context in (asked, nothing)]
    plain = describe(belief(), nothing, None)
    assert len(seen[0]) == len(plain) + sum(1 + kind.size(offer) for kind, offer in zip(KINDS, OFFERS, strict=False))
    np.testing.assert_array_equal(seen[1], np.concatenate([plain, np.zeros(len(seen[1]) - len(plain))]))
    assert seen[0][len(plain) + 1] == 1  # a return is asked for


def test_a_confidence_without_asks_says_nothing_of_one(weights: dict[str, np.ndarray]) -> None:
    confidence, older = Confidence(weights, SPEC, OFFERS), Confidence(weights, SPEC)
    assert confidence.estimate(belief(), Context()) == older.estimate(belief(), Context())
    assert confidence.estimate(belief(), Context(ask=Ask.from_json({"better": True}))) is None


def test_a_confidence_with_asks_expects_less_of_who_is_asked_to_be_bad() -> None:
    from metalearn.training.success import fit_head

    rng = np.random.default_rng(0)
    asks = [
        Ask.from_json({"return": float(value)}) if rng.random() < 0.7 else Ask() for value in rng.uniform(-20, 120, 600)
    ]
    wanted = [ask.to_json().get("return", 120.0) for ask in asks]
    seen = np.stack([describe(belief(), Context(ask=ask), None, OFFERS) for ask in asks])
    outcomes = np.array([[float(value > 50), np.nan] for value in wanted])
    task = np.arange(600)
    head = fit_head(seen, outcomes, task, np.zeros(600, int), task % 2 == 0, seed=0, steps=300)
    confidence = Confidence({f"success.{name}": value for name, value in head.items()}, SPEC, OFFERS)
    found = [
        confidence.estimate(belief(), Context(ask=Ask.from_json(ask))) for ask in ({"return": -20}, {"return": 120}, {})
    ]
    bad, good, plain = (one.success for one in found if one is not None)
    assert bad < 0.2 < 0.8 < min(good, plain)


def test_scaling_makes_overconfident_logits_honest() -> None:
    from metalearn.training.success import platt

    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    outcomes = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(float)
    outcomes[:100] = np.nan
    slope, offset = platt(3 * logits + 1, outcomes)
    assert (slope, offset) == (pytest.approx(1 / 3, rel=0.05), pytest.approx(-1 / 3, abs=0.05))


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_outcomes_that_are_all_alike_lead_to_no_certainty(outcome: float) -> None:
    from metalearn.training.success import platt

    slope, offset = platt(np.zeros(48), np.full(48, outcome))
    assert 1 / (1 + np.exp(-(slope * 0 + offset))) == pytest.approx(outcome * 0.98 + 0.01, abs=0.011)


def test_a_bundle_keeps_its_confidence_and_its_id(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    plain = Bundle("any", SPEC, {}, {"w": np.ones(3, np.float32)})
    assert Confidence.of(Bundle.load(plain.save(tmp_path / "plain"))) is None
    kept = Bundle.load(plain.with_confidence(weights, {"seed": 0}).save(tmp_path / "calibrated"))
    assert kept.id == plain.id
    assert kept.provenance["confidence"] == {"seed": 0}
    again = Confidence.of(kept)
    assert again is not None
    assert again.estimate(belief(), Context()) == Confidence(weights, SPEC).estimate(belief(), Context())


def test_weights_that_do_not_fit_are_refused(weights: dict[str, np.ndarray]) -> None:
    for broken in (
        {},
        {**weights, "success.out": np.zeros((5, 2), np.float32)},
        {**weights, "novelty.mean": np.ones(2)},
    ):
        with pytest.raises(InvalidConfig, match="confidence"):
            Confidence(broken, SPEC)


@pytest.mark.slow
def test_calibrating_plays_validation_tasks_and_changes_no_weights() -> None:
    from metalearn.config import Experiment, TrainingConfig
    from metalearn.model.policy import ConditionalPolicy
    from metalearn.tasks.registry import find_family
    from metalearn.training.calibrate import calibrate
    from metalearn.training.recognition import calibrate_recognition

    config = ModelConfig(encoder_width=16, policy_width=16, latent_dim=8, n_hypotheses=2)
    spec = find_family("reach-m2").spec
    experiment = Experiment(name="any", family="reach-m2", model=config, data=DataConfig(chunk_tasks=32))
    bundle = Bundle(
        "any",
        spec,
        config.model_dump(mode="json"),
        ConditionalPolicy(config, spec).to_weights(),
        provenance={"experiment": experiment.to_json()},
    )
    told: list[str] = []
    first = calibrate(bundle, n_tasks=40, steps=20, progress=lambda what, done, total: told.append(what))
    again = calibrate(bundle, n_tasks=40, steps=20)
    assert first.id == bundle.id
    assert first.provenance["confidence"]["split"] == "validation"
    assert set(told) == {"calibrate: demonstrations", "calibrate: attempts"}
    assert first.confidence is not None
    assert again.confidence is not None
    assert all(np.array_equal(first.confidence[key], again.confidence[key]) for key in first.confidence)
    offers = [Return.offer([Return(float(n)) for n in range(-4, 5)]), Goal.offer([Goal((0.0, 0.5)), Goal((1.0, 0.0))])]
    config = config.model_copy(update={"asks": ("return", "goal"), "ask_offers": tuple(offers)})
    weights = ConditionalPolicy(config, spec).to_weights()
    asking = Bundle("any", spec, config.model_dump(mode="json"), weights, provenance=bundle.provenance)
    asked = calibrate(asking, n_tasks=40, steps=20)
    assert asked.provenance["confidence"]["asks"] == ["return", "goal"]
    assert asked.confidence is not None
    n_asked = sum(sizes_of(offers))
    assert len(asked.confidence["success.mean"]) == len(first.confidence["success.mean"]) + n_asked
    assert (asked.confidence["success.std"][-n_asked:] > 0).all()
    estimate = Confidence.of(asked).estimate(belief_of(config), Context(ask=Ask.from_json({"return": -4.0})))
    assert 0 < estimate.success < 1
    recorded = Bundle("any", spec, bundle.model, bundle.weights, provenance={"recorded": True})
    assert calibrate(recorded) is recorded
    timed = experiment.model_copy(update={"training": TrainingConfig(minutes=1e-6)})
    hurried = calibrate(replace(bundle, provenance={"experiment": timed.to_json()}), steps=20)
    assert hurried.provenance["confidence"]["n_tasks"] == 32, "the tasks of one chunk"
    assert calibrate_recognition(hurried).provenance["recognition"]["n_cases"] == 8


def test_a_goal_that_is_asked_for_in_calibration_solves_the_task_of_its_layout() -> None:
    bundle = reach_ask()
    plan = Plan("reach-m2", "validation", 8, 3, DataConfig(demos_per_task=1, experts_per_task=0), seed=0)
    family = find_family(plan.family)
    records = demonstrate(plan, SerialCollector(), lambda what, done, total: None)
    asks = draw_asks(bundle, plan, records, np.random.default_rng(0))
    indices = [TaskId.parse(record.task).index for record in records]
    env = family.make_vec(indices, "trial")
    env.reset(seed=episode_seeds(indices, plan.stream, 0))
    found = [
        float(np.linalg.norm(np.array(value.value) - env.goal[row]))
        for row, ask in enumerate(asks)
        for value in ask.values
        if isinstance(value, Goal)
    ]
    env.close()
    assert found and max(found) < 0.1  # where reach counts as touched


def test_after_a_goal_only_the_attempt_in_its_layout_counts() -> None:
    tried = tuple(Episode.of(np.zeros((3, 2), np.float32), success=True) for _ in range(3))
    goal = Ask((Goal((0.1, 0.2)),))
    played = Played((Context(), Context(ask=goal)), (tried, tried))
    assert [task for task, _, _ in played.situations()] == [0, 0, 0, 1]
