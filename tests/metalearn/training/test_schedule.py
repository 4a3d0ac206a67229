"""Schedules: phases of given lengths, and phases that end by themselves."""

import json

import pytest

from metalearn.config import TrainingConfig
from metalearn.training.looks import LOOKS, Looks
from metalearn.training.minutes import LEARNING
from metalearn.training.schedule import (
    FEWEST_STEPS,
    MOST_ROUNDS,
    UNIMODAL_ENOUGH,
    AutomaticSchedule,
    FixedSchedule,
    Schedule,
    make_schedule,
)

STEPS = TrainingConfig(steps=10_000)
SLOWLY = TrainingConfig(steps=10_000, anneal_steps=2_000)
SOLVED = {"trial": 1.0, "retrial": 1.0}


def automatic(
    config: TrainingConfig = STEPS, *, rounds: bool = True, began_s: float = 0.0, state: dict | None = None
) -> AutomaticSchedule:
    made = make_schedule(config, competing=True, n_validation=256, rounds=rounds, elapsed_s=began_s, state=state or {})
    assert isinstance(made, AutomaticSchedule)
    return made


def works(schedule: AutomaticSchedule) -> None:
    """Two looks, the last at step 100: one behaviour works, and the demonstration leaves a half open."""
    for step in (50, 100):
        schedule.look(step, {"trial": 0.5, "after_expert": 1.0}, 1.0)


def warmed_up() -> AutomaticSchedule:
    """A schedule in its first round."""
    schedule = automatic()
    works(schedule)
    schedule.look(200, {"trial": 0.5}, 2.0)
    schedule.look(200 + FEWEST_STEPS, {"trial": 0.5}, 3.0)
    schedule.begin_round(200 + FEWEST_STEPS)
    return schedule


def test_without_minutes_or_steps_phases_have_given_lengths() -> None:
    config = TrainingConfig(warmup_steps=10, rounds=2, round_steps=5, anneal_steps=4)
    schedule = make_schedule(config, competing=True, n_validation=0, rounds=True, elapsed_s=0.0, state={})
    assert isinstance(schedule, FixedSchedule)
    assert [schedule.round_due(step) for step in (0, 9)] == [10, 10]
    schedule.begin_round(10)
    assert schedule.round_due(10) == 15
    schedule.begin_round(15)
    assert schedule.round_due(15) is None
    assert next(step for step in range(22) if schedule.ended(step)) == 20 == schedule.total(0, 0.0)


def test_hypotheses_compete_once_one_behaviour_works() -> None:
    schedule = automatic()
    for step, after_expert in ((50, UNIMODAL_ENOUGH - 0.1), (100, UNIMODAL_ENOUGH), (200, UNIMODAL_ENOUGH)):
        assert schedule.temperature(step) == 0.0
        assert schedule.open_before == (step == 200)
        schedule.look(step, {"trial": 0.2, "after_expert": after_expert}, 1.0)
    assert not schedule.open_before
    assert 0 < schedule.temperature(201) < schedule.temperature(300) < schedule.temperature(400) == 1.0


@pytest.mark.parametrize("demo_dropout", [0.0, 0.1])
def test_where_a_demonstration_leaves_nothing_open_hypotheses_compete_without_one_alone(demo_dropout: float) -> None:
    schedule, step = automatic(TrainingConfig(steps=10_000, demo_dropout=demo_dropout)), 0
    while not schedule.round:
        step += 100
        schedule.look(step, {"trial": 0.96, "retrial": 0.97, "after_expert": 0.98}, 1.0)
        if schedule.round_due(step):
            schedule.begin_round(step)
    assert schedule.clear
    assert schedule.temperature(step + 1000) == (1.0 if demo_dropout else 0.0)


def test_phase_one_goes_on_while_something_improves_and_then_a_round_is_due() -> None:
    schedule = automatic(SLOWLY)
    works(schedule)
    for i in range(1, 20):
        schedule.look(100 + 100 * i, {"trial": min(0.05 * i, 0.5)}, float(i))
        assert schedule.round_due(100 + 100 * i) is None or i >= 13
    assert schedule.round_due(2000) == 1700


def test_trials_begin_once_hypotheses_have_competed_for_a_while_even_if_more_could_be_learnt() -> None:
    schedule = automatic()
    works(schedule)
    step = 100
    while not schedule.round_due(step):
        step += 100
        schedule.look(step, {"trial": step / 10_000}, 1.0)
    assert step == 100 + 2 * STEPS.anneal_steps


FALLING = [9.0, 7.0, 5.5, 5.6, 4.3, 3.4, 3.5, 2.7]


@pytest.mark.parametrize(
    ("seen", "waited"),
    [
        ([*FALLING, *[2.6] * 20], 100 * len(FALLING) + STEPS.anneal_steps + 100),
        ([3.0, 2.5] * 40, 2 * STEPS.anneal_steps),
        ([8.0, 1.0, *[0.1] * 78], 2 * STEPS.anneal_steps),
        ([0.0] * 80, 2 * STEPS.anneal_steps),
    ],
    ids=["not falling at each look", "coming and going", "explained", "never unexplained"],
)
def test_trials_wait_while_hypotheses_explain_more_and_more(seen: list[float], waited: int) -> None:
    schedule, unexplained = automatic(), iter(seen)
    works(schedule)
    step = 100
    while not schedule.round_due(step):
        step += 100
        schedule.look(step, {"trial": 0.5, "unexplained": next(unexplained)}, 1.0)
    assert step == 100 + waited


def test_what_is_left_unexplained_does_not_keep_a_round_going() -> None:
    schedule, unexplained, step = warmed_up(), 100.0, 200 + FEWEST_STEPS
    while not schedule.round_due(step) and schedule.settle_start is None:
        step, unexplained = step + 100, 0.7 * unexplained
        schedule.look(step, {"trial": 0.5, "unexplained": unexplained}, 3.0)
    assert step <= 200 + 2 * FEWEST_STEPS + 100


@pytest.mark.parametrize(("steps", "foretold"), [(10_000, True), (600, True), (400, False)])
def test_hypotheses_foretell_while_the_temperature_first_rises_if_they_can_compete_afterwards(
    steps: int, foretold: bool
) -> None:
    schedule = automatic(TrainingConfig(steps=steps))
    assert not schedule.foretells(0)
    works(schedule)
    assert schedule.foretells(100) == schedule.foretells(299) == foretold
    assert not schedule.foretells(300)
    schedule.begin_round(300, told=0.0)
    assert schedule.temperature(300) < 1
    assert not schedule.foretells(300)


def test_where_nobody_can_try_hypotheses_compete_until_nothing_improves() -> None:
    schedule, likelihood = automatic(rounds=False), 0.0
    for step in range(100, 4000, 100):
        likelihood = likelihood + 0.5 if step < 2000 else likelihood
        schedule.look(step, {"likelihood": 0.0 if step < 800 else likelihood}, 1.0)
    assert schedule.ramp_start is not None
    assert schedule.ramp_start + 2 * STEPS.anneal_steps < 1900
    assert schedule.settle_start is not None
    assert schedule.settle_start >= 1900 + FEWEST_STEPS


def test_hypotheses_that_nothing_needed_compete_anew_for_the_first_trials_and_no_others() -> None:
    used, schedule = automatic(), automatic()
    for one in (used, schedule):
        works(one)
        assert one.temperature(500) == 1.0
    used.begin_round(500, told=0.6)
    assert used.temperature(500) == 1.0
    schedule.begin_round(500, told=0.01)
    assert 0 < schedule.temperature(500) < schedule.temperature(600) < schedule.temperature(700) == 1.0
    schedule.begin_round(900, told=0.01)
    assert schedule.temperature(900) == 1.0


def test_own_trials_are_learnt_from_with_batchnorm_frozen() -> None:
    schedule = automatic()
    assert not schedule.batchnorm_frozen(499)
    schedule.begin_round(500)
    assert schedule.batchnorm_frozen(500)


def test_a_better_likelihood_is_an_improvement_too() -> None:
    still, learning = automatic(SLOWLY), automatic(SLOWLY)
    for one, gain in ((still, 0.0), (learning, 0.5)):
        works(one)
        for i in range(1, 11):
            one.look(100 + 100 * i, {"trial": 0.0, "likelihood": gain * i}, 1.0)
    assert still.round_due(1100) == 700
    assert learning.round_due(1100) is None


def test_what_is_solved_in_every_attempt_is_only_refined() -> None:
    schedule = warmed_up()
    start = 200 + FEWEST_STEPS
    schedule.look(start + 100, SOLVED, 4.0)
    assert not schedule.ended(start + 101)
    rates = [schedule.rate(step) for step in range(start + 100, schedule.total(0, 0.0), 10)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.1 < rates[0]
    assert schedule.batchnorm_frozen(start + 100)
    assert schedule.ended(schedule.total(0, 0.0))


@pytest.mark.parametrize(("last", "refined"), [(1.0, True), (0.9, False)])
def test_attempts_after_many_trials_are_to_succeed_too(last: float, refined: bool) -> None:
    schedule = warmed_up()
    schedule.look(300 + FEWEST_STEPS, SOLVED | {"after_2": 1.0, "after_3": last, "after_expert": 0.9}, 4.0)
    assert (schedule.settle_start is not None) == refined


@pytest.mark.parametrize(("steps", "again"), [(20, False), (200, True)])
def test_trials_that_are_still_fresh_are_not_collected_again(steps: int, again: bool) -> None:
    config = TrainingConfig(minutes=10.0, demo_dropout=0.0)
    schedule, now_s = automatic(config), 0.66 * LEARNING * 600
    works(schedule)
    schedule.look(500, {"trial": 0.5}, 0.5 * LEARNING * 600)
    schedule.begin_round(500)
    schedule.look(500 + steps, {"trial": 0.5, "retrial": 0.5}, now_s)
    assert schedule.settle_start == 500 + steps
    assert (schedule.round_due(500 + steps) is not None) == again


@pytest.mark.parametrize(("retrial", "again"), [(0.95, True), (0.7, False)])
def test_trials_of_a_policy_that_is_no_more_are_collected_again_at_once(retrial: float, again: bool) -> None:
    schedule = automatic()
    works(schedule)
    schedule.begin_round(1000)
    schedule.look(1000, {"trial": 0.5, "retrial": 0.3}, 1.0)
    schedule.look(1200, {"trial": 0.5, "retrial": retrial}, 1.2)  # this still improved
    assert schedule.round_due(1200) is None
    schedule.look(1300, {"trial": 0.5, "retrial": retrial}, 1.3)
    assert (schedule.round_due(1300) is not None) == again
    assert schedule.settle_start is None


def test_a_look_says_when_a_phase_with_own_trials_is_over() -> None:
    schedule = automatic()
    works(schedule)
    assert not schedule.look(200, {"trial": 0.5}, 2.0)
    assert not schedule.look(
        200 + FEWEST_STEPS, {"trial": 0.5}, 3.0
    )  # of phase I no look at trials is left to go back to
    assert schedule.round_due(200 + FEWEST_STEPS) is not None
    schedule.begin_round(1000)
    assert not schedule.look(1000, {"trial": 0.5, "retrial": 0.5}, 1.0)
    assert schedule.look(1000 + FEWEST_STEPS, {"trial": 0.5, "retrial": 0.4}, 1.0)
    assert schedule.round_due(1000 + FEWEST_STEPS) is not None or schedule.settle_start is not None
    schedule.begin_round(1000 + FEWEST_STEPS)
    schedule.settle_start, schedule.settle_end = 1500, 9000
    assert not schedule.look(1700, {"trial": 0.5, "retrial": 0.5}, 1.0)


@pytest.mark.parametrize("staleness", [0, 150])
def test_trials_may_lag_behind_as_many_steps_as_that_is_allowed(staleness: int) -> None:
    schedule = automatic(TrainingConfig(steps=10_000, staleness=staleness))
    works(schedule)
    schedule.look(200, {"trial": 0.5}, 2.0)
    over = 200 + FEWEST_STEPS
    schedule.look(over, {"trial": 0.5}, 3.0)
    schedule.look(over + 100, {"trial": 0.5}, 3.0)
    assert schedule.round_due(over + 100) == over + staleness


def test_rounds_end_when_one_brought_nothing_and_there_are_never_more_than_the_most() -> None:
    schedule, step, success = warmed_up(), 200 + FEWEST_STEPS, 0.5
    while schedule.settle_start is None:
        step += 100
        success = min(0.9, success + 0.001)
        schedule.look(step, {"trial": success, "retrial": success}, 1.0)
        if schedule.round_due(step):
            schedule.begin_round(step)
    assert 1 <= schedule.round <= MOST_ROUNDS


@pytest.mark.parametrize("config", [TrainingConfig(steps=1000), TrainingConfig(minutes=1.0)])
def test_it_ends_within_what_it_may_take_even_if_it_never_stops_improving(config: TrainingConfig) -> None:
    schedule, step = automatic(config), 0
    while not schedule.ended(step):
        step += 1
        if step % 20 == 0:
            schedule.look(step, {"trial": 0.0, "after_expert": 1.0, "likelihood": float(step)}, 0.06 * step)
        if schedule.round_due(step) is not None:
            schedule.begin_round(step)
        assert step <= 1100
    assert step > 500


def test_what_demonstrations_took_is_no_share_of_the_learning() -> None:
    early, late = (automatic(TrainingConfig(minutes=10.0), began_s=began_s) for began_s in (0.0, 200.0))
    for one, now_s in ((early, 10.0), (late, 210.0)):
        one.look(100, {"trial": 0.0}, now_s)
        assert one.ramp_start is None  # it has hardly begun
    assert late.total(100, 210.0) < early.total(100, 10.0)


def test_without_anybody_to_try_there_are_no_rounds() -> None:
    schedule = automatic(TrainingConfig(steps=1000), rounds=False)
    for step in range(50, 1000, 50):
        schedule.look(step, {"likelihood": float(step)}, 1.0)
        assert schedule.round_due(step) is None
    assert schedule.settle_start is not None


def test_a_phase_goes_on_while_recorded_returns_say_that_the_policy_is_getting_better() -> None:
    lasted = []
    for rises in (True, False):
        schedule, step = automatic(rounds=False), 0
        schedule.clear = True
        while schedule.settle_start is None:
            step += 100
            value = 0.1 * min(step, 2_000 if rises else 0) / 100
            schedule.look(step, {"likelihood": 0.0, "value": value, "value_error": 0.05}, 1.0)
        lasted.append(step)
    assert lasted[0] > 2_000 > lasted[1]


@pytest.mark.parametrize("schedule", [warmed_up(), FixedSchedule(TrainingConfig(), competing=True, round=1)])
def test_a_schedule_goes_on_from_its_json(schedule: Schedule) -> None:
    config = STEPS if isinstance(schedule, AutomaticSchedule) else TrainingConfig()
    state = json.loads(json.dumps(schedule.to_json()))
    again = make_schedule(config, competing=True, n_validation=256, rounds=True, elapsed_s=7.0, state=state)
    assert again == schedule


@pytest.mark.parametrize("steps", [10, 20, 150, 1000])
def test_it_takes_the_steps_that_it_was_given_and_no_more(steps: int) -> None:
    schedule, step = automatic(TrainingConfig(steps=steps)), 0
    looks = Looks(max(1, steps // LOOKS), None)
    while not schedule.ended(step):
        step += 1
        if looks.due(step, 0.0):
            schedule.look(step, {"trial": step / steps, "after_expert": 1.0}, float(step))
        if schedule.round_due(step) is not None:
            schedule.begin_round(step)
    assert step <= steps
