"""What the evidence says of demonstrations and trials, in sentences with numbers and doubts. Pure rules."""

from collections.abc import Iterator

from metalearn.inspection.evidence import FIRST_STEPS, Evidence, Gain
from metalearn.inspection.findings import Finding, doubtful
from metalearn.inspection.probe import Probe
from metalearn.inspection.shares import Share

CLEAR = 0.1
"""Of success: the lower end of a gain that is taken for one."""
ENOUGH = 0.75
"""Success of replays from which on what is known says what to do."""
MANY = 8
FEW_COMPARABLE = 0.3
REPEATABLE = 0.9


def verdict(evidence: Evidence) -> tuple[str, ...]:
    """What a demonstration leaves open and a trial tells; the doubts where that cannot be said."""
    if why := unknown_because(evidence):
        return (f"Not enough evidence: {why}.",)
    return tuple(_said(evidence))


def unknown_because(evidence: Evidence) -> str:
    """Why replays say nothing of these tasks; empty if they do."""
    if evidence.demo is None or evidence.trial is None or evidence.comparable < FEW_COMPARABLE:
        share = f"{100 * evidence.comparable:.0f} % of the tasks"
        return f"only {share} start like another one with the same seed, so replays cannot compare them"
    if evidence.repeats is not None and evidence.repeats.value < REPEATABLE:
        return (
            f"the expert's actions solve their own task again in {evidence.repeats} of episodes with the same seed, so "
            "replays say little"
        )
    return ""


def findings_of(evidence: Evidence) -> Iterator[Finding]:
    """What looks wrong in how tasks are shown and tried."""
    if unknown_because(evidence):
        return
    nothing, seen, demo, trial = evidence.nothing, evidence.seen, evidence.demo, evidence.trial
    assert demo is not None and trial is not None
    if nothing is not None and nothing.value >= ENOUGH:
        yield doubtful(
            "no-context-needed",
            f"the expert's actions of any task solve {nothing} of the others with the same seed: tasks hardly differ "
            "in what has to be done, and neither a demonstration nor a trial is needed",
        )
    elif not _clear(evidence.trying) and demo.value < ENOUGH / 2 and not _clear(evidence.watching):
        yield doubtful(
            "nothing-tells",
            f"neither a demonstration ({demo}) nor an expert's trial ({trial}) says what to do, as far as "
            f"{evidence.n_tasks} tasks show: check that observations or rewards in a trial depend on the task",
        )
    if seen is not None and seen.value > (nothing.value if nothing else 0) + CLEAR and seen.value >= 0.8 * trial.value:
        yield doubtful(
            "observation-tells-task",
            f"the numbers of the first observation that identify the task say what to do: whoever knows only them "
            f"succeeds in {seen}, so a policy needs no demonstration; hide them if they are the answer",
        )


def of_probe(probed: Probe) -> tuple[str, ...]:
    """What a probe says, which finds less than a network would."""
    said = (
        f"A small probe, asked about each of {probed.n_tasks} tasks after it was fitted to the others, explains "
        f"{_percent(probed.nothing)} of what the expert's actions vary by from the observation alone, "
        f"{_percent(probed.demo)} with a demonstration, and {_percent(probed.trial)} with a good trial besides."
    )
    if probed.trial_tells and probed.demo_tells:
        meant = "A demonstration says something, and leaves something open that a trial tells."
    elif probed.trial_tells:
        meant = "A trial says something; that a demonstration does is not shown."
    elif probed.demo_tells:
        meant = "A demonstration says something; that a trial says more is not shown."
    else:
        meant = "Not enough evidence that either says anything: it may need more tasks, or a network."
    return said, meant


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _said(evidence: Evidence) -> Iterator[str]:
    demo, trial, nothing = evidence.demo, evidence.trial, evidence.nothing
    assert demo is not None and trial is not None
    if nothing is not None and nothing.value >= ENOUGH:
        yield f"Tasks hardly differ in what has to be done: without knowing the task {nothing.percent} succeed."
        return
    if evidence.watching is not None and evidence.watching.low <= 0 and evidence.watching.value < CLEAR:
        assert nothing is not None
        yield f"A demonstration tells little of the task or nothing: {demo.percent} with it, {nothing.percent} without."
    if _clear(evidence.trying):
        yield from _open(evidence, demo, trial)
    elif demo.value >= ENOUGH:
        yield f"A demonstration says about all that is needed ({demo.percent}), and a trial adds nothing to it."
    elif _clear(evidence.watching):
        yield (
            f"A demonstration tells a good part ({demo.percent}), and a trial adds nothing that shows "
            f"({trial.percent}). About the rest there is not enough evidence: the nearest of {evidence.n_tasks} tasks "
            "may be too far away; try a larger --tasks."
        )
    else:
        yield (
            f"Not enough evidence of what a trial tells: {trial.percent} with one, {demo.percent} without; the nearest "
            f"of {evidence.n_tasks} tasks may be too far away, try a larger --tasks."
        )


def _open(evidence: Evidence, demo: Share, trial: Share) -> Iterator[str]:
    """A demonstration leaves something open that a trial tells."""
    left, steps = possibilities(demo, trial), evidence.steps
    told = "a trial tells which" if trial.value >= ENOUGH else "a trial tells a part of it"
    if _clear(evidence.acting) and steps is not None:
        yield (
            f"A demonstration leaves {left} open ({demo.percent}). The first {FIRST_STEPS} steps of an attempt tell a "
            f"part ({steps.percent}), because what actions do, or earn, depends on the task: a memory within the "
            "episode can use that."
        )
        if possibilities(steps, trial) != "nothing":
            yield f"After these steps {possibilities(steps, trial)} are left, and {told} ({trial.percent})."
        return
    yield f"A demonstration leaves {left} open ({demo.percent}), and {told} ({trial.percent})."


def possibilities(known: Share, all_known: Share) -> str:
    """How many possibilities are left, from the success of drawing one of them: `about 2 possibilities`."""
    if known.value <= 0 or all_known.value / known.value > MANY:
        return f"more than {MANY} possibilities"
    ratio = all_known.value / known.value
    if ratio < 1.1:
        return "nothing"
    whole = round(ratio)
    about = str(whole) if whole > 1 and abs(ratio - whole) < 0.15 * ratio else f"{ratio:.1f}"
    return f"about {about} possibilities"


def acting_tells(evidence: Evidence) -> bool:
    """Whether the first steps of an attempt tell something that a demonstration does not."""
    return _clear(evidence.acting)


def _clear(gain: Gain | None) -> bool:
    return gain is not None and gain.low > CLEAR / 2 and gain.value > CLEAR
