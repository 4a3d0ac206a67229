"""Calibrating the confidence of a trained policy: it plays validation tasks, never test tasks, and a small head
learns from half of them when attempts succeed; the other half says what its probabilities are worth.

The policy itself stays as it is. Novelty of demos is learnt in `metalearn.training.novelty`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from pydantic import ValidationError

from metalearn.bundle import Bundle
from metalearn.confidence import Confidence, Novelty, describe, kind
from metalearn.config import DataConfig, Experiment, ModelConfig
from metalearn.data.asks import NOTHING, Ask, AskOffer, Hindsight, kinds_of
from metalearn.data.asks.kind import EXPERT
from metalearn.data.context import Context
from metalearn.data.dataset import TaskRecord
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.data.parts import joined, split
from metalearn.data.spec import Spec
from metalearn.evaluation.manifest import load_manifest
from metalearn.model.inference import Inference
from metalearn.tasks.family import TaskId, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate as expert_episodes
from metalearn.tasks.rollout import episode_seeds
from metalearn.training.asking import goal_reader
from metalearn.training.collect import (
    Collector,
    SerialCollector,
    Snapshot,
    chunked,
    demonstrate_chunk,
    demonstration_chunks,
    gathered,
    one_thread,
    trial_chunks,
    try_chunk,
)
from metalearn.training.minutes import SHOWN_FOR_CONFIDENCE, TRIED_FOR_CONFIDENCE
from metalearn.training.novelty import STEPS, fit_novelty
from metalearn.training.success import fit_head
from metalearn.training.ways import GoalReader

STREAM_CALIBRATION = 15
MOST_TASKS, FEWEST_TASKS = 2048, 4
LARGEST_OBSERVATION = 1024
NO_DEMO, TWO_DEMOS, NO_ACTIONS = 0.1, 0.1, 0.2  # how often a context is not one demo with its actions
STRANGE = 0.2  # how often it has a demo that makes no sense
ASKED, PART = 0.5, 0.5  # how often a model that follows asks is asked for something, and then for each kind

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """The tasks of a calibration, the number of attempts in each, and the minutes that the training might take."""

    family: str
    split: str
    n_tasks: int
    n_attempts: int
    data: DataConfig
    seed: int
    minutes: float | None = None

    def seconds(self, share: float) -> float:
        """A share of what the training might take; infinitely many where no minutes count."""
        return math.inf if self.minutes is None else share * 60 * self.minutes

    @property
    def stream(self) -> int:
        """Of the layouts of attempts (`episode_seeds`)."""
        return STREAM_CALIBRATION + 10_000 * self.seed


@dataclass(frozen=True, eq=False)
class Played:
    """n tasks: the context of each first attempt, and the attempts in order."""

    contexts: tuple[Context, ...]
    attempts: tuple[tuple[Episode, ...], ...]

    def situations(self) -> Iterator[tuple[int, Context, Array]]:
        """Yield each task with each of its contexts, and the success of the next two attempts.

        Outcomes `[2]` are 0 or 1; NaN for an attempt that was not made, or for one in another layout than
        that of a goal that is asked for.
        """
        for task, (context, every) in enumerate(zip(self.contexts, self.attempts, strict=True)):
            attempts = every[:1] if any(value.of_moment for value in context.ask.values) else every
            success = [float(bool(attempt.success)) for attempt in attempts] + [np.nan]
            for tried in range(len(attempts)):
                yield task, context.with_trial(*attempts[:tried]), np.array(success[tried : tried + 2])


@dataclass(frozen=True, eq=False)
class Examples:
    """n situations: descriptions, outcomes of the next two attempts, the task, and of which `kind` it is."""

    seen: Float[np.ndarray, "n f"]
    outcomes: Float[np.ndarray, "n 2"]
    task: Int[np.ndarray, " n"]
    group: Int[np.ndarray, " n"]


def calibrate(
    bundle: Bundle,
    *,
    n_tasks: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    collector: Collector | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Return the same bundle (same weights, same id) with a calibrated confidence.

    It is about the tasks that its experiment's manifest is about, or else those it was trained on. A bundle of
    recorded episodes alone, whose tasks nobody can play, and one whose family has no expert or hardly any tasks of
    that split, come back as they are.

    Args:
        bundle: a trained policy.
        n_tasks: validation tasks to play; None: a quarter of the training tasks, at most 2,048, and where minutes
            count about as many as a tenth of them allows.
        seed: which tasks, which layouts, and how the head starts.
        steps: gradient steps of either network; None: as many as trained the policy, at most 1,000.
        collector: where the episodes are played; None: in this process.
        progress: is told what is done of what; may raise to stop.
    """
    plan = plan_of(bundle, "validation", n_tasks, seed)
    if plan is None:
        return bundle
    collector = collector or SerialCollector()
    tell = progress or (lambda what, done, total: None)
    if n_tasks is not None:
        plan = replace(plan, minutes=None)
    try:
        records = demonstrate(plan, collector, tell, plan.seconds(SHOWN_FOR_CONFIDENCE))
    except InvalidConfig as error:
        if "no expert" in str(error):
            return bundle
        raise
    rng = np.random.default_rng([seed, STREAM_CALIBRATION])
    contexts = [_shown(record, rng) for record in records]
    learnt = np.arange(len(records)) % 2 == 0
    odd = rng.random(len(records)) < STRANGE
    contexts = [strange(c, contexts[i - 1], bundle.spec, rng) if odd[i] else c for i, c in enumerate(contexts)]
    asks = draw_asks(bundle, plan, records, np.random.default_rng([seed, STREAM_CALIBRATION, 1]))
    contexts = [replace(context, ask=ask) for context, ask in zip(contexts, asks, strict=True)]
    played = play(plan, bundle, records, contexts, collector, tell, plan.seconds(TRIED_FOR_CONFIDENCE))
    n_steps = min(STEPS, experiment_of(bundle).training.total_steps) if steps is None else steps
    with one_thread():
        novelty = _novelty(bundle, records, seed, n_steps)
        found = examples(bundle, played, Novelty(novelty, bundle.spec) if novelty else None)
        head = fit_head(found.seen, found.outcomes, found.task, found.group, learnt[found.task], seed, n_steps)
    weights = {f"novelty.{k}": v for k, v in novelty.items()} | {f"success.{k}": v for k, v in head.items()}
    made = {"family": plan.family, "split": plan.split, "n_tasks": len(played.contexts), "seed": seed}
    asked = {"asks": [offer.kind for offer in bundle.asks]} if bundle.asks else {}
    calibrated = bundle.with_confidence(weights, made | {"n_attempts": plan.n_attempts} | asked)
    Confidence.of(calibrated)
    return calibrated


def plan_of(bundle: Bundle, split: str, n_tasks: int | None, seed: int) -> Plan | None:
    """Choose the tasks that calibrate or check a bundle; None if its tasks cannot be run."""
    if not isinstance(bundle.provenance.get("experiment"), dict) or bundle.provenance.get("recorded"):
        return None
    experiment = experiment_of(bundle)
    if not experiment.family:
        return None
    name = load_manifest(experiment.manifest).family if experiment.manifest else experiment.family
    family = find_family(name)
    if len(family.splits[split]) < FEWEST_TASKS:
        return None
    n = min(MOST_TASKS, experiment.data.n_tasks // 4) if n_tasks is None else n_tasks
    data = experiment.data.model_copy(update={"demos_per_task": 2, "experts_per_task": 0})
    n_attempts = ModelConfig.model_validate(bundle.model).max_trials + 2
    n = max(FEWEST_TASKS, min(n, len(family.splits[split])))
    return Plan(name, split, n, n_attempts, data, seed, experiment.training.minutes)


def demonstrate(plan: Plan, collector: Collector, progress: Progress, seconds: float = math.inf) -> list[TaskRecord]:
    """Collect two demos of each task, of as many as `seconds` allow. Raises InvalidConfig if there is no expert."""
    indices = tasks_of(find_family(plan.family), plan.split, plan.n_tasks, plan.seed + STREAM_CALIBRATION)
    chunks = demonstration_chunks(plan.family, indices, plan.data, plan.seed + STREAM_CALIBRATION)

    def tell(done: int) -> None:
        progress("calibrate: demonstrations", done, len(chunks))

    return gathered(collector.map(demonstrate_chunk, chunks), tell, seconds, FEWEST_TASKS)


def play(
    plan: Plan,
    bundle: Bundle,
    records: Sequence[TaskRecord],
    contexts: Sequence[Context],
    collector: Collector,
    progress: Progress,
    seconds: float = math.inf,
) -> Played:
    """Collect the policy's attempts, each one conditioned on those before it, in as many tasks as `seconds` allow."""
    weights = {k: np.asarray(v) for k, v in bundle.weights.items()}
    policy = Snapshot(ModelConfig.model_validate(bundle.model), weights)
    size = plan.data.chunk_tasks
    chunks = trial_chunks(plan.family, records, contexts, plan.n_attempts, plan.stream, size=size, relabel=False)

    def tell(done: int) -> None:
        progress("calibrate: attempts", done, len(chunks))

    tasks = gathered(collector.map(partial(try_chunk, policy), chunks), tell, seconds, FEWEST_TASKS)
    return Played(tuple(contexts[: len(tasks)]), tuple(task.attempts for task in tasks))


def examples(bundle: Bundle, played: Played, novelty: Novelty | None) -> Examples:
    """Describe every situation of the tasks that were played."""
    found = list(played.situations())
    inference = Inference.load(bundle)
    contexts = [context for _, context, _ in found]
    beliefs = [belief for piece in chunked(contexts, 512) for belief in inference.infer_belief(piece)]
    scores = [float(novelty.scores(c.demos).max()) if novelty and c.demos else None for c in played.contexts]
    quantiles = [novelty.quantile(score) if novelty and score is not None else None for score in scores]
    pairs = zip(beliefs, found, strict=True)
    return Examples(
        seen=np.stack([describe(belief, context, scores[task], bundle.asks) for belief, (task, context, _) in pairs]),
        outcomes=np.stack([outcome for _, _, outcome in found]),
        task=np.array([task for task, _, _ in found]),
        group=np.array([kind(context, quantiles[task]) for task, context, _ in found]),
    )


def experiment_of(bundle: Bundle) -> Experiment:
    """Return the experiment that the bundle was trained by. Raises InvalidConfig."""
    try:
        return Experiment.model_validate(bundle.provenance["experiment"])
    except (KeyError, ValidationError) as error:
        raise InvalidConfig(f"bundle {bundle.name}: its provenance names no experiment of this version") from error


def _novelty(bundle: Bundle, records: Sequence[TaskRecord], seed: int, steps: int) -> dict[str, Array]:
    """Weights of the novelty of demos; none where an observation is too large to be looked at as it is."""
    if bundle.spec.observation_size > LARGEST_OBSERVATION:
        return {}
    return fit_novelty([demo for record in records for demo in record.demos], bundle.spec, seed, steps)


def _shown(record: TaskRecord, rng: np.random.Generator) -> Context:
    """Mostly one demo; now and then none, two, or one whose actions nobody recorded."""
    kind = rng.random()
    demos = () if kind < NO_DEMO else record.demos[: 2 if kind < NO_DEMO + TWO_DEMOS else 1]
    return Context(tuple(demo.without_actions() for demo in demos) if rng.random() < NO_ACTIONS else demos)


def draw_asks(bundle: Bundle, plan: Plan, records: Sequence[TaskRecord], rng: np.random.Generator) -> list[Ask]:
    """What is asked for in each task: in half of them something that the model was trained for."""
    if not bundle.asks:
        return [NOTHING] * len(records)
    family = find_family(plan.family)
    goals = goal_reader(family, bundle.spec)
    if not any(kind.of_moment for kind in kinds_of([offer.kind for offer in bundle.asks])):
        solved = [record.demos[0] for record in records]
    else:  # a goal is one of the layout in which the first attempt begins
        indices = [TaskId.parse(record.task).index for record in records]
        pieces = chunked(indices, plan.data.chunk_tasks)
        with one_thread():
            runs = [expert_episodes(family, p, episode_seeds(p, plan.stream, 0), "trial") for p in pieces]
        solved = [episode for run in runs for episode in run.episodes]
    return [
        _asked(record, episode, bundle.asks, goals, rng) if rng.random() < ASKED else NOTHING
        for record, episode in zip(records, solved, strict=True)
    ]


def _asked(
    record: TaskRecord, solved: Episode, offers: Sequence[AskOffer], goals: GoalReader | None, rng: np.random.Generator
) -> Ask:
    """At least one kind: what the expert who `solved` the task did, or an outcome that was asked for in another task.

    A goal is always the one that solves the task, as words are always about it: who asks means the task.
    """
    wanted = [offer for offer in offers if rng.random() < PART] or [offers[int(rng.integers(len(offers)))]]
    achieved = None if goals is None else goals(solved.observations)
    known = Hindsight(
        solved,
        len(solved),
        quality=EXPERT,
        shown=EXPERT,
        alike=(solved,),
        achieved=achieved,
        sentences=record.sentences,
    )
    values = []
    for offer in wanted:
        [kind] = kinds_of([offer.kind])
        value = kind.in_hindsight(known, rng)
        elsewhere = kind.of_outcome and not kind.of_moment and offer.examples
        if elsewhere and (value is None or rng.random() < PART):
            value = kind.from_json(offer.examples[int(rng.integers(len(offer.examples)))])
        values += [] if value is None else [value]
    return Ask(tuple(values))


def strange(context: Context, other: Context, spec: Spec, rng: np.random.Generator) -> Context:
    """The context with demos that make no sense: backwards, ended by another task's demo, or with other axes."""
    if not context.demos:
        return context
    seen = context.demos[0].observations
    rest = (other.demos or context.demos)[0].observations
    wrong = (
        seen[::-1],
        np.concatenate([seen[: len(seen) // 2 + 1], rest[len(rest) // 2 + 1 :]]),
        _with_other_axes(seen, spec, rng),
    )
    return Context((Episode.of(wrong[rng.integers(len(wrong))]),))


def _with_other_axes(observations: Array, spec: Spec, rng: np.random.Generator) -> Array:
    """The numbers of each part in another order; a category stays one of its own."""
    moved = split(observations)
    for part in spec.parts:
        if part.kind != "category":
            numbers = moved[part.name].reshape(len(observations), part.size)
            moved[part.name] = numbers[:, rng.permutation(part.size)].reshape(-1, *part.shape)
    return joined(moved) if spec.composite else moved[""]
