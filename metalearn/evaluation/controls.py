"""Controls: a method is evaluated with a context that is wrong in one respect.

If it does as well as with the right context, its demonstrations or trials are not the reason.
All meet the tasks and layouts of the attempt that they are to be compared with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol as TypingProtocol
from typing import runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.evaluation.protocol import CONTROLS, Player, Progress, Protocol, returned, succeeded, with_trials
from metalearn.tasks.family import Family

COMPARED_WITH = {
    "other_task_trial": 1,
    "same_demo_other_target": 1,
    "flipped_reward": 1,
    "other_task_demo": 0,
    "other_type_demo": 0,
}
"""The attempt of which each control is a copy with one thing wrong: the first (0) or the second (1)."""


@runtime_checkable
class SiblingFamily(Family, TypingProtocol):
    """A family that knows tasks which look alike in the demonstration, whether or not its bound is known."""

    def sibling(self, index: int, rng: np.random.Generator) -> int:
        """A task with the same demonstration and a target drawn independently of `index`'s target."""
        ...


@dataclass(frozen=True)
class Outcome:
    """The success of every row, which rows count, and the returns where they are known."""

    success: Bool[np.ndarray, " n"]
    counted: Bool[np.ndarray, " n"]
    returns: Float[np.ndarray, " n"] | None = None

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "Outcome":
        """Every episode counts."""
        success = succeeded(episodes)
        return cls(success, np.ones_like(success), returned(episodes))


def run_controls(
    protocol: Protocol,
    player: Player,
    contexts: Sequence[Context],
    first_trials: Sequence[Episode],
    progress: Progress | None = None,
) -> Mapping[str, Outcome]:
    """Every control that the manifest's budget and the family allow, by name.

    `contexts` hold each row's demonstrations, `first_trials` are the player's own first attempts.
    """
    budget, several = protocol.manifest.budget, len(protocol.indices) > 1
    rng = protocol.rng(0, 0, CONTROLS)
    planned: dict[str, Callable[[], Outcome]] = {}
    if budget.trials and several:
        planned["other_task_trial"] = lambda: other_task_trial(protocol, player, contexts, first_trials, rng)
    if budget.trials and isinstance(protocol.family, SiblingFamily):
        planned["same_demo_other_target"] = lambda: same_demo_other_target(protocol, player, contexts, rng)
    if budget.trials:
        planned["flipped_reward"] = lambda: flipped_reward(protocol, player, contexts, first_trials)
    if budget.demos and several:
        planned["other_task_demo"] = lambda: other_task_demo(protocol, player, contexts, rng)
    if budget.demos and protocol.types:
        planned["other_type_demo"] = lambda: other_type_demo(protocol, player, contexts, rng)
    outcomes = {}
    for done, (name, run) in enumerate(planned.items(), start=1):
        outcome = run()
        if outcome.counted.any():
            outcomes[name] = outcome
        if progress:
            progress("controls", done * protocol.n_rows, len(planned) * protocol.n_rows)
    return outcomes


def other_task_demo(
    protocol: Protocol, player: Player, contexts: Sequence[Context], rng: np.random.Generator
) -> Outcome:
    """First attempt after the demonstrations of another task."""
    donors = _donors(protocol, rng)
    return Outcome.of(protocol.attempt(player, [contexts[donor] for donor in donors], 0))


def other_type_demo(
    protocol: Protocol, player: Player, contexts: Sequence[Context], rng: np.random.Generator
) -> Outcome:
    """First attempt after the demonstrations of a task of another type, drawn from all that there are."""
    assert protocol.types is not None
    types, b = np.array(protocol.types), len(protocol.indices)
    donors = [b * (row // b) + int(rng.choice(np.flatnonzero(types != types[row % b]))) for row in range(len(contexts))]
    return Outcome.of(protocol.attempt(player, [contexts[donor] for donor in donors], 0))


def other_task_trial(
    protocol: Protocol,
    player: Player,
    contexts: Sequence[Context],
    first_trials: Sequence[Episode],
    rng: np.random.Generator,
) -> Outcome:
    """Second attempt after its own demonstrations and the trial of another task."""
    donated = [first_trials[donor] for donor in _donors(protocol, rng)]
    return Outcome.of(protocol.attempt(player, with_trials(contexts, donated), 1))


def same_demo_other_target(
    protocol: Protocol, player: Player, contexts: Sequence[Context], rng: np.random.Generator
) -> Outcome:
    """Second attempt after a trial that was scored by another target.

    The trial is played, given the task's own demonstrations, in the sibling task: same demonstrations, target
    drawn independently. So the trial looks exactly like a real one and says nothing about the target of the
    second attempt, whose success can be no better than that of an attempt without any trial.
    """
    family = protocol.family
    assert isinstance(family, SiblingFamily)
    siblings = [family.sibling(index, rng) for index, _ in protocol.rows()]
    trials = protocol.attempt_elsewhere(player, contexts, siblings)
    return Outcome.of(protocol.attempt(player, with_trials(contexts, trials), 1))


def flipped_reward(
    protocol: Protocol, player: Player, contexts: Sequence[Context], first_trials: Sequence[Episode]
) -> Outcome:
    """Second attempt after its own trial, told the opposite of how it went.

    Trials that ran to the horizon without success have no outcome that could be turned round: left out.
    """
    horizon = protocol.family.spec.horizon
    touched = np.array([bool(trial.success) or len(trial) < horizon for trial in first_trials])
    episodes = protocol.attempt(player, with_trials(contexts, [flipped(trial) for trial in first_trials]), 1)
    return Outcome(succeeded(episodes), touched, returned(episodes))


def flipped(trial: Episode) -> Episode:
    """The trial with its success flag turned round, and its last reward with it: 1 for success, else 0."""
    success = not trial.success
    if trial.rewards is None:
        return replace(trial, success=success)
    rewards = trial.rewards.copy()
    rewards[-1] = float(success)
    return replace(trial, rewards=rewards, success=success)


def derangement(n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A permutation without fixed points, uniform among them; n >= 2. One draw in e succeeds."""
    while True:
        permutation = rng.permutation(n)
        if not (permutation == np.arange(n)).any():
            return permutation


def _donors(protocol: Protocol, rng: np.random.Generator) -> list[int]:
    """For every row a row of the same repetition and of another task."""
    b = len(protocol.indices)
    return [k * b + int(i) for k in range(protocol.manifest.episodes_per_task) for i in derangement(b, rng)]
