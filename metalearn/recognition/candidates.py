"""Candidates: each a mixture of policies, as beliefs say them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int64

from metalearn.adapter import Belief

NEGLIGIBLE = 1e-3
"""Of a belief: hypotheses that are less probable together count for nothing, and are left out."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The m policies that c candidates of one model are mixtures of.

    Attributes:
        latents, hypotheses: of each policy, `[m d]` and `[m]`.
        log_weights: of each within its candidate, `[m]`.
        owner: the number of its candidate, `[m]`, in ascending order.
        n: c.
    """

    latents: Float32[np.ndarray, "m d"]
    hypotheses: Int64[np.ndarray, " m"]
    log_weights: Float[np.ndarray, " m"]
    owner: Int64[np.ndarray, " m"]
    n: int

    @classmethod
    def of(cls, beliefs: Sequence[Sequence[Belief]]) -> "Candidates":
        """One candidate for each sequence of beliefs, all of which are as likely."""
        rows: list[tuple[Any, int, float, int]] = []
        for owner, mixed in enumerate(beliefs):
            for belief in mixed:
                p = belief.probabilities.astype(np.float64)
                order = np.argsort(-p)
                enough = int(np.searchsorted(np.cumsum(p[order]), p.sum() * (1 - NEGLIGIBLE))) + 1
                kept = order[: min(enough, len(p))]
                share = np.log(np.maximum(p[kept] / p[kept].sum(), 1e-30)) - np.log(len(mixed))
                rows += [(belief.latent, int(z), float(w), owner) for z, w in zip(kept, share, strict=True)]
        latents, hypotheses, log_weights, owners = zip(*rows, strict=True)
        return cls(
            np.stack(latents), np.array(hypotheses, np.int64), np.array(log_weights), np.array(owners, np.int64),
            len(beliefs),
        )  # fmt: skip


def expand(belief: Belief) -> Belief:
    """The same latent with every hypothesis as likely: whichever may have been drawn."""
    return Belief(belief.latent, np.full_like(belief.probabilities, 1 / len(belief.probabilities)))
