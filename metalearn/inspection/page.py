"""An inspection in the terminal: what was found, section by section, and last what looks wrong. Words only."""

from collections.abc import Iterator, Sequence
from typing import Any

from gymnasium import spaces
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from metalearn.data.spec import Spec
from metalearn.inspection.environment import EnvironmentReport
from metalearn.inspection.evidence import FIRST_STEPS, Evidence
from metalearn.inspection.inspection import Inspection
from metalearn.inspection.looks import PartLook, RewardLook
from metalearn.inspection.played import Played
from metalearn.inspection.recordings import RecordingsReport
from metalearn.inspection.tasks import TasksReport
from metalearn.inspection.verdict import acting_tells, unknown_because

_KINDS = {"vector": "numbers", "set": "a set of entities", "image": "an image", "category": "a choice"}
_STYLES = {"wrong": "bold red", "doubtful": "yellow", "note": "dim"}
_HOW = (
    "In each task the expert's actions from another one are done: one that cannot be told from it by who knows only so "
    "much. No model is trained; it is about what can be reached."
)


def print_inspection(found: Inspection, console: Console | None = None) -> None:
    """Write it to the terminal."""
    (console or Console()).print(Group(*_sections(found)))


def _sections(found: Inspection) -> Iterator[RenderableType]:
    yield from _section(f"{found.name}: inspected in {found.seconds:.0f} s", _facts(list(_of_spec(found))))
    if found.environments:
        yield from _section("Environment", _facts(list(_of_environments(found.environments))))
    if found.recordings is not None:
        yield from _section("Recordings", _facts(list(_of_recordings(found.recordings))))
    if found.tasks is not None:
        yield from _section("Tasks", _facts(list(_of_tasks(found.tasks))))
    if found.played:
        yield from _section("Who succeeds", _of_played(found.played))
    if found.rewards is not None:
        yield from _section("Actions and rewards", _facts(list(_of_looks(found))))
    if found.verdict:
        yield from _section("What a demonstration tells, and what a trial", *_of_evidence(found))
    if found.choices:
        yield from _section("What a training will choose", _choices(found))
    yield from _section("What looks wrong, and what to change", *_findings(found))


def _section(heading: str, *content: RenderableType) -> Iterator[RenderableType]:
    yield Text(heading, style="bold")
    for one in content:
        yield Padding(one, (0, 0, 0, 2))
    yield Text()


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(text))
    return table


def _of_spec(found: Inspection) -> Iterator[tuple[str, str]]:
    looks = {look.name: look for look in found.observations}
    for part in found.spec.parts:
        shape = list(part.shape)
        seen = f"; seen {_range(looks[part.name])}" if part.name in looks else ""
        called = f"observation {part.name!r}" if part.name else "observation"
        yield called, f"{_KINDS[part.kind]} {shape}, {_bounds(part.space)}{seen}"
    yield "action", _action(found.spec)
    seconds = found.spec.horizon / found.spec.rate_hz
    yield "horizon", f"{found.spec.horizon} steps at {found.spec.rate_hz:g} Hz ({seconds:.3g} s)"


def _range(look: PartLook) -> str:
    still = f", {len(look.constant)} never change" if look.constant else ""
    return f"{look.low:.3g} .. {look.high:.3g}{still}"


def _bounds(space: Any) -> str:
    if isinstance(space, spaces.Box):
        low, high = space.low.min(), space.high.max()
        return f"bounds {low:g} .. {high:g}" + (" (none: its units come from the data)" if low == -float("inf") else "")
    return str(space)


def _action(spec: Spec) -> str:
    space: Any = spec.action_space
    if isinstance(space, spaces.Box):
        return f"{list(space.shape)} numbers, {_bounds(space)}"
    return str(space)


def _of_environments(reports: Sequence[EnvironmentReport]) -> Iterator[tuple[str, str]]:
    """What is the same in both scenes is said once."""
    said = {f"scene {one.scene!r}": _of_environment(one) for one in reports}
    if len(said) > 1 and len(set(said.values())) == 1:
        said = {"both scenes": _of_environment(reports[0])}
    yield from said.items()
    for warning in dict.fromkeys(warning for one in reports for warning in one.checker):
        yield "Gymnasium warns", warning


def _of_environment(report: EnvironmentReport) -> str:
    said = ["is refused by Gymnasium's checker" if report.refusal else "passes Gymnasium's checker"]
    same = not report.differing_resets and not report.differing_steps
    said.append("the same seed gives the same episode" if same else "the same seed does not give the same episode")
    said.append("says success" if report.says_success else "never says success")
    said.append("an episode does not end in time" if report.longest is None else "ends within the horizon")
    return "; ".join(said)


def _of_recordings(report: RecordingsReport) -> Iterator[tuple[str, str]]:
    n = report.demos + report.experts + report.trials
    yield (
        "tasks",
        f"{report.n_tasks:,}, with {n:,} episodes of {report.steps_median} steps (median; {report.steps_max} at most)",
    )
    yield (
        "episodes",
        (
            f"{report.demos:,} demonstrations, {report.experts:,} to imitate, {report.trials:,} trials that failed; "
            f"{report.copies} are copies"
        ),
    )
    solved = "" if report.solved is None else f", {report.solved} of these succeeded"
    yield "scored", f"success is known of {report.outcomes:,}{solved}; {report.rewarded:,} have rewards"
    alone = report.n_tasks - report.without_second
    yield "as a trial", f"{alone:,} tasks have a second good episode, which can be one that succeeded"


def _of_tasks(tasks: TasksReport) -> Iterator[tuple[str, str]]:
    yield "splits", ", ".join(f"{n:,} {name}" for name, n in tasks.sizes.items())
    if tasks.kinds is not None:
        few = f"{tasks.kinds} different ones" if tasks.kinds < tasks.compared else "all of them different"
        held = ""
        if tasks.held_out is not None:
            held = f"; of test tasks {100 * tasks.held_out:.0f} % are like none of these"
        yield f"{tasks.compared} tasks", f"{few} (demonstration and expert's trial with one seed){held}"
    yield "starts", "differ with the seed" if tasks.layouts else "are the same whatever the seed"
    if tasks.same_scene is not None:
        yield "scenes", "demonstration and trial are the same" if tasks.same_scene else "demonstration and trial differ"
    if tasks.identifying:
        listed = ", ".join(tasks.identifying[:8]) + (" ..." if len(tasks.identifying) > 8 else "")
        yield "identified", f"the first observation of a trial tells the task whatever the seed, in {listed}"


def _of_played(played: Sequence[Played]) -> Table:
    table = _table()
    for name in ("", "success", "steps: median", "95 %", "longest", "at the horizon", "sum of rewards"):
        table.add_column(name, justify="left" if not name else "right")
    for one in played:
        table.add_row(
            f"{one.actor}, scene {one.scene!r}",
            str(one.success),
            str(one.steps_median),
            str(one.steps_95),
            str(one.steps_max),
            f"{100 * one.at_horizon:.0f} %",
            "-" if one.reward is None else f"{one.reward:.3g}",
        )
    return table


def _of_looks(found: Inspection) -> Iterator[tuple[str, str]]:
    if found.rewards is not None:
        yield "rewards", _rewards(found.rewards)
    if found.actions is not None and found.actions.used:
        least, most = min(found.actions.used), max(found.actions.used)
        yield "expert's actions", f"use {100 * least:.0f} .. {100 * most:.0f} % of their range"
    if found.steps_per_second is not None:
        yield "simulator", f"{found.steps_per_second:,.0f} steps a second"
    if found.collecting_s is not None:
        whose = "the expert's episodes" if found.actions is not None else "episodes of random actions"
        yield "collecting", f"{whose} for a training take about {_duration(found.collecting_s)}"


def _rewards(look: RewardLook) -> str:
    if look.kind in ("none", "always 0"):
        return f"{look.kind}: success alone says how it went"
    return f"{look.kind}, {look.low:.3g} .. {look.high:.3g}, not 0 in {100 * look.nonzero:.0f} % of the steps"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 100 * 60 else f"{seconds / 3600:.0f} hours"


def _of_evidence(found: Inspection) -> Iterator[RenderableType]:
    evidence = found.evidence
    if evidence is not None and not unknown_because(evidence):
        yield Text(_HOW, style="dim")
        layouts = "one layout" if evidence.n_layouts == 1 else f"{evidence.n_layouts} layouts"
        yield _known(evidence, f"{evidence.n_tasks} tasks, {layouts}; who knows")
    for sentence in found.verdict:
        yield Text(sentence)


def _known(evidence: Evidence, heading: str) -> Table:
    """Success of the expert's actions from another task, by what is known of the task."""
    table = _table()
    table.add_column(heading)
    table.add_column("succeeds", justify="right")
    rows = (
        ("nothing", evidence.nothing),
        ("the numbers that identify the task", evidence.seen),
        ("a demonstration", evidence.demo),
        (f"a demonstration and the first {FIRST_STEPS} steps", evidence.steps if acting_tells(evidence) else None),
        ("a demonstration and an expert's trial", evidence.trial),
    )
    for name, share in rows:
        if share is not None:
            table.add_row(name, str(share))
    return table


def _choices(found: Inspection) -> Table:
    table = _table()
    for name in ("field", "value", "why"):
        table.add_column(name, overflow="fold", no_wrap=name == "field")
    for choice in found.choices:
        table.add_row(choice.field, Text(str(choice.value)), Text(choice.reason))
    return table


def _findings(found: Inspection) -> Iterator[RenderableType]:
    if not found.findings:
        yield Text("nothing that was looked at", style="green")
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in sorted(found.findings, key=lambda one: list(_STYLES).index(one.severity)):
        table.add_row(Text(finding.severity, style=_STYLES[finding.severity]), Text(_capital(finding.message) + "."))
    yield table


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
