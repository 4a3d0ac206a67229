import json

import numpy as np
import pytest
import torch

from benchmarks.drex import Size, agreement, page
from benchmarks.surpassing.asking import AskedQuality, asked_policy
from benchmarks.surpassing.bradley_terry import (
    BradleyTerry,
    RewardEnsemble,
    pairs_of,
    preference_loss,
    snippets_of,
    train_rewards,
)
from benchmarks.surpassing.demonstrating import bad_look
from benchmarks.surpassing.expecting import ExpectedReturn, agreed, falls
from benchmarks.surpassing.grading import LEVELS, to_ask_of
from benchmarks.surpassing.locomotion import Degraded, Locomotion, roll_out
from benchmarks.surpassing.optimising import Running, discounted, learnt_pay
from metalearn.data.episode import Episode

FAMILY = Locomotion("Hopper-v5")


class Still:
    def act(self, observations):
        return np.zeros((len(observations), 3), np.float32)


def walk(quality, steps, rng):
    """The first number of an observation is the better the higher the quality; the second is rough if it is low."""
    seen = np.stack([quality + rng.normal(0, 1, steps + 1), rng.normal(0, 2 - quality, steps + 1)], 1)
    return Episode.of(seen, np.zeros((steps, 1)))


def graded_walks(seed=0, steps=60):
    rng = np.random.default_rng(seed)
    noise = np.repeat(LEVELS, 3)
    return [walk(1 - level, steps, rng) for level in noise], noise


# -- who acts -------------------------------------------------------------------------------------------------------


def test_a_degraded_actor_acts_at_random_as_often_as_it_is_told():
    actor = Degraded(Still(), FAMILY.spec, np.array([0.0, 1.0, 0.5]).repeat(1000), np.random.default_rng(0))
    random = (actor.act(np.zeros((3000, 11), np.float32)) != 0).any(1).reshape(3, 1000).mean(1)
    assert random[0] == 0 and random[1] == 1 and 0.45 < random[2] < 0.55


def test_an_episode_of_hopper_ends_where_it_falls_and_pays_as_gymnasium_does():
    first, again = (roll_out(FAMILY, [(Still(), 2)], 7) for _ in range(2))
    assert [e.digest for e in first] == [e.digest for e in again]
    assert all(10 < len(e) < 500 and e.rewards.sum() > 0 for e in first)


def test_a_bad_demonstrator_is_the_first_who_is_good_enough_or_the_best_of_those_who_are_not():
    assert bad_look(np.array([-3.0, 5, 200, 150, 900]), 188) == 2
    assert bad_look(np.array([-3.0, 50, 20]), 188) == 1


# -- D-REX's reward -------------------------------------------------------------------------------------------------


def test_of_a_pair_the_first_is_the_less_noisy_one_by_the_margin():
    noise = np.tile(LEVELS, 5)
    pairs = pairs_of(noise, 2000, 0.3, np.random.default_rng(0))
    differences = noise[pairs[:, 1]] - noise[pairs[:, 0]]
    assert differences.min() == pytest.approx(0.3)
    assert differences.max() == pytest.approx(0.95)
    assert set(pairs.ravel()) == set(range(100))


def test_a_snippet_lies_within_its_episode_and_is_all_of_a_short_one():
    lengths = np.array([3, 50, 1000] * 200)
    steps, there = snippets_of(lengths, 50, np.random.default_rng(0))
    assert (steps < lengths[:, None]).all() and (np.diff(steps[2::3]) == 1).all()
    assert there.sum(1).tolist() == [3, 50, 50] * 200
    assert steps[0, :3].tolist() == [0, 1, 2] and steps[1, 0] == 0
    assert steps[2::3, 0].min() < 100 and steps[2::3, -1].max() > 900


def test_the_loss_of_a_preference_is_that_of_bradley_and_terry():
    better, worse = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
    expected = -(np.log(0.5) + np.log(np.e**2 / (np.e**2 + 1))) / 2
    assert float(preference_loss(better, worse)) == pytest.approx(expected, rel=1e-5)


def test_a_reward_is_learnt_that_ranks_episodes_of_less_noise_higher():
    episodes, noise = graded_walks()
    config = BradleyTerry(pairs=300, networks=2, width=16, steps=150, learning_rate=1e-2, l2=1e-4)
    learnt, right = train_rewards(episodes, noise, config, seed=0)
    strangers, of = graded_walks(seed=1)
    assert right > 0.9
    assert np.corrcoef(learnt.rank(strangers), 1 - of)[0, 1] > 0.9
    weights = {name: value.numpy() for name, value in learnt.state_dict().items()}
    np.testing.assert_array_equal(RewardEnsemble.of_weights(weights, config).rank(strangers), learnt.rank(strangers))


# -- what pays ------------------------------------------------------------------------------------------------------


def test_a_running_deviation_is_that_of_everything_so_far():
    values, running = np.random.default_rng(0).normal(3, 2, 100), Running()
    for part in np.split(values, [10, 11, 60]):
        running.add(part)
    assert running.mean == pytest.approx(values.mean())
    assert running.std == pytest.approx(values.std(), abs=1e-6)


def test_sums_are_discounted():
    assert discounted(np.array([1.0, 0.0, 4.0]), 0.5) == [1.0, 0.5, 4.25]


def test_a_learnt_reward_pays_for_where_an_action_led_less_its_cost():
    pay = learnt_pay(lambda seen: np.concatenate([seen, 2 * seen], 1), action_cost=0.5)
    seen, done = np.array([[9.0], [1.0], [3.0]], np.float32), np.array([[1.0], [-4.0]])
    assert pay(seen, done, np.zeros(2)).tolist() == pytest.approx([-1 - 0.5, 1 - 0.5])


# -- ours -----------------------------------------------------------------------------------------------------------


def test_expectations_rank_episodes_beyond_those_that_they_were_read_off_from():
    episodes, noise = graded_walks(steps=200)
    rank = ExpectedReturn.of([(episodes, noise)]).rank
    rng = np.random.default_rng(2)
    qualities = np.linspace(0, 5, 20)
    beyond = [walk(min(quality, 1.5), 200, rng) for quality in qualities[:7]]
    beyond += [
        Episode.of(walk(1, 200, rng).observations + np.array([q - 1, 0]), np.zeros((200, 1))) for q in qualities[7:]
    ]
    assert np.corrcoef(rank(beyond), qualities)[0, 1] > 0.98


def test_who_goes_on_for_longer_has_the_higher_rank_where_noise_makes_episodes_short():
    rng = np.random.default_rng(0)
    episodes = [walk(0, int(100 - 90 * level), rng) for level in LEVELS]
    rank = ExpectedReturn.of([(episodes, LEVELS)]).rank
    long, short = rank([walk(0, 400, rng), walk(0, 20, rng)])
    assert long > 2 * short


def test_a_feature_falls_as_far_as_noise_correlates_with_it_and_one_that_never_changes_does_not():
    noise = np.array([0.0, 0.0, 1.0, 1.0])
    features = np.array([[2.0, 5.0, 1.0], [2.0, 5.0, 3.0], [1.0, 5.0, 1.0], [1.0, 5.0, 3.0]])
    assert falls(features, noise).tolist() == pytest.approx([1.0, 0.0, 0.0])


def test_what_falls_with_one_kind_of_noise_and_rises_with_another_weighs_nothing():
    found = agreed(np.array([[0.8, -0.5, 0.9], [0.5, -1.0, -0.9]]))
    assert found.tolist() == pytest.approx([0.64 * 0.25, -0.25, 0.0])


def rounds_of_walks(n=2):
    rng = np.random.default_rng(0)
    return [[hop(level, rng) for level in LEVELS] for _ in range(n)]


def hop(level, rng, steps=30):
    """What is done is the first number of the observation, or at random."""
    seen = rng.normal(0, 1, (steps + 1, 11))
    done = np.clip(np.where(rng.random((steps, 1)) < level, rng.uniform(-1, 1, (steps, 3)), 0.5 * seen[:-1, :1]), -1, 1)
    return Episode.of(seen, done, np.ones(steps), False)


def test_the_ask_is_trained_on_graded_episodes_without_their_rewards_and_nothing_is_its_own_context():
    rounds = rounds_of_walks()
    data = to_ask_of(FAMILY, rounds[0][:1], rounds).check()
    assert all(e.rewards is None and e.success is None for record in data.tasks for e in record.episodes())
    for record in data.tasks:
        assert [one.quality for one in record.others] == pytest.approx(1 - LEVELS)
        assert all(one.demos[0].digest != one.episodes[0].digest for one in record.others)


def test_what_was_asked_for_is_read_from_the_actions(tmp_path):
    rounds = rounds_of_walks(3)
    rng = np.random.default_rng(5)
    demos = [hop(0.0, rng)]
    data = to_ask_of(FAMILY, demos, rounds)
    policy = asked_policy("walks", data, 200, 0, tmp_path)
    worst = data.tasks[0].others[-1]
    rank = AskedQuality(policy, worst.demos, worst.quality).rank
    assert rank([hop(0.0, rng)])[0] > rank([hop(0.5, rng)])[0] > rank([hop(1.0, rng)])[0]


# -- the report -----------------------------------------------------------------------------------------------------


def test_a_ranking_agrees_with_returns_whatever_its_unit_and_its_interval_is_over_groups():
    true = np.arange(40.0)
    found = agreement(true, 3 * true - 7, np.arange(40) // 5)
    assert found["pearson"] == {"value": pytest.approx(1), "ci95": pytest.approx([1, 1])}
    assert agreement(true, np.exp(true), np.arange(40) // 5)["spearman"]["value"] == pytest.approx(1)
    noisy = agreement(true, true + np.random.default_rng(0).normal(0, 20, 40), np.arange(40) // 5)["pearson"]
    assert noisy["ci95"][0] < noisy["value"] < noisy["ci95"][1]


def test_the_page_has_a_line_for_each_ranking_and_for_everybody_who_acts(tmp_path):
    figure = {"value": 0.97, "ci95": [0.95, 0.98]}
    sets = {name: {"pearson": figure, "spearman": figure, "n": 9, "true": [0, 1]} for name in ("looks", "noise")}
    amount = {"return": {"mean": 400.0, "ci95": [380.0, 420.0]}, "over the best": {"mean": 2.0, "ci95": [1.9, 2.1]}}
    result = {
        "env": "Hopper-v5", "demos": 4, "seed": 0, "demonstrations": [100.0, 200.0], "graded steps": 10_000,
        "own steps": 5_000, "ranking": {"expectations": sets},
        "achieved": {"clone": amount, "after own attempts": amount},
    }  # fmt: skip
    (tmp_path / "Hopper-v5-4demos-seed0-asked.json").write_text(json.dumps(result))
    written = page(tmp_path)
    assert "| Hopper-v5 | 4 | 0 | expectations | 0.97 (0.95..0.98) |" in written
    assert "| 200 | clone | 400 (380..420) | 2.00 (1.90..2.10) | 0 |" in written
    assert "| after own attempts | 400 (380..420) | 2.00 (1.90..2.10) | 15,000 |" in written


def test_the_sizes_are_those_of_the_paper():
    assert Size().reward == BradleyTerry(pairs=5000, snippet=50, margin=0.3, networks=3, l2=0.01, steps=3000)
    assert len(LEVELS) == 20 and LEVELS[-1] == 0.95
