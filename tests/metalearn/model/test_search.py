"""Which hypothesis is tried next."""

import numpy as np
import torch

from metalearn.adapter import Belief
from metalearn.model.search import IMPROBABLE, Search


def test_as_long_as_nothing_is_known_of_outcomes_the_order_is_that_of_the_belief() -> None:
    prior = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]).log()
    nothing = torch.zeros(2, 3)
    log_odds = Search(3)(prior, nothing, nothing)
    assert (log_odds.argsort() == prior.argsort()).all()


def test_a_failure_moves_what_it_refutes_and_a_success_is_repeated() -> None:
    search, alike, nothing = Search(3), torch.full((1, 3), 1 / 3).log(), torch.zeros(1, 3)
    with torch.no_grad():
        search.refuted[0] = torch.tensor([-3.0, -2.0, 0.5])
        search.repeated.fill_(4.0)
    first = torch.tensor([[1.0, 0.0, 0.0]])
    assert search(alike, first, nothing).argmax() == 2
    assert search(alike, nothing, first).argmax() == 0
    twice = search(alike, 2 * first, nothing) - search(alike, first, nothing)
    torch.testing.assert_close(twice[0], search.refuted[0])


def test_what_is_improbable_is_not_told_apart() -> None:
    nothing = torch.zeros(1, 2)
    far, farther = (Search(2)(torch.tensor([[0.0, log_p]]), nothing, nothing)[0, 1] for log_p in (-20.0, -40.0))
    torch.testing.assert_close(far, farther)
    torch.testing.assert_close(far, torch.tensor(IMPROBABLE).log())


def test_a_belief_with_successes_chooses_by_them_and_draws_nothing() -> None:
    probabilities = np.array([0.7, 0.2, 0.1], np.float32)
    rng = np.random.default_rng(0)
    searching = Belief(np.zeros(1, np.float32), probabilities, np.array([0.1, 0.2, 0.9], np.float32))
    assert searching.map_hypothesis == 2
    assert {searching.sample(rng) for _ in range(20)} == {2}
    believing = Belief(np.zeros(1, np.float32), probabilities)
    assert believing.map_hypothesis == 0
    assert len({believing.sample(rng) for _ in range(50)}) > 1
