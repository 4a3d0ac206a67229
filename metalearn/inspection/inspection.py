"""The whole inspection of a family or of recordings: plays, compares, and says what was found.

The only place that knows the order and the budget. Trains nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from metalearn.config import DataConfig, Experiment
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.spaces import parts_of
from metalearn.data.spec import Spec
from metalearn.evaluation.protocol import has_expert
from metalearn.inspection.choices import Choice, choices
from metalearn.inspection.environment import SCENES, EnvironmentReport, check_environment, overlapping_splits
from metalearn.inspection.evidence import Evidence, find_evidence
from metalearn.inspection.findings import Finding, of_environment, of_looks, of_play, of_tasks, wrong
from metalearn.inspection.looks import (
    ActionLook,
    PartLook,
    RewardLook,
    look_at_actions,
    look_at_observations,
    look_at_rewards,
)
from metalearn.inspection.play import Tell, play_expert, play_random
from metalearn.inspection.played import Played
from metalearn.inspection.tasks import TasksReport, compare_tasks
from metalearn.inspection.verdict import findings_of, verdict
from metalearn.tasks.family import Family, Scene, TaskId, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import episode_seeds

SCHEMA = 1
BUDGET_S = 10.0
"""Seconds that the comparison of tasks may take, from which the number of tasks follows."""
MOST_TASKS, FEWEST_TASKS, PLAYED_TASKS = 192, 48, 48
EPISODES_PER_TASK = 9
STREAM_DEMO, STREAM_TRIAL, STREAM_MORE, STREAM_RANDOM = 71, 72, 73, 74


@dataclass(frozen=True)
class Inspection:
    """What was found. Sections that could not be looked at are None or empty."""

    name: str
    spec: Spec
    seconds: float = 0.0
    environments: tuple[EnvironmentReport, ...] = ()
    tasks: TasksReport | None = None
    played: tuple[Played, ...] = ()
    steps_per_second: float | None = None
    collecting_s: float | None = None
    observations: tuple[PartLook, ...] = ()
    actions: ActionLook | None = None
    rewards: RewardLook | None = None
    evidence: Evidence | None = None
    verdict: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    findings: tuple[Finding, ...] = field(default=())

    @property
    def certainly_wrong(self) -> bool:
        """Whether a training cannot work, or not as meant."""
        return any(finding.severity == "wrong" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON."""
        parts = [
            {"name": part.name, "kind": part.kind, "shape": list(part.shape)}
            for part in parts_of(self.spec.observation_space)
        ]
        values = asdict(replace(self, spec=None)) | {"spec": self.spec.to_json() | {"parts": parts}}  # type: ignore[arg-type]
        return {"schema": SCHEMA, "certainly_wrong": self.certainly_wrong} | values


def inspect_family(name: str, *, n_tasks: int | None = None, tell: Tell = lambda _: None) -> Inspection:
    """Inspect a registered family, or `module:Class`.

    Args:
        name: of the family.
        n_tasks: tasks to compare; as many as the time allows, if None.
        tell: called with what is being done.

    Raises:
        InvalidConfig: there is no such family.
    """
    began = time.monotonic()
    family = find_family(name)
    found = Inspection(family.name, family.spec)
    try:
        for scene in SCENES:
            tell(f"the environment, scene {scene!r}")
            report = check_environment(family, scene)
            found = replace(found, environments=(*found.environments, report))
            found = _with(found, of_environment(report, family.spec.horizon))
        if not found.certainly_wrong:
            found = _played(family, name, found, n_tasks, tell)
    except (InvalidConfig, InvalidData) as error:
        found = _with(found, [wrong("does-not-run", f"{error}")])
    return replace(found, seconds=time.monotonic() - began)


def inspect_dataset(name: str, dataset: Dataset, *, tell: Tell = lambda _: None) -> Inspection:
    """Inspect recorded episodes."""
    raise NotImplementedError


def _with(found: Inspection, findings: Any) -> Inspection:
    return replace(found, findings=(*found.findings, *findings))


def _played(family: Family, name: str, found: Inspection, n_tasks: int | None, tell: Tell) -> Inspection:
    """Everything for which episodes are played."""
    spec, expert = family.spec, has_expert(family, family.splits["train"][0])
    n_played = min(PLAYED_TASKS, n_tasks or PLAYED_TASKS, len(family.splits["train"]))
    indices = tasks_of(family, "train", n_played, seed=0)
    tell(f"random actions in {n_played} tasks")
    began = time.monotonic()
    randoms = {scene: play_random(family, indices, episode_seeds(indices, STREAM_RANDOM, 0), scene) for scene in SCENES}
    random_s = time.monotonic() - began
    plays = {("random", scene): episodes for scene, episodes in randoms.items()}
    expert_s = 0.0
    if expert:
        tell(f"the expert in {n_played} tasks")
        began = time.monotonic()
        streams: tuple[tuple[Scene, int], ...] = (("demo", STREAM_DEMO), ("trial", STREAM_TRIAL))
        for scene, stream in streams:
            plays["expert", scene] = play_expert(family, indices, episode_seeds(indices, stream, 0), scene)
        expert_s = time.monotonic() - began
    played = tuple(Played.of(actor, scene, episodes, spec.horizon) for (actor, scene), episodes in plays.items())  # type: ignore[arg-type]
    everything = [episode for episodes in plays.values() for episode in episodes]
    steps = sum(map(len, everything))
    found = replace(found, played=played, steps_per_second=steps / (random_s + expert_s))
    if expert:
        data = DataConfig()
        n_episodes = min(data.n_tasks, len(family.splits["train"])) * (data.demos_per_task + data.experts_per_task)
        found = replace(found, collecting_s=expert_s / (2 * n_played) * n_episodes)
    found = _with(found, of_play(played, spec.horizon))
    found = _looked(found, everything, plays.get(("expert", "trial"), []))
    n = n_tasks or _affordable((random_s + expert_s) / (len(everything)))
    tasks, leaks = compare_tasks(family, n, expert=expert, overlaps=overlapping_splits(family), tell=tell)
    found = _with(replace(found, tasks=tasks), of_tasks(tasks))
    if not expert or found.certainly_wrong:
        return found
    tell("what demonstrations and trials tell")
    slow = n < MOST_TASKS
    evidence = find_evidence(family, n, 1 if slow else 3, leaks, picks=1 if slow else 4)
    found = _with(replace(found, evidence=evidence, verdict=verdict(evidence)), findings_of(evidence))
    tell("what a training will choose")
    return replace(found, choices=_choices(family, name, indices, plays))


def _affordable(episode_s: float) -> int:
    """Tasks that can be compared within the budget."""
    return int(np.clip(BUDGET_S / (EPISODES_PER_TASK * episode_s), FEWEST_TASKS, MOST_TASKS)) // 8 * 8


def _looked(found: Inspection, episodes: Sequence[Episode], experts: Sequence[Episode]) -> Inspection:
    """What observations, actions and rewards look like."""
    observations, rewards = look_at_observations(episodes, found.spec), look_at_rewards(episodes)
    done = [episode.actions for episode in experts if episode.actions is not None]
    actions = look_at_actions(done, found.spec) if done else None
    found = replace(found, observations=observations, actions=actions, rewards=rewards)
    return _with(found, of_looks(observations, actions, rewards, found.spec.action_size))


def _choices(family: Family, name: str, indices: Sequence[int], plays: Any) -> tuple[Choice, ...]:
    records = tuple(
        TaskRecord(str(TaskId(family.name, index)), (demo,), (trial,))
        for index, demo, trial in zip(indices, plays["expert", "demo"], plays["expert", "trial"], strict=True)
    )
    n_tasks = min(DataConfig().n_tasks, len(family.splits["train"]))
    experiment = Experiment(name=family.name, family=name, data=DataConfig(n_tasks=n_tasks))
    return choices(experiment, Dataset(family.spec, records))
