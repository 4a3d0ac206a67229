"""What context says of the expert's actions, by a probe that is fitted in seconds and asked about tasks left out.

For recordings, and for tasks that replays cannot compare. The probe is kernel ridge regression from an observation and
a few numbers of the context to an action; it finds less than a network would. Knows no environments.

Axes: n tasks, one target episode each; a action as a vector; c numbers of a context.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metalearn.data.episode import Episode
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import EPSILON, Units
from metalearn.inspection.portraits import compressed

MOMENTS = (0.0, 0.5)
"""When in a target episode an action is predicted, from its start to its end; the one of which more is told counts."""
PENALTIES = (0.01, 0.1, 1.0)
WIDTHS = (1.0, 4.0, 16.0)
"""Inverse widths of the kernels of contexts, in squared distances of the average pair."""
MOST_TASKS, FEWEST_TASKS = 400, 40
CLEAR = 0.08
"""Of the variance: less may be the choice among what was tried."""


@dataclass(frozen=True)
class Probe:
    """Shares of the variance of the expert's actions in tasks left out that are explained, 1 at most.

    Attributes:
        n_tasks: of which each was left out once.
        nothing: from the observation alone.
        demo: with the demonstration.
        trial: with a good trial of the same task besides.
    """

    n_tasks: int
    nothing: float
    demo: float
    trial: float

    @property
    def demo_tells(self) -> bool:
        """Whether a demonstration says something of what the expert does."""
        return self.demo - self.nothing > CLEAR

    @property
    def trial_tells(self) -> bool:
        """Whether a trial says something that the demonstration does not."""
        return self.trial - self.demo > CLEAR


Features = Mapping[str, Float[np.ndarray, "n c"]]


def probe(
    demos: Sequence[Episode], trials: Sequence[Episode], targets: Sequence[tuple[Episode, np.ndarray]], spec: Spec
) -> Probe | None:
    """Predict actions of `targets` from contexts; None where there are too few tasks.

    Args:
        demos: one of each task; none at all, if tasks have no demonstrations.
        trials: a good episode of each task, played with another seed than its target.
        targets: of each task an episode and the actions to imitate in it.
        spec: of all of them.
    """
    n = min(len(targets), MOST_TASKS)
    if n < FEWEST_TASKS:
        return None
    units = Units.of_bounds(spec)
    shown, tried = (_features(episodes[:n], units) for episodes in (demos, trials))
    best = Probe(n, 0.0, 0.0, 0.0)
    for moment in MOMENTS:
        seen, done = _asked(targets[:n], moment, units)
        found = _explained(seen, done, shown, tried)
        if found[2] - found[0] > best.trial - best.nothing or moment == MOMENTS[0]:
            best = Probe(n, *found)
    return best


def explained(kernel: Float[np.ndarray, "n n"], values: Float[np.ndarray, "n a"]) -> float:
    """Share of the variance that kernel ridge regression explains, each row predicted without itself.

    The residual without row i is e_i / (1 - H_ii), with the hat matrix H = K (K + penalty I)^-1.

    T. Hastie, R. Tibshirani and J. Friedman, "The Elements of Statistical Learning" (2009), equation 7.64.
    """
    eigenvalues, vectors = np.linalg.eigh(kernel)
    centred = values - values.mean(0)
    projected, squares, total = vectors.T @ centred, np.square(vectors), np.square(centred).sum()
    if total <= EPSILON:
        return 0.0
    found = []
    for penalty in PENALTIES:
        shrunk = np.maximum(eigenvalues, 0) / (np.maximum(eigenvalues, 0) + penalty)
        residuals = (centred - vectors @ (shrunk[:, None] * projected)) / (1 - squares @ shrunk)[:, None]
        found.append(1 - float(np.square(residuals).sum() / total))
    return max(found)


def _explained(
    seen: Float[np.ndarray, "n o"], done: Float[np.ndarray, "n a"], shown: Features, tried: Features
) -> tuple[float, float, float]:
    """By the observation alone, with the demonstration, and with a trial besides; no more context explains less."""
    observed = 1 + seen @ seen.T / max(1, seen.shape[1]) + np.exp(-2 * _squares(seen))
    nothing = explained(observed, done)
    demo, watched = _best(observed, done, shown)
    if demo < nothing:
        demo, watched = nothing, observed
    trial = max(demo, _best(watched, done, tried)[0], _best(observed, done, tried)[0])
    return max(0.0, nothing), max(0.0, demo), max(0.0, trial)


def _best(
    base: Float[np.ndarray, "n n"], done: Float[np.ndarray, "n a"], features: Features
) -> tuple[float, Float[np.ndarray, "n n"]]:
    """The kernel of one kind of feature of a context that explains most, and how much."""
    best = -np.inf, base
    for numbers in features.values():
        if not numbers.shape[1]:
            continue
        squares = _squares(numbers)
        for width in WIDTHS:
            kernel = base * (0.05 + np.exp(-width * squares))
            share = explained(kernel, done)
            if share > best[0]:
                best = share, kernel
    return best


def _features(episodes: Sequence[Episode], units: Units) -> Features:
    """A few numbers of each episode, by kind: where it ends, its means, what actions do."""
    if not episodes:
        return {}
    seen = [compressed(observation_vectors(episode.observations)) for episode in episodes]
    found = {
        "last": np.stack([own[-1] for own in seen]),
        "mean": np.stack([own.mean(0) for own in seen]),
        "change": np.stack([own[-1] - own[0] for own in seen]),
    }
    acted = [None if e.actions is None else units.encode_actions(e.actions) for e in episodes]
    if all(actions is not None for actions in acted):
        flat = [actions.reshape(len(actions), -1).astype(np.float64) for actions in acted if actions is not None]
        found["action"] = np.stack([actions.mean(0) for actions in flat])
        effects = [np.diff(own, axis=0).T @ actions / len(actions) for own, actions in zip(seen, flat, strict=True)]
        found["effect"] = np.stack([effect.ravel() for effect in effects])
    return {name: _standardised(numbers) for name, numbers in found.items()}


def _asked(
    targets: Sequence[tuple[Episode, np.ndarray]], moment: float, units: Units
) -> tuple[Float[np.ndarray, "n o"], Float[np.ndarray, "n a"]]:
    """Observations, and the actions to predict in them."""
    steps = [int(moment * (len(episode) - 1)) for episode, _ in targets]
    seen = [observation_vectors(e.observations[s : s + 1])[0] for s, (e, _) in zip(steps, targets, strict=True)]
    done = [units.encode_actions(labels[s : s + 1]).ravel() for s, (_, labels) in zip(steps, targets, strict=True)]
    return _standardised(compressed(np.stack(seen))), np.stack(done).astype(np.float64)


def _standardised(numbers: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    """Each column in its spread; constants left out."""
    spread = numbers.std(0)
    changing = spread > EPSILON * (np.abs(numbers).max(0) + EPSILON)
    rows: Float[np.ndarray, "n c"] = (numbers[:, changing] - numbers[:, changing].mean(0)) / spread[changing]
    return rows


def _squares(rows: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n n"]:
    """Squared distances in units of their mean."""
    squares = np.square(rows).sum(1)
    found = np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)
    return found / max(float(found.mean()), EPSILON)
