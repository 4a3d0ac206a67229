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

    def believe(self, contexts: Sequence[Context]) -> list[Belief]:
        """What the model makes of each context."""
        ...

    def stance(self, belief: Belief, hypothesis: int) -> Float32[np.ndarray, " s"]:
        """All that acting takes of a belief under one hypothesis. Short; called from any thread."""
        ...

    @property
    def learns_while_acting(self) -> bool:
        """Whether `after` changes a stance."""
        ...

    def after(
        self,
        stance: Float32[np.ndarray, " s"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> Float32[np.ndarray, " s"]:
        """The stance in the midst of an episode, after these steps of it. Short; called from any thread."""
        ...

    def act(
        self, stances: Float32[np.ndarray, "b s"], observations: Shaped[np.ndarray, "b *o"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each row."""
        ...


RuntimeFactory = Callable[[Bundle], Runtime]
