"""Somebody else of the same kind: the experts that a model was made of, as an alternative to every candidate.

A candidate that is not the one who acted is often still the nearest; what tells is that others are nearer. Many experts
are compared at a few steps, and those that come near at all of them.
"""

from collections.abc import Callable

import numpy as np

from metalearn.adapter import ActionHeads
from metalearn.data.episode import Array
from metalearn.data.units import Units
from metalearn.recognition.calibration import EvidenceScale
from metalearn.recognition.candidates import Candidates
from metalearn.recognition.likelihood import step_log_likelihoods

LOOKED_AT, KEPT = 16, 16
"""Steps at which all are compared, and how many policies are then compared at every step."""

HeadsOf = Callable[[Candidates, Array, Array], ActionHeads]
"""What the policies of candidates would do, given observations `[t + 1, *o]` and actions `[t, *a]`."""


def nearest(
    everybody: Candidates, observations: Array, actions: Array, encoded: Array, noise: Array, heads_of: HeadsOf,
    units: Units, scale: EvidenceScale, *, in_order: bool,
) -> Candidates:  # fmt: skip
    """The policies of a population that are likeliest to have acted, with their weights in the whole of it.

    Args:
        everybody: the policies of the population.
        observations: of the steps, of one episode or of several, and one more.
        actions: that were done.
        encoded: those in the units of the model, and `noise` the variance with which they are known.
        noise: see `encoded`.
        heads_of: computes.
        units: of the model.
        scale: how residuals count.
        in_order: whether the model remembers its steps, so that only the first ones can be looked at.
    """
    n = len(actions)
    steps = (
        np.arange(min(n, LOOKED_AT)) if in_order else np.unique(np.linspace(0, n - 1, LOOKED_AT).round().astype(int))
    )
    seen = np.concatenate([observations[steps], observations[-1:]])
    heads = heads_of(everybody, seen, actions[steps])
    narrow, _ = step_log_likelihoods(heads, encoded[steps], noise, units, scale)
    order = np.argsort(-(narrow.sum(1) + everybody.log_weights))[:KEPT]
    return Candidates(
        everybody.latents[order], everybody.hypotheses[order], everybody.log_weights[order],
        np.zeros(len(order), np.int64), 1,
    )  # fmt: skip
