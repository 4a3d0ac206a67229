"""What a loaded model can do, whatever computes it, and which runtime computes it here."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.data.context import Context


class Runtime(Protocol):
    """A loaded model: numpy in, numpy out. Called from several threads."""

    def believe(self, contexts: Sequence[Context]) -> list[Belief]:
        """What the model makes of each context."""
        ...

    def after(
        self, belief: Belief, observations: Shaped[np.ndarray, "n *o"], actions: Shaped[np.ndarray, "t *a"]
    ) -> Belief:
        """The belief in the midst of an episode, after these steps of it. Cheap; called from any thread."""
        ...

    def act(
        self,
        codes: Float32[np.ndarray, "b d"],
        hypotheses: Int64[np.ndarray, " b"],
        observations: Shaped[np.ndarray, "b *o"],
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each row under its hypothesis."""
        ...


RuntimeFactory = Callable[[Bundle], Runtime]
