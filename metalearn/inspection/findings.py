"""What looks wrong and what to change: pure rules from what was measured to sentences with the number behind them.

Knows no environments; every threshold is here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from metalearn.inspection.environment import EnvironmentReport
from metalearn.inspection.looks import WILD, ActionLook, PartLook, RewardLook
from metalearn.inspection.played import Played
from metalearn.inspection.tasks import TasksReport

Severity = Literal["wrong", "doubtful", "note"]

GOOD_EXPERT = 0.9
LUCKY = 0.5
FEW_TASKS = 500
FEW_KINDS = 0.2
LONG_HORIZON = 3.0


@dataclass(frozen=True)
class Finding:
    """Something that is certainly wrong, that probably is not meant, or that is worth knowing.

    Attributes:
        severity: "wrong": training cannot work, or not as meant; "doubtful": it may be meant; "note": it does no harm.
        code: stable, for programs.
        message: one sentence with the number that led to it, and what to change.
    """

    severity: Severity
    code: str
    message: str


def wrong(code: str, message: str) -> Finding:
    """A finding that is certain."""
    return Finding("wrong", code, message)


def doubtful(code: str, message: str) -> Finding:
    """A finding that may be meant."""
    return Finding("doubtful", code, message)


def note(code: str, message: str) -> Finding:
    """A finding that does no harm."""
    return Finding("note", code, message)


def of_environment(report: EnvironmentReport, horizon: int) -> Iterator[Finding]:
    """What one environment of a scene does against the rules."""
    where = f"in the scene {report.scene!r}"
    if report.refusal:
        yield wrong("checker", f"Gymnasium's checker refuses the environment {where}: {report.refusal}")
    if report.differing_resets:
        yield wrong(
            "resets-differ",
            f"{where}, two resets of one task with seed 11 differ in the {report.differing_resets}: "
            "call super().reset(seed=seed) and draw from self.np_random alone",
        )
    elif report.differing_steps:
        yield doubtful(
            "steps-differ",
            f"{where}, the same seed and actions give another {report.differing_steps}: draw noise from self.np_random",
        )
    for difference in report.spaces:
        yield doubtful("spaces-differ", f"{where}, {difference}: declare one and the same")
    if report.outside:
        yield doubtful("out-of-space", f"{where}, an observation is outside of its space: {report.outside}")
    if report.longest is None:
        yield wrong(
            "horizon-exceeded",
            f"{where}, an episode goes on after the {horizon} steps of the spec's horizon: return truncated=True then",
        )
    if not report.says_success:
        yield wrong("no-success", f"{where}, no info of an episode holds 'success': put it into that of the last step")


def of_tasks(report: TasksReport) -> Iterator[Finding]:
    """Too few tasks, tasks that do not differ, and splits that overlap."""
    for pair in report.overlaps:
        yield wrong("splits-overlap", f"the splits {pair} have tasks in common: what is measured was trained on")
    n = report.compared
    if report.kinds == 1 and n > 1:
        yield wrong(
            "tasks-equal",
            f"all {n} tasks that were compared are the same: demonstration and trial do not differ with equal seeds; "
            "make(index) has to use the index",
        )
    elif report.kinds is not None and report.kinds <= FEW_KINDS * n and not report.layouts:
        yield doubtful(
            "few-kinds",
            f"{n} tasks are of {report.kinds} kinds, and each starts the same with every seed: a policy learns them by "
            "heart, and then no trial fails in training; let the layout vary with the seed",
        )
    if report.sizes["train"] < FEW_TASKS:
        yield doubtful(
            "few-tasks",
            f"there are {report.sizes['train']} training tasks: a few hundred are learnt by heart; have thousands",
        )
    if report.held_out == 0 and not report.layouts:
        yield doubtful(
            "nothing-held-out",
            f"all test tasks that were compared are training tasks again ({report.kinds} kinds among {n} tasks, which "
            "start the same with every seed): success on them does not say that anything new can be learnt",
        )


def of_play(played: Sequence[Played], horizon: int) -> Iterator[Finding]:
    """An expert that fails or goes in circles, random actions that succeed, a horizon that is too long."""
    experts = [one for one in played if one.actor == "expert"]
    for one in experts:
        yield from _of_expert(one)
    for one in played:
        if one.actor == "random" and one.success.value > LUCKY and one.scene == "trial":
            yield doubtful(
                "luck",
                f"random actions succeed in {one.success} of trials: success hardly says that a task was understood; "
                "make it stricter",
            )
    longest = max((one.steps_95 for one in experts if one.success.value > 0), default=0)
    if longest and horizon > LONG_HORIZON * longest:
        yield doubtful(
            "long-horizon",
            f"the horizon is {horizon} steps and 95 % of the expert's episodes end within {longest}: a failed attempt "
            f"runs to the end, so training and measuring take longer than with a horizon of about {2 * longest}",
        )


def of_no_expert(family: str, *, says_goals: bool) -> Finding:
    """What can be learnt where no expert demonstrates."""
    if says_goals:
        return note(
            "no-expert",
            "there is no expert to imitate, but what was achieved is said: `wtl train --family "
            f"{family} --set model.asks=goal` learns from random actions to reach the goals that it is asked for",
        )
    return doubtful(
        "no-expert",
        "there is no expert to imitate, and nobody says what was achieved: add an `expert_action`, train from recorded "
        "episodes, or add `achieved_goal` to ask for goals",
    )


def _of_expert(one: Played) -> Iterator[Finding]:
    where = f"in the scene {one.scene!r}"
    if one.success.value == 0:
        yield wrong("expert-fails", f"the expert succeeds in none of {one.success.n} episodes {where}")
    elif one.success.value < GOOD_EXPERT:
        yield doubtful(
            "expert-fails",
            f"the expert succeeds in {one.success} of {one.success.n} episodes {where}: its failures are imitated too",
        )
    if one.stuck:
        yield doubtful(
            "expert-stuck",
            f"{where}, {one.stuck} of {one.success.n} expert episodes failed at the horizon while observations "
            "repeated themselves: the expert is stuck, perhaps between two actions that are equally good",
        )


def of_looks(
    observations: Sequence[PartLook], actions: ActionLook | None, rewards: RewardLook | None, n_actions: int
) -> Iterator[Finding]:
    """Observations and actions whose numbers are unusual."""
    for part in observations:
        called = f"observation part {part.name!r}" if part.name else "the observation"
        if part.constant:
            listed = _listed(part.constant)
            n = len(part.constant)
            yield note("constant-observations", f"{n} numbers of {called} never change and are ignored: {listed}")
        small, large = part.spread
        if part.kind != "image" and small and large / small > WILD:
            yield doubtful(
                "wild-scale",
                f"numbers of {called} vary by {small:.2g} and by {large:.2g}: what varies least may be lost; "
                "bring them to one scale",
            )
        if part.kind != "image" and part.offset > WILD:
            yield doubtful(
                "large-offset",
                f"a number of {called} is {part.offset:.0f} times as large as it varies: subtract what is constant",
            )
    if actions is None:
        return
    if actions.hardly_used:
        used = ", ".join(f"{i}: {100 * actions.used[i]:.1f} %" for i in actions.hardly_used)
        yield doubtful(
            "range-hardly-used", f"the expert uses little of the range of its actions ({used}): narrow the bounds"
        )
    if actions.never_taken:
        listed = _listed(tuple(map(str, actions.never_taken)))
        said = f"the expert never takes {len(actions.never_taken)} of {n_actions} actions: {listed}"
        few = 2 * len(actions.never_taken) < n_actions
        yield note("actions-never-taken", said) if few else doubtful("actions-never-taken", f"{said}; leave them out")
    if rewards is not None and rewards.turned_round:
        yield doubtful(
            "reward-against-success",
            f"episodes that fail are rewarded more ({rewards.failed:.3g}) than those that succeed "
            f"({rewards.solved:.3g}): reward and success may be turned round",
        )


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
