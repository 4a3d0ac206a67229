"""The whole inspection of a family or of recordings: plays, compares, and says what was found.

The only place that knows the order of things. Trains nothing.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

from metalearn.config import Experiment
from metalearn.data.asks import Goal
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spec import Spec
from metalearn.evaluation.protocol import has_expert
from metalearn.inspection.choices import Choice, choices, collected, experiment_of
from metalearn.inspection.environment import SCENES, EnvironmentReport, check_environment, overlapping_splits
from metalearn.inspection.evidence import Evidence, find_evidence
from metalearn.inspection.findings import (
    Finding,
    of_environment,
    of_looks,
    of_no_expert,
    of_play,
    of_tasks,
    wrong,
)
from metalearn.inspection.looks import (
    ActionLook,
    PartLook,
    RewardLook,
    look_at_actions,
    look_at_observations,
    look_at_rewards,
)
from metalearn.inspection.plan import BUDGET_S, Plan
from metalearn.inspection.play import Tell, play_expert, play_random
from metalearn.inspection.played import Played
from metalearn.inspection.probe import Probe, probe
from metalearn.inspection.recordings import (
    RecordingsReport,
    count,
    episodes_of,
    few_for_probe,
    of_recordings,
    probe_recordings,
)
from metalearn.inspection.tasks import TasksReport, compare_tasks
from metalearn.inspection.verdict import findings_of, of_probe, unknown_because, verdict
from metalearn.tasks.family import Family, Scene, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import episode_seeds
from metalearn.training.asking import goal_reader

SCHEMA = 1
FIRST_TASKS = (4, 64)
"""Tasks that are played to learn how long an episode takes; more of them if an episode takes less than `SLOW_S`."""
SLOW_S = 0.02
STREAMS = {"demo": 71, "trial": 72, "target": 73, "random": 74}


@dataclass(frozen=True)
class Inspection:
    """What was found. What could not be looked at is None or empty.

    Attributes:
        name: of the family, or of the recordings.
        spec: what an episode looks like.
        seconds: that the inspection took.
        environments: the environment of each scene.
        tasks: how tasks differ.
        recordings: what was counted in recordings.
        played: the expert and random actions.
        steps_per_second: of the simulator.
        collecting_s: seconds that the episodes take which a training collects before it learns.
        observations, actions, rewards: how they look; actions are the expert's.
        evidence: what replays say of demonstrations and trials.
        probe: what a small model says of them, where replays say nothing.
        verdict: that in sentences.
        choices: what a training will choose by itself.
        findings: what looks wrong.
    """

    name: str
    spec: Spec
    seconds: float = 0.0
    environments: tuple[EnvironmentReport, ...] = ()
    tasks: TasksReport | None = None
    recordings: RecordingsReport | None = None
    played: tuple[Played, ...] = ()
    steps_per_second: float | None = None
    collecting_s: float | None = None
    observations: tuple[PartLook, ...] = ()
    actions: ActionLook | None = None
    rewards: RewardLook | None = None
    evidence: Evidence | None = None
    probe: Probe | None = None
    verdict: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def certainly_wrong(self) -> bool:
        """Whether a training cannot work, or not as meant."""
        return any(finding.severity == "wrong" for finding in self.findings)

    def with_findings(self, findings: Iterable[Finding]) -> "Inspection":
        """The same, and more that looks wrong."""
        return replace(self, findings=(*self.findings, *findings))

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON."""
        parts = [{"name": part.name, "kind": part.kind, "shape": list(part.shape)} for part in self.spec.parts]
        found = {name: _plain(getattr(self, name)) for name in (f.name for f in fields(self)) if name != "spec"}
        spec = self.spec.to_json() | {"parts": parts}
        return {"schema": SCHEMA, "certainly_wrong": self.certainly_wrong, "spec": spec} | found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def inspect_family(
    name: str, *, n_tasks: int | None = None, budget_s: float = BUDGET_S, tell: Tell = lambda _: None
) -> Inspection:
    """Inspect a registered family, or `module:Class`.

    Args:
        name: of the family.
        n_tasks: tasks to compare; as many as the time allows, if None.
        budget_s: seconds that episodes may take, where that is enough for the fewest that say something.
        tell: called with what is being done.

    Raises:
        InvalidConfig: there is no such family.
    """
    began = time.monotonic()
    family = find_family(name)
    found = Inspection(family.name, family.spec)
    try:
        for scene in SCENES:
            tell(f"the environment in the scene {scene!r}")
            report = check_environment(family, scene)
            found = replace(found, environments=(*found.environments, report))
            found = found.with_findings(of_environment(report, family.spec.horizon))
        if not found.certainly_wrong:
            found = _FamilyInspection(family, name, n_tasks, budget_s, tell).go_on(found)
    except (InvalidConfig, InvalidData) as error:
        found = found.with_findings([wrong("does-not-run", f"{error}")])
    return replace(found, seconds=time.monotonic() - began)


def inspect_dataset(name: str, dataset: Dataset, *, tell: Tell = lambda _: None) -> Inspection:
    """Inspect recorded episodes, of which a training would learn alone.

    Args:
        name: what they are called.
        dataset: of at least one task.
        tell: called with what is being done.
    """
    began = time.monotonic()
    found = Inspection(name, dataset.spec)
    try:
        dataset.check()
    except InvalidData as error:
        found = found.with_findings([wrong("not-trainable", f"nothing can be trained on these recordings: {error}")])
    tell("the episodes")
    report, everything = count(dataset), list(episodes_of(dataset))
    found = replace(found, recordings=report).with_findings(of_recordings(report))
    imitated = [episode for record in dataset.tasks for episode in record.experts]
    found = _looked(found, everything, imitated)
    if not found.certainly_wrong:
        tell("what demonstrations and trials tell")
        probed = probe_recordings(dataset)
        said = (f"Not enough evidence: {few_for_probe(report)}.",) if probed is None else of_probe(probed)
        chosen = choices(Experiment(name=name, family=""), dataset, own_trials=False)
        found = replace(found, probe=probed, verdict=said, choices=chosen)
    return replace(found, seconds=time.monotonic() - began)


def _looked(found: Inspection, episodes: Sequence[Episode], experts: Sequence[Episode]) -> Inspection:
    """What observations, actions and rewards look like."""
    observations, rewards = look_at_observations(episodes, found.spec), look_at_rewards(episodes)
    done = [episode.actions for episode in experts if episode.actions is not None]
    actions = look_at_actions(done, found.spec) if done else None
    found = replace(found, observations=observations, actions=actions, rewards=rewards)
    return found.with_findings(of_looks(observations, actions, rewards, found.spec.action_size))


@dataclass(frozen=True)
class _FamilyInspection:
    """Everything for which episodes of a family are played, in its order."""

    family: Family
    name: str
    n_tasks: int | None
    budget_s: float
    tell: Tell

    def go_on(self, found: Inspection) -> Inspection:
        """Play, and add what was found. Raises InvalidConfig where an environment does not work."""
        family, expert = self.family, has_expert(self.family, self.family.splits["train"][0])
        self.tell("how long an episode takes")
        n_train = len(family.splits["train"])
        plan = Plan.of(self._episode_s(expert=expert), self.budget_s, self.n_tasks, n_train)
        found = self._play(found, plan, expert=expert)
        overlaps = overlapping_splits(family)
        tasks, leaks = compare_tasks(family, plan.recorded, expert=expert, overlaps=overlaps, tell=self.tell)
        found = replace(found, tasks=tasks).with_findings(of_tasks(tasks))
        if found.certainly_wrong:
            return found
        if not expert:
            return self._without_expert(found, plan.recorded)
        self.tell(f"what demonstrations and trials tell, in {plan.told} tasks")
        evidence = find_evidence(family, plan.told, plan.layouts, leaks, picks=plan.picks)
        found = replace(found, evidence=evidence, verdict=verdict(evidence)).with_findings(findings_of(evidence))
        if unknown_because(evidence):
            found = self._probe(found, plan.told)
        return self._choose(found, plan.recorded)

    def _play(self, found: Inspection, plan: Plan, *, expert: bool) -> Inspection:
        """The expert and random actions in both scenes."""
        family, indices = self.family, tasks_of(self.family, "train", plan.played, seed=0)
        seconds, played, everything, experts = 0.0, [], list[Episode](), list[Episode]()
        for actor, play in (("expert", self._expert), ("random", self._random)):
            for scene in SCENES:
                if actor == "expert" and not expert:
                    continue
                self.tell(f"{actor} actions in {plan.played} tasks, scene {scene!r}")
                began = time.process_time()
                episodes = play(indices, scene, scene if actor == "expert" else "random")
                seconds += time.process_time() - began
                played.append(Played.of(actor, scene, episodes, family.spec.horizon))  # type: ignore[arg-type]
                everything += episodes
                experts += episodes if actor == "expert" else []
        found = replace(found, played=tuple(played), steps_per_second=sum(map(len, everything)) / seconds)
        return _looked(found.with_findings(of_play(played, family.spec.horizon)), everything, experts)

    def _episode_s(self, *, expert: bool) -> float:
        """Seconds that an episode takes, of many side by side where that is fast."""
        play, family = self._expert if expert else self._random, self.family
        for n in FIRST_TASKS:
            indices = tasks_of(family, "train", min(n, len(family.splits["train"])), seed=1)
            began = time.process_time()
            play(indices, "trial", "trial")
            seconds = (time.process_time() - began) / len(indices)
            if seconds > SLOW_S:
                break
        return seconds

    def _without_expert(self, found: Inspection, n_tasks: int) -> Inspection:
        """What a training will choose that is asked for goals: without an expert there is no other."""
        says_goals = goal_reader(self.family, self.family.spec) is not None
        found = found.with_findings([of_no_expert(self.name, says_goals=says_goals)])
        return self._choose(found, n_tasks, (Goal.name,)) if says_goals else found

    def _choose(self, found: Inspection, n_tasks: int, asks: tuple[str, ...] = ()) -> Inspection:
        """What a training will choose, from what it would see of a few tasks."""
        self.tell("what a training will choose")
        experiment, chosen = experiment_of(self.family, self.name, asks)
        began = time.process_time()
        dataset = collected(experiment, self.family, n_tasks)
        collecting_s = (time.process_time() - began) / n_tasks * experiment.data.n_tasks
        more = choices(experiment, dataset, own_trials=True)
        return replace(found, choices=(*chosen, *more), collecting_s=collecting_s)

    def _probe(self, found: Inspection, n_tasks: int) -> Inspection:
        """What a small model says where replays say nothing."""
        self.tell("a small probe, as replays say nothing")
        indices = tasks_of(self.family, "train", min(n_tasks, len(self.family.splits["train"])), seed=2)
        demos, trials, targets = (
            self._expert(indices, "demo" if stream == "demo" else "trial", stream)
            for stream in ("demo", "trial", "target")
        )
        asked = [(episode, episode.actions) for episode in targets if episode.actions is not None]
        probed = probe(demos, trials, asked, self.family.spec)
        said = () if probed is None else of_probe(probed)
        return replace(found, probe=probed, verdict=(*found.verdict, *said))

    def _expert(self, indices: Sequence[int], scene: Scene, stream: str) -> list[Episode]:
        return play_expert(self.family, indices, episode_seeds(indices, STREAMS[stream], 0), scene)

    def _random(self, indices: Sequence[int], scene: Scene, stream: str) -> list[Episode]:
        return play_random(self.family, indices, episode_seeds(indices, STREAMS[stream], 0), scene)
