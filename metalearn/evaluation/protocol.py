"""The evaluation protocol: demonstrations, then attempts, each conditioned on the ones before.

Owns the seeds, so that every method gets the same tasks, demonstrations and layouts. Computes no statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Int, Shaped

from metalearn.adapter import Actor, Adapter
from metalearn.data.context import Context
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.manifest import Manifest
from metalearn.tasks.family import AimedFamily, Family, TaskVectorEnv, TypedFamily, VectorFamily, make_vec
from metalearn.tasks.rollout import RandomActor, demonstrate, episode_seeds, rollout

Player = Callable[[TaskVectorEnv, Sequence[Context], np.random.Generator], Actor]
"""Whatever can play an episode in each row of an environment: adapters, and the references that need none."""

Progress = Callable[[str, int, int], None]
"""Called with what is being run, episodes done and episodes in all."""

EVALUATION = 1 << 40  # streams from here on are layouts that training never draws
DEMOS, ATTEMPTS, SIBLINGS, CONTROLS = range(4)
REPETITION = 1000  # episode numbers of one repetition of a task


def adapted(adapter: Adapter) -> Player:
    """An adapter, asked for an actor for its contexts."""
    return lambda _, contexts, rng: adapter.adapt(contexts, rng)


def random_player(env: TaskVectorEnv, _: Sequence[Context], rng: np.random.Generator) -> Actor:
    """Uniform actions."""
    return RandomActor(env, int(rng.integers(2**31)))


def expert_player(env: TaskVectorEnv, _: Sequence[Context], __: np.random.Generator) -> Actor:
    """The expert itself, who knows the task."""
    return _ExpertActor(env)


def fixed_aims_player(n_aims: int, env: TaskVectorEnv, contexts: Sequence[Context], _: np.random.Generator) -> Actor:
    """The expert, who does not know the task, sent to one fixed place after the other: win-stay, lose-shift."""
    failures = np.array([sum(not trial.success for trial in context.trials) for context in contexts])
    return _AimedActor(env, failures % n_aims)


def references(family: Family, index: int) -> dict[str, Player]:
    """What methods are compared with: chance, the expert if task `index` has one, and the expert without sight."""
    players: dict[str, Player] = {"random": random_player}
    if has_expert(family, index):
        players["expert"] = expert_player
    if isinstance(family, AimedFamily):
        players["fixed-aims"] = partial(fixed_aims_player, family.n_aims)
    return players


class _AimedActor:
    def __init__(self, env: TaskVectorEnv, aims: Int[np.ndarray, " b"]) -> None:
        self._env, self._aims = env, aims

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        return self._env.aimed_actions(self._aims)


class _ExpertActor:
    def __init__(self, env: TaskVectorEnv) -> None:
        self._env = env

    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        actions = self._env.expert_actions()
        assert actions is not None, "asked to play the expert of a family without one"
        return actions


def has_expert(family: Family, index: int) -> bool:
    """Return whether the family's environments have an expert."""
    env = make_vec(family, [index])
    try:
        env.reset(seed=[0])
        return env.expert_actions() is not None
    finally:
        env.close()


@dataclass(frozen=True)
class Protocol:
    """The rows of an evaluation: b tasks times k repetitions, ordered by repetition, then task.

    Attributes:
        family: what the tasks are of.
        manifest: what is allowed and how often.
        indices: the b tasks.
        seed: decides layouts and what methods draw.
        chunk: rows that run side by side; part of what a seed means, as methods draw once per chunk.
    """

    family: Family
    manifest: Manifest
    indices: tuple[int, ...]
    seed: int
    chunk: int

    @classmethod
    def of(
        cls, family: Family, manifest: Manifest, *, seed: int | None = None, n_tasks: int | None = None
    ) -> "Protocol":
        """The protocol of a manifest, perhaps with another seed or number of tasks.

        Raises:
            InvalidConfig: when the family is not the manifest's or has too few tasks.
        """
        seed = manifest.seed if seed is None else seed
        if seed < 0:
            raise InvalidConfig(f"seed: expected 0 or more, got {seed}")
        indices = manifest.check(family).tasks(family, seed=seed, n_tasks=n_tasks)
        # A family that steps its tasks one by one holds a simulator per row.
        chunk = 500 if isinstance(family, VectorFamily) else 50
        return cls(family, manifest, tuple(indices), seed, chunk)

    @property
    def n_rows(self) -> int:
        """b * k, how many times the protocol is gone through."""
        return len(self.indices) * self.manifest.episodes_per_task

    @cached_property
    def types(self) -> tuple[str, ...] | None:
        """The type of each of the b tasks; None unless they are of several."""
        if not isinstance(self.family, TypedFamily):
            return None
        types = tuple(self.family.task_type(index) for index in self.indices)
        return types if len(set(types)) > 1 else None

    @cached_property
    def clusters(self) -> Int[np.ndarray, " b"] | None:
        """Number the tasks by what they are alike in, their type; None where every task stands for itself."""
        return None if self.types is None else np.unique(self.types, return_inverse=True)[1]

    def rows(self) -> list[tuple[int, int]]:
        """Task index and repetition of every row."""
        return [(index, k) for k in range(self.manifest.episodes_per_task) for index in self.indices]

    def by_task(self, per_row: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, "b k"]:
        """Reshape values per row to one line per task."""
        return per_row.reshape(self.manifest.episodes_per_task, len(self.indices)).T

    def seeds(self, rows: Sequence[tuple[int, int]], kind: int, number: int) -> list[int]:
        """Environment seeds of the `number`-th demo or attempt of some rows."""
        stream = EVALUATION + 4 * self.seed + kind
        return [episode_seeds([index], stream, k * REPETITION + number)[0] for index, k in rows]

    def rng(self, number: int, start: int, purpose: int = ATTEMPTS) -> np.random.Generator:
        """The random generator of a method in one chunk of one attempt; the same for every method."""
        return np.random.default_rng((EVALUATION + self.seed, purpose, number, start))

    def demonstrations(self, progress: Progress | None = None) -> list[Context]:
        """Return for each row a context of its demonstrations, without their actions if the budget says so.

        Raises:
            InvalidConfig: the family has no expert to demonstrate.
        """
        rows, n_demos = self.rows(), self.manifest.budget.demos
        contexts = [Context()] * len(rows)
        for number in range(n_demos):
            for start in range(0, len(rows), self.chunk):
                part = slice(start, start + self.chunk)
                indices = [index for index, _ in rows[part]]
                shown = demonstrate(self.family, indices, self.seeds(rows[part], DEMOS, number), "demo")
                demos = shown.episodes
                if not self.manifest.budget.demo_actions:
                    demos = [demo.without_actions() for demo in demos]
                shown_to = zip(contexts[part], demos, strict=True)
                contexts[part] = [context.with_demos(demo) for context, demo in shown_to]
                if progress:
                    progress("demonstrations", number * len(rows) + start + len(indices), n_demos * len(rows))
        return contexts

    def attempt(
        self, player: Player, contexts: Sequence[Context], number: int, progress: Callable[[int], None] | None = None
    ) -> list[Episode]:
        """Attempt `number` of every row, given its context."""
        return self._play(player, contexts, self.rows(), ATTEMPTS, number, progress)

    def attempt_elsewhere(self, player: Player, contexts: Sequence[Context], indices: Sequence[int]) -> list[Episode]:
        """A first attempt given each row's context, but at other tasks: row i acts in task `indices[i]`."""
        rows = [(index, k) for index, (_, k) in zip(indices, self.rows(), strict=True)]
        return self._play(player, contexts, rows, SIBLINGS, 0)

    def attempts(
        self, player: Player, contexts: Sequence[Context], progress: Callable[[int], None] | None = None
    ) -> list[list[Episode]]:
        """All attempts of the budget, `[t][row]`: each is given the ones before as trials."""
        played: list[list[Episode]] = []
        for number in range(self.manifest.budget.trials + 1):
            before = number * self.n_rows
            count = None if progress is None else partial(_count_from, progress, before)
            episodes = self.attempt(player, contexts, number, count)
            contexts = with_trials(contexts, episodes)
            played.append(episodes)
        return played

    def _play(
        self,
        player: Player,
        contexts: Sequence[Context],
        rows: list[tuple[int, int]],
        kind: int,
        number: int,
        progress: Callable[[int], None] | None = None,
    ) -> list[Episode]:
        episodes: list[Episode] = []
        for start in range(0, len(rows), self.chunk):
            part = slice(start, start + self.chunk)
            env = make_vec(self.family, [index for index, _ in rows[part]], "trial")
            try:
                actor = player(env, contexts[part], self.rng(number, start, kind))
                episodes += rollout(env, actor, self.seeds(rows[part], kind, number)).episodes
            finally:
                env.close()
            if progress:
                progress(len(episodes))
        return episodes


def _count_from(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def with_trials(contexts: Sequence[Context], trials: Sequence[Episode]) -> list[Context]:
    """Each context with one trial more."""
    return [context.with_trial(trial) for context, trial in zip(contexts, trials, strict=True)]


def succeeded(episodes: Sequence[Episode]) -> Array:
    """The success flags of episodes, `[n]`."""
    return np.array([bool(episode.success) for episode in episodes])


def returned(episodes: Sequence[Episode]) -> Array:
    """The undiscounted return of each episode, `[n]` float64; 0 where nobody scored the steps."""
    return np.array([0.0 if e.rewards is None else float(e.rewards.sum(dtype=np.float64)) for e in episodes])
