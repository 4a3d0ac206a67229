"""How shaky whoever was watched is: the deviation of its actions around what it meant to do.

A policy's own sigma holds two things at once, how shaky the demonstrator is and how exactly it is imitated. To act as
somebody does, only the former must be added. Needs the policy's means in the demonstrations, and nothing else.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from metalearn.adapter import ActionHeads, Belief
from metalearn.data.context import Context
from metalearn.data.units import Units

HeadsOf = Callable[
    [
        Float32[np.ndarray, "m d"],
        Int64[np.ndarray, " m"],
        Shaped[np.ndarray, "n *o"],
        Shaped[np.ndarray, "t *a"],
    ],
    ActionHeads,
]
"""What m policies (latents, hypotheses) would do, given observations and actions."""
FEWEST = 4
"""Changes from step to step from which a deviation is estimated."""


def watched_deviation(
    context: Context, belief: Belief, hypothesis: int, heads_of: HeadsOf, units: Units
) -> Float32[np.ndarray, " a"]:
    """The standard deviation of each component of the watched actions, in their units.

    With the residuals r_t of demonstrated actions to the policy's means it is sqrt(mean (r_(t+1) - r_t)^2 / 2): errors
    of imitation go on from one step to the next and cancel, a hand that shakes does not (J. von Neumann et al., "The
    mean square successive difference", 1941). Where nobody was watched with actions, or where something was asked for
    and so another quality than was watched, it is the policy's own sigma. It means nothing for choices.
    """
    latents, hypotheses = belief.latent[None], np.array([hypothesis], np.int64)
    changes, own = [], None
    for demo in context.demos if not context.ask else ():
        if demo.actions is None:
            continue
        heads = heads_of(latents, hypotheses, demo.observations, demo.actions)
        own = np.exp(heads.log_sigma[0])
        if not units.spec.discrete:
            missed = units.encode_actions(demo.actions) - np.clip(heads.out[0], *units.bounds)
            changes.append(np.diff(missed, axis=0))
    if changes and sum(map(len, changes)) >= FEWEST:
        return np.sqrt(0.5 * np.square(np.concatenate(changes)).mean(0)).astype(np.float32)
    if own is None:
        nothing = units.spec.example_episode(np.random.default_rng(0))
        assert nothing.actions is not None
        own = np.exp(heads_of(latents, hypotheses, nothing.observations, nothing.actions).log_sigma[0])
    return own.astype(np.float32)
