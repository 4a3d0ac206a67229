"""What is decided about a training wherever nobody has set it, from the task's spaces and from its demonstrations.

Every decision comes with its reason, a sentence with the number that led to it. Pure; knows no environment.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Float

from metalearn.config import Experiment, ModelConfig
from metalearn.data.asks import kinds_of
from metalearn.data.dataset import FEWEST_TASKS, Dataset
from metalearn.data.episode import Array
from metalearn.data.parts import observation_vectors, split
from metalearn.data.spaces import beside_pictures
from metalearn.data.spec import Spec
from metalearn.data.units import Units, deviation
from metalearn.model.observations.symbols import MOST_SYMBOLS, n_rows
from metalearn.model.policy import LOG_SIGMA_RANGE

LONG = 64  # steps from which on an episode is read at more frames, and their means
FRAMES, LONG_FRAMES = 8, 16  # at most, of short episodes and of long ones,
PICTURES, BESIDE_ENTITIES = 4, 3  # of any with large pictures, and of short ones that list entities
LATENT = 128  # numbers of a context's embedding
ALL_PLAY = 4  # episodes of random actions per task where there is no expert
MOST_SHOWN, MOST_PICTURED = 49_152, 16_384  # tasks that are demonstrated, and those of large pictures
TASKS_A_MINUTE = 4096  # of a training, at most: collecting in more leaves too few steps to learn from them
MANY_STEPS, MANY_PICTURES = 16, 6  # of an episode that are imitated in an update: of longer ones a random choice
MOST_ROWS = 100_000  # of a table of symbols: combinations of what can be in the channels of a cell
AVERAGED = 0.1  # share of the steps so far, over which weights are averaged
MOST_TASKS = 512  # that dynamics are looked for in, or demonstrators compared
UNSTEADY = (
    0.15  # nats, per component of an action, by which an own deviation has to foretell better than an average one
)
FEW_CHANGES = 4  # of an action: an average deviation counts for as many, and shorter episodes say too little
TELLING = 0.1  # share of the changes of an observation that a task's own Jacobian has to explain beyond an average one
EXPLAINED = 0.9  # share of the differences between tasks that the directions kept explain
RIDGE = 1e-6
MOST_COMPONENTS = 64  # of an observation, for a Jacobian of each task


@dataclass(frozen=True)
class Decision:
    """A field, `section.name`, the value that was chosen for it, and why, in one sentence."""

    field: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Decisions:
    """An experiment of which every field is filled in, and what was decided for it."""

    experiment: Experiment
    made: tuple[Decision, ...]


def decide_data(
    experiment: Experiment, spec: Spec, n_train: int, *, side_by_side: bool, expert: bool = True
) -> Decisions:
    """What has to be known before anything is demonstrated.

    Args:
        experiment: of which fields that somebody set are kept.
        spec: of its tasks.
        n_train: how many training tasks there are.
        side_by_side: whether the family steps many tasks at once.
        expert: whether it has an expert.
    """
    found = [_tasks(experiment, spec, n_train)]
    if not expert:
        said = "there is no expert: what random actions lead to is learnt"
        found += [
            Decision(f"data.{name}", 0, said) for name in ("demos_per_task", "experts_per_task", "graded_per_task")
        ]
        found.append(Decision("data.play_per_task", ALL_PLAY, said))
    if spec.discrete:
        found.append(Decision("data.expert_noise", 0.0, "actions are discrete"))
    else:
        reason = "actions are continuous: an expert that is pushed off its way shows how to come back"
        found.append(Decision("data.expert_noise", 0.1, reason))
    for name, asked, of in (
        (
            "graded_per_task",
            [one.name for one in kinds_of(experiment.model.asks) if one.of_outcome],
            "how well it went",
        ),
        ("play_per_task", [one.name for one in kinds_of(experiment.model.asks) if one.of_moment], "where it led"),
    ):
        said = f"asks are about {of}: {', '.join(asked)}" if asked else f"no ask is about {of}"
        found.append(Decision(f"data.{name}", 2 if asked else 0, said))
    chunk, how = (512, "together") if side_by_side else (64, "one after the other")
    found.append(Decision("data.chunk_tasks", chunk, f"tasks are stepped {how}"))
    return _decided(experiment, found)


def decide(experiment: Experiment, dataset: Dataset, *, own_trials: bool = True) -> Decisions:
    """What demonstrations say about how to learn from them.

    Args:
        experiment: of which fields that somebody set are kept.
        dataset: what was demonstrated, or recorded.
        own_trials: whether the policy can try and be corrected by an expert.
    """
    lengths = [len(episode) for record in dataset.tasks for episode in (*record.demos, *record.experts)]
    expert = bool(lengths)
    lengths = lengths or [len(episode) for record in dataset.tasks for episode in record.episodes()]
    usual = round(float(np.median(lengths)))
    said = f"an episode has {usual} steps (median)"
    found = [
        _frames(dataset.spec, usual, said),
        Decision("model.frame_means", usual > LONG, said),
        Decision("model.latent_dim", LATENT, "what a trial refutes is told besides what a demonstration shows"),
        _hypotheses(expert=expert),
        _imitated(dataset.spec),
        Decision("training.average_share", AVERAGED, "at a constant rate the weights of one step are noise"),
        _trials(own_trials=own_trials, expert=expert),
        _symbols(dataset),
        _memory(experiment.model, own_trials=own_trials, expert=expert),
        _dynamics(dataset),
        _spread(dataset),
    ]
    return _decided(experiment, found)


def _tasks(experiment: Experiment, spec: Spec, n_train: int) -> Decision:
    training, said = experiment.training, "few are learnt by heart, and what they take is bounded by the minutes"
    most = MOST_PICTURED if spec.bulky else MOST_SHOWN
    if training.minutes is not None:
        most = min(most, round(training.minutes * TASKS_A_MINUTE))
    if training.steps is not None:
        most = min(most, training.steps * training.batch_tasks)
    return Decision("data.n_tasks", max(FEWEST_TASKS, min(most, n_train)), said)


def _frames(spec: Spec, usual: int, said: str) -> Decision:
    name = "model.n_frames"
    if usual <= LONG and any(part.kind == "set" for part in spec.parts):
        why = "entities are remembered by their look, and many frames of what else there is are learnt by heart"
        return Decision(name, max(2, min(usual + 1, BESIDE_ENTITIES)), f"{said}, {why}")
    if spec.bulky:
        return Decision(name, max(2, min(usual + 1, PICTURES)), f"{said}, and large pictures cost most of a step")
    return Decision(name, LONG_FRAMES if usual > LONG else max(2, min(usual + 1, FRAMES)), said)


def _imitated(spec: Spec) -> Decision:
    name, said = "training.steps_per_episode", "more of the same episode cost time and say little more"
    return Decision(name, MANY_PICTURES if spec.bulky else MANY_STEPS, said)


def _hypotheses(*, expert: bool) -> Decision:
    if expert:
        return Decision("model.n_hypotheses", 8, "more than are needed cost little, fewer cost success")
    return Decision("model.n_hypotheses", 1, "there is no expert whose intention could be guessed")


def _trials(*, own_trials: bool, expert: bool) -> Decision:
    name = "training.trials_per_task"
    if not own_trials:
        return Decision(name, 0, "nobody can try recorded tasks")
    if not expert:
        return Decision(
            name, 0, "there is no expert who corrects trials, and to imitate oneself uncorrected makes mistakes last"
        )
    return Decision(name, 3, "attempts after up to so many trials are learnt")


def _symbols(dataset: Dataset) -> Decision:
    """Which pictures are maps of symbols: those in which there are only a few of the smallest numbers."""
    pictures = dataset.spec.pictures
    episodes = [e for record in dataset.tasks for e in (*record.demos, *record.experts, *record.trials)]
    episodes = episodes or [e for record in dataset.tasks for e in record.episodes()]
    if not pictures or not episodes:
        return Decision("model.symbols", (), "there are no pictures")
    largest = [max(int(split(e.observations)[part.name].max()) for e in episodes) for part in pictures]
    few = tuple(most + 1 if most < MOST_SYMBOLS else 0 for most in largest)
    read = tuple(n if n_rows(n, part.shape[-1]) <= MOST_ROWS else 0 for n, part in zip(few, pictures, strict=True))
    said = ", ".join(f"{part.field} holds numbers up to {most}" for part, most in zip(pictures, largest, strict=True))
    said = f"{said}; below {MOST_SYMBOLS} they are symbols, not brightnesses"
    if read != few:
        said += ", unless cells have too many channels to be looked up"
    return Decision("model.symbols", read, said)


def _memory(model: ModelConfig, *, own_trials: bool, expert: bool) -> Decision:
    name = "model.memory"
    if "n_hypotheses" in model.model_fields_set and model.n_hypotheses == 1:
        return Decision(name, 0, "there is one hypothesis, and what an attempt tells is which it is")
    if not expert:
        return Decision(name, 0, "only what an expert corrects teaches to remember")
    if not own_trials:
        return Decision(name, 0, "what an expert did tells the task, so that only own attempts teach to remember")
    return Decision(name, 32, "own attempts, corrected by the expert, teach what an attempt tells before it ends")


def _dynamics(dataset: Dataset) -> Decision:
    """Whether tasks differ in what an action does: does a task's own Jacobian predict its other episodes better?"""
    name, spec = "model.dynamics_rank", dataset.spec
    if spec.discrete:
        return Decision(name, 0, "actions are discrete")
    if any(part.kind != "vector" for part in spec.parts) or spec.observation_size > MOST_COMPONENTS:
        return Decision(name, 0, "observations are not a short vector")
    pairs = [record.experts for record in dataset.tasks if len(record.experts) > 1][:MOST_TASKS]
    steps = [[_effects(e, Units.of_bounds(spec)) for e in experts[:2] if e.actions is not None] for experts in pairs]
    steps = [both for both in steps if len(both) == 2]
    if len(steps) < 16:
        return Decision(name, 0, "too few tasks with two episodes of an expert")
    unit = deviation(np.concatenate([changes for both in steps for changes, _ in both]))
    unit = np.where(unit > 0, unit, np.inf)
    scaled = [[(changes / unit, actions) for changes, actions in both] for both in steps]
    sums = [_normal_equations(*both[0]) for both in scaled]
    cross, power = np.sum([c for c, _ in sums], 0), np.sum([p for _, p in sums], 0)
    shared = _solve(cross, power)
    own = [shared + _solve(c - shared @ p, p) for c, p in sums]
    whole = sum(_error(both[1], 0 * shared) for both in scaled)
    left = sum(_error(both[1], shared) for both in scaled) / whole if whole > 0 else 0.0
    left_by_own = sum(_error(both[1], one) for both, one in zip(scaled, own, strict=True)) / max(whole, 1e-12)
    said = (
        f"of how other episodes of a task change, an average Jacobian leaves {left:.0%} unexplained "
        f"and the task's own {left_by_own:.0%}"
    )
    if left - left_by_own < TELLING:
        return Decision(name, 0, said)
    # A task whose actions all pointed one way says nothing about the other directions.
    tried = np.array([np.linalg.eigvalsh(p)[0] for _, p in sums])
    known = [one for one, least in zip(own, tried, strict=True) if least >= np.median(tried)]
    differences = np.stack([(jacobian - shared).ravel() for jacobian in known])
    sizes = np.linalg.svd(differences - differences.mean(0), compute_uv=False) ** 2
    rank = int(np.searchsorted(np.cumsum(sizes) / sizes.sum(), EXPLAINED)) + 1
    return Decision(name, min(rank, 4), f"{said}, in {rank} directions")


def _spread(dataset: Dataset) -> Decision:
    """Whether demonstrators differ in how unsteady they are: does one's own deviation foretell his other episode?

    The deviation is that of successive differences (see `metalearn.recognition.deviation`) of the residuals of what is
    imitated to a linear policy of all demonstrators.
    """
    name = "model.context_sigma"
    if dataset.spec.discrete:
        return Decision(name, False, "actions are discrete")
    pairs = list(islice(_pairs_of_one(dataset), MOST_TASKS))
    if len(pairs) < 16:
        return Decision(name, False, "too few tasks with two episodes of an expert")
    unit = deviation(np.concatenate([done for both in pairs for _, done in both]))
    unit = np.where(unit > 0, unit, 1.0)
    scaled = [[(seen, done / unit) for seen, done in both] for both in pairs]
    sums = [_normal_equations(done, seen) for both in scaled for seen, done in both]
    policy = _solve(np.sum([c for c, _ in sums], 0), np.sum([p for _, p in sums], 0))
    missed = [[np.diff(done - seen @ policy.T, axis=0) for seen, done in both] for both in scaled]
    finest = math.exp(2 * LOG_SIGMA_RANGE[0])
    first, second = np.swapaxes([[0.5 * np.square(one).mean(0) for one in both] for both in missed], 0, 1) + finest
    average, n_seen = first.mean(0), np.array([len(one) for one, _ in missed])[:, None]
    own = (n_seen * first + FEW_CHANGES * average) / (n_seen + FEW_CHANGES)
    gain = float(0.5 * (np.log(average / own) + second / average - second / own).mean())
    said = f"a demonstrator's own deviation foretells another episode {gain:.2f} nats per number better than an average"
    return Decision(name, gain > UNSTEADY, said)


def _pairs_of_one(dataset: Dataset) -> Iterator[list[tuple[Array, Array]]]:
    """Two longer episodes of the expert in each task: numbers seen and a constant `[t, o + 1]`, actions `[t, a]`."""
    known, units = beside_pictures(dataset.spec.parts), Units.of_bounds(dataset.spec)
    for record in dataset.tasks:
        both = islice(record.targets(), 2) if len(record.experts) > 1 else ()
        found = []
        for observations, actions in both:
            seen = np.pad(observation_vectors(observations)[:, known], ((0, 0), (0, 1)), constant_values=1.0)
            found.append((seen.astype(np.float64), units.encode_actions(actions).astype(np.float64)))
        if len(found) == 2 and min(len(actions) for _, actions in found) > FEW_CHANGES:
            yield found


def _effects(episode: Any, units: Units) -> tuple[Array, Array]:
    """The changes of the observation `[t, o]` and the actions `[t, a]`, a constant beside them."""
    changes = np.diff(observation_vectors(episode.observations).astype(np.float64), axis=0)
    actions = units.encode_actions(episode.actions).astype(np.float64)
    return changes, actions


def _normal_equations(changes: Float[np.ndarray, "t o"], actions: Float[np.ndarray, "t a"]) -> tuple[Array, Array]:
    return changes.T @ actions, actions.T @ actions


def _solve(cross: Float[np.ndarray, "o a"], power: Float[np.ndarray, "a a"]) -> Float[np.ndarray, "o a"]:
    ridge = RIDGE * max(float(np.trace(power)), 1e-9) * np.eye(len(power))
    return np.linalg.solve(power + ridge, cross.T).T


def _error(both: tuple[Array, Array], jacobian: Float[np.ndarray, "o a"]) -> float:
    changes, actions = both
    return float(np.square(changes - actions @ jacobian.T).sum())


def _decided(experiment: Experiment, found: Sequence[Decision]) -> Decisions:
    """Fill in what nobody set."""
    made = []
    for one in found:
        section, _, name = one.field.partition(".")
        before = getattr(experiment, section)
        if name in before.model_fields_set:
            continue
        experiment = experiment.model_copy(update={section: before.model_copy(update={name: one.value})})
        made.append(one)
    return Decisions(experiment, tuple(made))
