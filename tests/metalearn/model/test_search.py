"""What is tried next: whatever solves the remembered tasks that agree with what was tried."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from support.bundles import BOX, SEEN
from torch import Tensor

from metalearn.adapter import Belief
from metalearn.config import ModelConfig, UnitsConfig
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.model.inference import Inference
from metalearn.model.policy import ConditionalPolicy
from metalearn.model.search import MISLED, ODD, Search

SPEC = Spec(SEEN, BOX, horizon=8, rate_hz=10.0)
ALIKE, SHOWN, NOT_SHOWN = torch.full((1, 3), 1 / 3), torch.ones(1, 1), torch.zeros(1, 1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def search(*solved: str, trust: float = 0.0) -> Search:
    """Of tasks, each written as the six outcomes of its behaviours: `110 001`."""
    found = Search(len(solved), 3, latent_size=2)
    outcomes = [[float(one) for one in task.replace(" ", "")] for task in solved]
    found.get_buffer("solved").copy_(torch.tensor(outcomes))
    found.get_buffer("trust").fill_(trust)
    return found


def tried(*behaviours: int) -> Tensor:
    counts = torch.zeros(1, 6)
    for one in behaviours:
        counts[0, one] += 1
    return counts


def test_before_a_trial_success_is_the_share_of_remembered_tasks() -> None:
    success, _ = search("110 000", "110 000", "001 000", "001 000")(ALIKE, SHOWN, tried(), tried())
    shared = 0.5 * (1 - MISLED) + ODD * MISLED
    torch.testing.assert_close(success, torch.tensor([[*[shared] * 3, ODD, ODD, ODD]]))


def test_what_solves_the_same_tasks_is_refuted_together_and_a_success_is_repeated() -> None:
    remembering = search("110 000", "110 000", "001 000")
    success, worth = remembering(ALIKE, SHOWN, tried(0), tried())
    assert worth.argmax() == success.argmax() == 2
    assert success[0, 1] < 0.2
    success, worth = remembering(ALIKE, SHOWN, tried(2), tried(0))
    assert worth.argmax() in (0, 1)
    assert success[0, 0] > 0.9


def test_the_first_attempt_is_what_leaves_the_best_second_one() -> None:
    """The third behaviour solves most, but the first two together solve everything."""
    tasks = ["100 000"] * 2 + ["101 000"] * 3 + ["011 000"] * 3 + ["010 000"] * 2
    success, worth = search(*tasks)(ALIKE, SHOWN, tried(), tried())
    assert success.argmax() == 2
    assert worth.argmax() in (0, 1)


def test_behaviours_for_what_was_shown_are_there_only_where_something_was() -> None:
    success, worth = search("111 010", "111 010")(ALIKE, NOT_SHOWN, tried(), tried())
    assert (success[0, :3] == 0).all()
    assert worth.argmax() == 4


def test_a_misleading_demonstration_is_left_aside_once_it_has_failed() -> None:
    """Whatever is shown is solved by what is shown; so if that fails, something else was shown."""
    remembering = search("111 100", "111 010", "111 010")
    assert remembering(ALIKE, SHOWN, tried(), tried())[1].argmax() < 3
    assert remembering(ALIKE, SHOWN, tried(0), tried())[1].argmax() == 4
    assert remembering(ALIKE, SHOWN, tried(0, 4), tried())[1].argmax() == 3


@pytest.mark.parametrize(("trust", "sure"), [(0.0, False), (2.0, True)])
def test_a_belief_counts_as_far_as_it_is_trusted(trust: float, sure: bool) -> None:
    success, _ = search("100 000", "010 000", "001 000", trust=trust)(
        torch.tensor([[0.98, 0.01, 0.01]]), SHOWN, tried(), tried()
    )
    assert (success[0, 0] > 0.8) == sure


def test_however_much_has_failed_probabilities_stay_such() -> None:
    success, worth = search("110 000", "001 000")(ALIKE, SHOWN, 200 * tried(0, 1, 2, 3, 4, 5), tried())
    assert torch.isfinite(worth).all()
    assert (success <= 1 - ODD).all() and (success >= 0).all()


def test_a_belief_that_searches_chooses_by_worth_and_draws_nothing() -> None:
    probabilities = np.array([0.7, 0.2, 0.1], np.float32)
    rng, latent, nothing = np.random.default_rng(0), np.zeros(1, np.float32), np.zeros(6, np.float32)
    searching = Belief(latent, probabilities, nothing, np.arange(6, dtype=np.float32))
    assert searching.searches
    assert searching.map_hypothesis == 5
    assert {searching.sample(rng) for _ in range(20)} == {5}
    for believing in (Belief(latent, probabilities), Belief(latent, probabilities, nothing, nothing)):
        assert not believing.searches
        assert believing.map_hypothesis == 0
        assert len({believing.sample(rng) for _ in range(50)}) > 1


def test_a_policy_that_remembers_an_episode_while_it_lasts_does_not_search() -> None:
    for config in (ModelConfig(search=2, memory=4), ModelConfig(search=2, dynamics_rank=1)):
        with pytest.raises(InvalidConfig, match="search"):
            ConditionalPolicy(config, SPEC)


def inference() -> Inference:
    torch.manual_seed(0)
    policy = ConditionalPolicy(ModelConfig(search=3, n_hypotheses=3, max_trials=3), SPEC)
    with torch.no_grad():
        policy.log_sigma.fill_(-3.0)
        assert policy.search is not None
        policy.search.get_buffer("solved").copy_(torch.eye(6)[:3] + torch.eye(6)[3:])
    return Inference(policy, SPEC)


def test_a_trial_that_cannot_be_counted_leaves_the_choice_to_the_belief(rng: np.random.Generator) -> None:
    searching, demo, trial = inference(), SPEC.example_episode(rng), SPEC.example_episode(rng)
    for told in (replace(trial, success=False).without_actions(), replace(trial, success=None)):
        (belief,) = searching.infer_belief([Context((demo,), (told,))])
        assert not belief.searches
        assert belief.map_hypothesis == belief.probabilities.argmax()


def test_a_belief_that_is_trusted_leaves_a_demonstration_as_misleading_as_before() -> None:
    """As every behaviour solves what was shown, its success tells how far the demonstration counts."""
    sure, sums = torch.tensor([[0.98, 0.01, 0.01]]), []
    for trust in (0.0, 1.0, 4.0):
        success, _ = search("111 100", "111 010", "111 001", trust=trust)(sure, SHOWN, tried(), tried())
        sums.append(success[0, 0].item())
    assert max(sums) - min(sums) < 1e-4


def test_a_trial_of_somebody_else_leaves_the_choice_to_the_belief(rng: np.random.Generator) -> None:
    searching, demo = inference(), SPEC.example_episode(rng)
    for success in (True, False):
        (belief,) = searching.infer_belief([Context((demo,), (replace(SPEC.example_episode(rng), success=success),))])
        assert not belief.searches


@pytest.mark.parametrize("n_steps", [1, 2, 8])
def test_an_own_attempt_is_known_however_short_it_is(n_steps: int, rng: np.random.Generator) -> None:
    searching, context = inference(), Context((SPEC.example_episode(rng),))
    observations = SPEC.example_episode(rng, n_steps).observations
    actor = searching.act_under(searching.infer_belief([context]), 0)
    actions = np.concatenate([actor.act(one[None]) for one in observations[:-1]])
    (belief,) = searching.infer_belief([context.with_trial(Episode.of(observations, actions, success=False))])
    assert belief.searches


def test_an_unbounded_action_that_never_varied_makes_no_belief_invalid(rng: np.random.Generator) -> None:
    endless = Spec(SEEN, spaces.Box(-np.inf, np.inf, (2,), np.float32), horizon=8, rate_hz=10.0)
    units = UnitsConfig(actions=((0.0, 1.0), (0.3, 0.0)))
    policy = ConditionalPolicy(ModelConfig(search=3, units=units), endless)
    trial = replace(endless.example_episode(rng), success=False)
    for belief in Inference(policy, endless).infer_belief([Context(), Context((), (trial,))]):
        assert all(np.isfinite(part).all() for part in belief.parts)


def test_an_attempt_of_its_own_is_known_even_where_actions_end_at_their_bounds(rng: np.random.Generator) -> None:
    searching = inference()
    with torch.no_grad():
        searching.policy.hypotheses.weight.mul_(20)
        searching.policy.head.weight.mul_(10)
    (belief,) = searching.infer_belief([context := Context((SPEC.example_episode(rng),))])
    actor = searching.act_under([belief], 1)
    observations = SPEC.example_episode(rng, 8).observations
    actions = np.concatenate([actor.act(one[None]) for one in observations[:-1]])
    assert (np.abs(actions) == BOX.high[0]).any()
    trial = Episode.of(observations, actions, success=False)
    (after,) = searching.infer_belief([context.with_trial(trial)])
    assert belief.success is not None and after.success is not None
    assert after.success[1] < belief.success[1] - 0.1
