import numpy as np
import pytest
from support.corridor import (
    Corridor,
    Forgetful,
    Hesitant,
    Learner,
    Leftist,
    ShownCorridor,
    corridor_manifest,
    side_of,
)

from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.evaluate import evaluate, tell_stories
from metalearn.evaluation.manifest import Budget
from metalearn.evaluation.report import Rate, Report
from metalearn.evaluation.table import conclusions


@pytest.fixture(scope="module")
def report() -> Report:
    methods = {"wtl": Learner(), "bc": Forgetful()}
    return evaluate(methods, Corridor(), corridor_manifest(trials=2), clock=lambda: 0.0)


def test_learner_solves_half_of_the_tasks_at_first_and_all_of_them_after_one_trial(report: Report) -> None:
    first, second, third = report.methods["wtl"].curve
    assert first.success == pytest.approx(0.5, abs=0.1)
    assert (second.success, third.success) == (1, 1)
    assert [point.trials for point in (first, second, third)] == [0, 1, 2]
    assert second.ci95[0] == pytest.approx(0.9812, abs=1e-3)  # Wilson: 200 of 200


def test_gain_is_the_difference_of_the_first_two_attempts_over_the_same_tasks(report: Report) -> None:
    wtl = report.methods["wtl"]
    assert wtl.gain is not None
    assert wtl.gain.mean == pytest.approx(1 - wtl.curve[0].success)
    assert wtl.gain.ci95[0] < wtl.gain.mean < wtl.gain.ci95[1]
    assert wtl.given_first_failed is not None
    assert wtl.given_first_failed.success == 1


def test_method_without_memory_gains_nothing(report: Report) -> None:
    bc = report.methods["bc"]
    assert bc.gain is not None
    assert bc.gain.ci95[0] < 0 < bc.gain.ci95[1]
    assert bc.curve[1].success == pytest.approx(0.5, abs=0.1)


def test_references_are_the_expert_chance_and_the_bound(report: Report) -> None:
    assert [point.success for point in report.methods["expert"].curve] == [1, 1, 1]
    assert report.methods["random"].curve[0].success < 0.3  # it seldom gets to a door within the horizon
    assert [point.success for point in report.methods["bayes"].curve] == [0.5, 1, 1]
    assert report.methods["bayes"].gain is not None
    assert report.methods["bayes"].gain.mean == 0.5


def test_controls_take_away_what_the_trial_taught(report: Report) -> None:
    assert report.controls["other_task_trial"].success == pytest.approx(0.5, abs=0.12)
    assert report.controls["same_demo_other_target"].success == pytest.approx(0.5, abs=0.12)
    assert report.controls["flipped_reward"].success == 0
    assert report.controls["other_task_demo"].success == pytest.approx(0.5, abs=0.12)


def test_demonstration_of_another_task_misleads_one_who_can_see_the_goal() -> None:
    report = evaluate({"wtl": Learner()}, ShownCorridor(), corridor_manifest(trials=0))
    assert [point.success for point in report.methods["wtl"].curve] == [1]
    assert report.methods["wtl"].gain is None
    assert report.methods["wtl"].given_first_failed is None
    assert list(report.controls) == ["other_task_demo"]
    assert report.controls["other_task_demo"].success == pytest.approx(0.5, abs=0.12)
    assert "bayes" not in report.methods


def test_trials_that_touched_nothing_cannot_be_flipped_and_do_not_count() -> None:
    report = evaluate({"wtl": Hesitant()}, Corridor(), corridor_manifest())
    first = report.methods["wtl"].curve[0].success
    assert first < 0.4
    assert report.controls["flipped_reward"].success == 0  # untouched ones would end in a coin's toss


def test_control_is_compared_with_the_same_rows_of_the_attempt_that_it_copies() -> None:
    report = evaluate({"wtl": Hesitant()}, Corridor(), corridor_manifest())
    flipped, other = report.controls["flipped_reward"], report.controls["other_task_trial"]
    assert report.methods["wtl"].curve[1].success < 0.9  # of all rows; those that touched a door know which is right
    assert flipped.instead_of is not None
    assert (flipped.instead_of.success, 60 < flipped.n < 140) == (1, True)
    assert (other.n, other.instead_of) == (200, Rate(**report.methods["wtl"].curve[1].model_dump(exclude={"trials"})))
    first = report.methods["wtl"].curve[0].success
    assert report.controls["other_task_demo"].instead_of is not None
    assert report.controls["other_task_demo"].instead_of.success == first


class TypedCorridor(ShownCorridor):
    def task_type(self, index: int) -> str:
        return "right" if side_of(index) > 0 else "left"


def test_types_are_reported_apart_and_intervals_are_over_them() -> None:
    report = evaluate({"wtl": Leftist()}, TypedCorridor(), corridor_manifest())
    method = report.methods["wtl"]
    assert method.by_type is not None
    assert {name: [point.success for point in curve] for name, curve in method.by_type.items()} == {
        "left": [1, 1],
        "right": [0, 0],
    }
    assert method.curve[0].ci95 == (0, 1)
    assert method.gain is not None and method.gain.ci95 == (0, 0)
    assert set(report.to_json()["methods"]["wtl"]["by_type"]["left"][0]) == {"trials", "success", "ci95"}
    untyped = evaluate({"wtl": Leftist()}, ShownCorridor(), corridor_manifest())
    assert untyped.methods["wtl"].by_type is None and untyped.methods["wtl"].curve[0].ci95[1] < 0.6


def test_demonstration_of_another_type_is_a_control() -> None:
    report = evaluate({"wtl": Learner()}, TypedCorridor(), corridor_manifest(trials=0))
    control = report.controls["other_type_demo"]
    assert (control.success, control.n) == (0, 200)
    assert control.lost is not None and control.lost.ci95 == (1, 1)
    assert dict(conclusions(report))["the type is read from the demo"] == "yes"


def test_no_controls_without_the_method_that_they_are_run_on() -> None:
    report = evaluate({"bc": Forgetful()}, Corridor(), corridor_manifest(), n_tasks=10)
    assert report.controls == {}


def test_second_attempt_given_failure_is_undefined_for_one_who_never_fails() -> None:
    report = evaluate({"wtl": Learner()}, ShownCorridor(), corridor_manifest(), n_tasks=10)
    assert report.methods["wtl"].gain is not None
    assert report.methods["wtl"].given_first_failed is None


def test_equal_seeds_give_equal_reports_and_other_seeds_draw_other_tasks() -> None:
    def run(seed: int) -> Report:
        return evaluate({"wtl": Learner()}, Corridor(), corridor_manifest(), seed=seed, n_tasks=60)

    assert run(3).same_result(run(3))
    assert not run(3).same_result(run(4).model_copy(update={"seed": 3}))


def test_repeated_tasks_widen_the_interval_of_what_depends_on_the_task() -> None:
    class LeftHanded(Learner):
        def belief(self, context: object, rng: np.random.Generator) -> float:
            return -1.0

    manifest = corridor_manifest(trials=0, n_tasks=40, episodes_per_task=5)
    report = evaluate({"wtl": LeftHanded()}, Corridor(), manifest)
    low, high = report.methods["wtl"].curve[0].ci95
    assert (report.n_tasks, report.n_episodes) == (40, 200)
    assert high - low > 0.25  # 40 independent outcomes, not 200: Wilson on 200 would say 0.14


def test_progress_counts_every_method_up_to_its_total() -> None:
    seen: dict[str, tuple[int, int]] = {}
    evaluate(
        {"wtl": Learner()},
        Corridor(),
        corridor_manifest(),
        n_tasks=60,
        progress=lambda stage, done, total: seen.update({stage: (done, total)}),
    )
    assert list(seen) == ["demonstrations", "wtl", "controls", "random", "expert"]
    assert all(done == total for done, total in seen.values())


def test_family_that_the_manifest_was_not_made_for_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="horizon: expected 5, got 4"):
        evaluate({}, Corridor(), corridor_manifest(horizon=5))
    with pytest.raises(InvalidConfig, match="2000 test tasks, 3000 were asked for"):
        evaluate({}, Corridor(), corridor_manifest(), n_tasks=3000)
    with pytest.raises(InvalidConfig, match="seed"):
        evaluate({}, Corridor(), corridor_manifest(), seed=-1)


def test_stories_are_of_tasks_whose_first_attempt_failed() -> None:
    stories = tell_stories(Learner(), Corridor(), corridor_manifest())
    assert len(stories) == 3
    assert all(story.trial.success is False and story.retrial.success is True for story in stories)
    assert tell_stories(Learner(), Corridor(), corridor_manifest(trials=0)) == []


@pytest.mark.slow
def test_returns_are_reported_where_the_manifest_is_about_them() -> None:
    report = evaluate({"wtl": Learner()}, Corridor(), corridor_manifest(measure="return", trials=2))
    wtl = report.methods["wtl"]
    assert wtl.returns is not None and wtl.total_return is not None and wtl.return_gain is not None
    # The corridor pays 1 for success and nothing else.
    assert [point.mean for point in wtl.returns] == [point.success for point in wtl.curve]
    assert wtl.total_return.mean == pytest.approx(sum(point.mean for point in wtl.returns))
    assert wtl.returns[0].mean_ci95[0] < wtl.returns[0].mean < wtl.returns[0].mean_ci95[1]
    assert wtl.return_gain == wtl.gain


def test_demonstrations_are_handed_over_without_actions_where_the_budget_says_so() -> None:
    seen: list[Context] = []

    class Watcher(Learner):
        def belief(self, context: Context, rng: np.random.Generator) -> float:
            seen.append(context)
            return super().belief(context, rng)

    budget = Budget(demos=1, trials=1, demo_actions=False)
    evaluate({"wtl": Watcher()}, Corridor(), corridor_manifest(budget=budget), n_tasks=5)
    assert all(demo.actions is None for context in seen for demo in context.demos)
    assert all(trial.actions is not None for context in seen for trial in context.trials)


def test_control_of_the_sibling_needs_no_bound() -> None:
    class Unbounded(ShownCorridor):
        def sibling(self, index: int, rng: np.random.Generator) -> int:
            return index - index % 2 + int(rng.integers(2))

    report = evaluate({"wtl": Learner()}, Unbounded(), corridor_manifest(), n_tasks=50)
    assert "same_demo_other_target" in report.controls
    assert "bayes" not in report.methods
