"""The interface of a loaded model, whichever library computes it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from metalearn.adapter import ActionHeads, Belief
from metalearn.bundle import Bundle
from metalearn.data.context import Context


class NoHeads(Exception):
    """The bundle was exported before graphs said how probable an action is: `wtl export` adds the graph."""


class Runtime(Protocol):
    """A loaded model, with numpy arrays as inputs and outputs. Called from several threads."""

    def infer_belief(self, contexts: Sequence[Context]) -> list[Belief]:
        """Infer the belief of each context."""
        ...

    def conditioning(self, belief: Belief, hypothesis: int) -> Float32[np.ndarray, " c"]:
        """Return the input of the policy for one hypothesis of a belief. Fast; called from any thread."""
        ...

    @property
    def adapts_online(self) -> bool:
        """True if `update` changes a conditioning."""
        ...

    def update(
        self,
        conditioning: Float32[np.ndarray, " c"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> Float32[np.ndarray, " c"]:
        """Return the conditioning after these steps of a running episode. Fast; called from any thread."""
        ...

    def act(
        self, conditioning: Float32[np.ndarray, "b c"], observations: Shaped[np.ndarray, "b *o"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """Return the action of each row."""
        ...

    def heads(
        self,
        latents: Float32[np.ndarray, "m d"],
        hypotheses: Int64[np.ndarray, " m"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> ActionHeads:
        """Return what m policies would do at each of the t steps of an episode. Raises NoHeads."""
        ...


RuntimeFactory = Callable[[Bundle], Runtime]
