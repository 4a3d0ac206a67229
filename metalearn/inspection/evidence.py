"""What a demonstration leaves open and a trial tells, from replays: no model is trained.

All tasks are reset with one seed (a layout), so their episodes differ in nothing but the task. What the expert did
in one task is done again in another: in one drawn among those whose demonstrations look the same (or most alike), and
among those whose demonstrations and expert's trials do. How often that succeeds is about what one can reach who knows
a demonstration, or a trial besides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from metalearn.data.episode import Array, Episode
from metalearn.data.parts import observation_vectors
from metalearn.evaluation.statistics import paired_bootstrap
from metalearn.inspection.play import act_alike, play_expert, replay
from metalearn.inspection.portraits import compressed, distances, portraits
from metalearn.inspection.shares import Share
from metalearn.tasks.family import Family

ALIKE = 1e-4
"""Squared distance between portraits, in that of the average pair, below which nobody tells them apart."""
BLOCK = 8
"""Consecutive tasks that are taken together: tasks with the same demonstration often are neighbours."""
FIRST_STEPS = 5
NEAREST = 2
STREAM = 0x1757EC7
KNOWLEDGE = ("nothing", "seen", "demo", "steps", "trial")


@dataclass(frozen=True)
class Gain:
    """A difference of two shares over the same tasks, with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evidence:
    """Success of the expert's actions of other tasks, by what is known of the task.

    Attributes:
        n_tasks: tasks compared, in each of the layouts.
        n_layouts: seeds.
        comparable: share of the tasks that start exactly like another one in the same layout.
        repeats: success of the expert's actions in their own task again; 1 where episodes follow from seed and actions.
        nothing: success of the actions of any task that starts alike; None where hardly any do.
        seen: of the task that is most alike in the numbers that identify it; None without such numbers.
        demo: of a task with the same demonstration, or the most similar one.
        steps: of a task with the same demonstration that also reacts alike to a few random actions; None where tasks
            with the same demonstration do so, or none have the same.
        trial: of a task with the same demonstration and expert's trial, or the most similar ones.
        watching, acting, trying: what a demonstration adds to nothing, and the first steps of an attempt and a trial
            to the demonstration.
        same_demo: mean number of tasks with exactly the same demonstration, the task itself included.
        kinds: how many different tasks there are among `n_tasks`.
        reacting: share of the pairs of tasks with the same demonstration (without such pairs: of all) whose
            observations differ after the same few random actions.
        rewarding: share of them whose rewards do.
    """

    n_tasks: int
    n_layouts: int
    comparable: float
    repeats: Share | None
    nothing: Share | None
    seen: Share | None
    demo: Share | None
    steps: Share | None
    trial: Share | None
    watching: Gain | None
    acting: Gain | None
    trying: Gain | None
    same_demo: float
    kinds: int
    reacting: float
    rewarding: float


@dataclass(frozen=True)
class _Layout:
    """Expert episodes of all tasks: a demonstration, a trial as context, and a trial to be done again."""

    number: int
    demos: list[Episode]
    trials: list[Episode]
    targets: list[Episode]
    target_seed: int


@dataclass(frozen=True)
class _Likeness:
    """How alike tasks are: squared distances `[n, n]` of demonstrations, of trials and of what leaks, and whether
    they start alike, and look and are rewarded alike after the same few random actions.
    """

    demo: Float[np.ndarray, "n n"]
    trial: Float[np.ndarray, "n n"]
    leak: Float[np.ndarray, "n n"] | None
    start: Bool[np.ndarray, "n n"]
    look: Bool[np.ndarray, "n n"]
    reward: Bool[np.ndarray, "n n"]


def find_evidence(
    family: Family, n_tasks: int, n_layouts: int, leaks: Bool[np.ndarray, " o"], *, picks: int = 4, seed: int = 0
) -> Evidence:
    """Compare `n_tasks` tasks in each of `n_layouts` layouts.

    Args:
        family: has an expert.
        n_tasks: per layout.
        n_layouts: seeds.
        leaks: which numbers of an observation identify the task from the start: they are overlooked when starts
            are compared.
        picks: tasks that are replayed for each task and state of knowledge.
        seed: of everything that is drawn.
    """
    rng = np.random.default_rng((STREAM, seed))
    rows: dict[str, list[float]] = {}
    of_layouts = []
    for number in range(n_layouts):
        indices = blocks(family, n_tasks, rng)
        layout = _play(family, indices, number, seed)
        like = _likeness(family, indices, layout, leaks, rng)
        of_layouts.append(_described(layout, like))
        for name, values in _replays(family, indices, layout, like, picks, rng).items():
            rows.setdefault(name, []).extend(values)
    comparable, same_demo, kinds, reacting, rewarding = np.array(of_layouts).T
    known = {name: Share.of(rows[name]) if rows.get(name) else None for name in ("repeats", *KNOWLEDGE)}
    return Evidence(
        n_tasks=len(indices),
        n_layouts=n_layouts,
        comparable=float(comparable.mean()),
        **known,
        watching=_gain(rows, "demo", "nothing"),
        acting=_gain(rows, "steps", "demo"),
        trying=_gain(rows, "trial", "demo"),
        same_demo=float(same_demo.mean()),
        kinds=int(kinds.max()),
        reacting=float(reacting.mean()),
        rewarding=float(rewarding.mean()),
    )


def blocks(family: Family, n: int, rng: np.random.Generator, split: str = "train") -> list[int]:
    """`n` tasks of a split (all of it, if it has fewer) in blocks of neighbours, drawn without repetition."""
    indices = family.splits[split]
    n_blocks = -(-len(indices) // BLOCK)
    starts = rng.choice(n_blocks, min(n_blocks, -(-n // BLOCK)), replace=False) * BLOCK
    return [indices[int(s) + k] for s in starts for k in range(BLOCK) if s + k < len(indices)][:n]


def _play(family: Family, indices: Sequence[int], number: int, seed: int) -> _Layout:
    seeds = [int(s) for s in np.random.SeedSequence((STREAM, seed, number)).generate_state(3)]
    n = len(indices)
    demos = play_expert(family, indices, [seeds[0]] * n, "demo")
    trials, targets = (play_expert(family, indices, [one] * n, "trial") for one in seeds[1:])
    return _Layout(number, demos, trials, targets, seeds[2])


def _likeness(
    family: Family, indices: Sequence[int], layout: _Layout, leaks: Bool[np.ndarray, " o"], rng: np.random.Generator
) -> _Likeness:
    demo, trial = (distances(portraits(e, family.spec)) for e in (layout.demos, layout.trials))
    first = np.concatenate([observation_vectors(e.observations[:1]) for e in layout.targets])
    usual = compressed(np.concatenate([observation_vectors(e.observations) for e in layout.targets])).std(0)
    leak = distances(first[:, leaks] / np.maximum(first[:, leaks].std(0), 1e-12)) if leaks.any() else None
    space = family.spec.action_space
    space.seed(int(rng.integers(2**31)))
    actions = np.stack([np.asarray(space.sample()) for _ in range(FIRST_STEPS)])
    seen, rewards = act_alike(family, indices, actions, layout.target_seed)
    return _Likeness(
        demo=demo,
        trial=trial,
        leak=leak,
        start=_alike(compressed(np.where(leaks, 0, first)), usual),
        look=_alike(compressed(np.where(leaks, 0, observation_vectors(seen))), usual),
        reward=_alike(rewards[:, None], np.ones(1)),
    )


def _alike(rows: Float[np.ndarray, "n c"], spread: Float[np.ndarray, " c"]) -> Bool[np.ndarray, "n n"]:
    """Which rows are the same, but for 1e-4 of what their numbers usually vary by."""
    same = np.ones((len(rows), len(rows)), bool)
    for column, usual in zip(rows.T, spread, strict=True):
        same &= np.abs(column[:, None] - column) <= ALIKE * usual + 1e-9
    return same


def _described(layout: _Layout, like: _Likeness) -> tuple[float, float, int, float, float]:
    """Share of tasks that start like another; tasks with the same demonstration; kinds; reacting; rewarding."""
    kinds = len({(d.digest, t.digest) for d, t in zip(layout.demos, layout.trials, strict=True)})
    same = like.start & (like.demo < ALIKE)
    others = ~np.eye(len(same), dtype=bool)
    pairs = same & others if (same & others).any() else like.start & others
    apart = [float((~one)[pairs].mean()) if pairs.any() else 0.0 for one in (like.look, like.reward)]
    return float((like.start.sum(1) > 1).mean()), float(same.sum(1).mean()), kinds, apart[0], apart[1]


def _replays(
    family: Family, indices: Sequence[int], layout: _Layout, like: _Likeness, picks: int, rng: np.random.Generator
) -> dict[str, list[float]]:
    """Per task that the expert solved and that starts like another: the success of others' actions in it."""
    rows = [i for i, e in enumerate(layout.targets) if e.success and like.start[i].sum() > 1]
    known: dict[int, dict[str, tuple[Int[np.ndarray, " k"], float]]] = {i: _donors(i, like, picks, rng) for i in rows}
    wanted = {(i, int(j)) for i, by in known.items() for donors, _ in by.values() for j in donors}
    own = {(i, i) for i in rows[:: max(1, len(rows) // (8 * picks))]}
    pairs = sorted(wanted | own)
    plans = [layout.targets[j].actions for _, j in pairs]
    assert all(plan is not None for plan in plans)
    if not pairs:
        return {}
    solved = dict(zip(pairs, replay(family, [indices[i] for i, _ in pairs], plans, layout.target_seed), strict=True))  # type: ignore[arg-type]
    found: dict[str, list[float]] = {"repeats": [float(solved[pair]) for pair in sorted(own)]}
    for i, by in known.items():
        for name, (donors, itself) in by.items():
            others = float(np.mean([solved[i, int(j)] for j in donors])) if len(donors) else 0.0
            found.setdefault(name, []).append(itself + (1 - itself) * others)
    return found


def _donors(
    i: int, like: _Likeness, picks: int, rng: np.random.Generator
) -> dict[str, tuple[Int[np.ndarray, " k"], float]]:
    """By what is known: tasks whose actions are done in task i, and the probability that it is the task itself.

    Tasks with the same demonstration are equally likely, the task itself among them. Where no other has the same one,
    its neighbours stand for what a demonstration tells.
    """
    start = np.flatnonzero(like.start[i])
    others = start[start != i]

    def drawn(among: Array) -> tuple[Array, float]:
        rest = among[among != i]
        return rng.choice(rest, min(picks, len(rest)), replace=False), 1 / len(among)

    def near(squares: Array) -> tuple[Array, float]:
        return others[np.argsort(squares[others], kind="stable")[: min(NEAREST, picks)]], 0.0

    by = {}
    if len(start) > 0.1 * len(like.start):
        by["nothing"] = drawn(start)
    if like.leak is not None:
        by["seen"] = near(like.leak[i])
    same = start[like.demo[i, start] < ALIKE]
    if len(same) > 1:
        by["demo"] = drawn(same)
        by["steps"] = drawn(same[like.look[i, same] & like.reward[i, same]])
        by["trial"] = drawn(same[like.trial[i, same] < ALIKE])
    else:
        by["demo"] = by["steps"] = near(like.demo[i])
        by["trial"] = near(like.demo[i] + like.trial[i])
    return by


def _gain(rows: dict[str, list[float]], after: str, before: str) -> Gain | None:
    if not rows.get(after) or len(rows[after]) != len(rows.get(before, [])):
        return None
    rng = np.random.default_rng(STREAM)
    value, (low, high) = paired_bootstrap(np.array(rows[after]), np.array(rows[before]), rng)
    return Gain(value, low, high)
