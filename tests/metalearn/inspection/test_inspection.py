"""An inspection says what a family shows, and names what is wrong where one thing is."""

import json
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from metalearn.config import Experiment, ModelConfig, TrainingConfig
from metalearn.inspection import Inspection, inspect_family
from metalearn.inspection.page import print_inspection
from metalearn.training.loop import train

HARMLESS = {"few-tasks"}
"""A line with two doors has few tasks, but that is not what these tests are about."""


@cache
def inspected(name: str, n_tasks: int = 16, budget_s: float = 0) -> Inspection:
    return inspect_family(f"support.inspected:{name}", n_tasks=n_tasks, budget_s=budget_s)


def codes(found: Inspection, severity: str) -> set[str]:
    return {finding.code for finding in found.findings if finding.severity == severity} - HARMLESS


def test_in_a_sound_family_nothing_looks_wrong():
    found = inspected("Line")
    assert found.findings == ()
    assert not found.certainly_wrong


def test_a_demonstration_that_tells_nothing_leaves_two_doors_open_and_a_trial_tells_which():
    found = inspected("Line", budget_s=60)
    assert found.evidence is not None and found.evidence.demo is not None and found.evidence.trial is not None
    assert found.evidence.demo.value == pytest.approx(0.5, abs=0.1)
    assert found.evidence.trial.value == 1
    assert found.verdict[-1].startswith("A demonstration leaves about 2 possibilities open")


def test_a_demonstration_that_shows_the_door_says_all():
    found = inspected("Shown")
    assert found.verdict == ("A demonstration says about all that is needed (100 %), and a trial adds nothing to it.",)
    assert found.tasks is not None and found.tasks.same_scene


def test_a_motor_that_is_turned_round_shows_in_the_first_steps():
    found = inspected("Turned")
    assert found.evidence is not None and found.evidence.steps is not None
    assert found.evidence.steps.value == 1
    assert "a memory within the episode" in " ".join(found.verdict)


@pytest.mark.parametrize(
    ("family", "code"),
    [
        ("FailingExpert", "expert-fails"),
        ("Silent", "no-success"),
        ("Equal", "tasks-equal"),
        ("Endless", "horizon-exceeded"),
        ("Unseeded", "resets-differ"),
        ("Overlapping", "splits-overlap"),
        ("Raising", "does-not-run"),
    ],
)
def test_what_is_certainly_wrong_is_named(family: str, code: str):
    found = inspected(family)
    assert code in codes(found, "wrong")
    assert found.certainly_wrong


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("StuckExpert", {"expert-fails", "expert-stuck"}),
        ("Leaking", {"observation-tells-task"}),
        ("Patient", {"long-horizon"}),
        ("Unlike", {"large-offset"}),
    ],
)
def test_what_may_be_meant_is_doubted_and_nothing_else_is(family: str, expected: set[str]):
    found = inspected(family)
    assert codes(found, "doubtful") == expected
    assert not found.certainly_wrong


def test_a_success_that_anything_reaches_is_doubted():
    assert {"luck", "no-context-needed"} <= codes(inspected("Lucky"), "doubtful")


def test_numbers_that_never_change_are_listed():
    found = inspected("Unlike")
    assert codes(found, "note") == {"constant-observations"}
    assert found.observations[0].constant == ("[1]",)


def test_the_numbers_that_tell_the_task_are_listed():
    found = inspected("Leaking")
    assert found.tasks is not None
    assert found.tasks.identifying == ("[1]",)


def test_tasks_that_replays_cannot_compare_are_probed():
    found = inspected("Ungraspable", n_tasks=64)
    assert found.verdict[0].startswith("Not enough evidence: only")
    assert found.probe is not None and found.probe.trial_tells and not found.probe.demo_tells


def test_a_family_without_an_expert_is_looked_at_as_far_as_that_goes():
    found = inspected("WithoutExpert")
    assert [one.actor for one in found.played] == ["random", "random"]
    assert found.evidence is None and found.choices == ()
    assert codes(found, "doubtful") == {"no-expert"}
    assert "add `achieved_goal`" in found.findings[-1].message


def test_without_an_expert_it_says_what_a_training_chooses_that_is_asked_for_goals(tmp_path: Path):
    found = inspected("SayingGoals")
    assert (found.evidence, found.certainly_wrong, codes(found, "note")) == (None, False, {"no-expert"})
    assert "--family support.inspected:SayingGoals --set model.asks=goal" in found.findings[-1].message
    chosen = {one.field: (one.value, one.reason) for one in found.choices}
    assert chosen["data.demos_per_task"] == (0, "there is no expert: what random actions lead to is learnt")
    assert [chosen[name][0] for name in ("data.play_per_task", "training.trials_per_task")] == [4, 0]
    experiment = Experiment(
        name="goals",
        family="support.inspected:SayingGoals",
        model=ModelConfig(asks=("goal",)),
        training=TrainingConfig(steps=2, batch_tasks=8, check_tasks=8),
    )
    made = train(experiment, tmp_path).provenance["decisions"]
    del chosen["data.n_tasks"]  # is bounded by how long a training is
    assert {one["field"]: (one["value"], one["reason"]) for one in made if one["field"] != "data.n_tasks"} == chosen


def test_the_page_says_whose_episodes_are_collected():
    with Console(record=True, width=200, file=StringIO()) as console:
        print_inspection(inspected("SayingGoals"), console)
        print_inspection(inspected("Line"), console)
    said = console.export_text()
    assert "episodes of random actions for a training take about" in said
    assert "the expert's episodes for a training take about" in said
    assert said.count("What a training will choose") == 2


def test_it_is_json_with_a_reason_for_every_choice():
    written = json.loads(json.dumps(inspected("Line").to_json()))
    assert written["schema"] == 1 and written["certainly_wrong"] is False
    assert written["spec"]["parts"] == [{"name": "", "kind": "vector", "shape": [1]}]
    assert all(choice["reason"] for choice in written["choices"])
