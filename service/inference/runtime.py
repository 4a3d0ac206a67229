"""What a loaded model can do, whatever computes it, and which runtime computes it here."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Shaped

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.data.context import Context


class Runtime(Protocol):
    """A loaded model: numpy in, numpy out. Called from several threads."""

    def infer_belief(self, contexts: Sequence[Context]) -> list[Belief]:
        """What the model infers from each context."""
        ...

    def conditioning(self, belief: Belief, hypothesis: int) -> Float32[np.ndarray, " c"]:
        """All that acting takes of a belief under one hypothesis. Short; called from any thread."""
        ...

    @property
    def adapts_online(self) -> bool:
        """Whether `update` changes a conditioning."""
        ...

    def update(
        self,
        conditioning: Float32[np.ndarray, " c"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> Float32[np.ndarray, " c"]:
        """The conditioning after these steps of a running episode. Short; called from any thread."""
        ...

    def act(
        self, conditioning: Float32[np.ndarray, "b c"], observations: Shaped[np.ndarray, "b *o"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each row."""
        ...


RuntimeFactory = Callable[[Bundle], Runtime]
