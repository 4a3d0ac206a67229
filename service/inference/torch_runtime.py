"""The policy in PyTorch: the one place of the service that imports torch, and not before a model is loaded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Shaped

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig

if TYPE_CHECKING:
    from metalearn.model.inference import Inference


class TorchRuntime:
    """Numpy in, torch inside, numpy out."""

    name = "torch"

    def __init__(self, inference: "Inference") -> None:
        self._inference = inference

    @classmethod
    def load(cls, bundle: Bundle) -> "TorchRuntime":
        """The policy of a bundle. Raises InvalidConfig."""
        import torch  # the service starts without it

        from metalearn.model.inference import Inference

        # A batch takes less than it takes to wake other threads, and requests want the other cores.
        torch.set_num_threads(1)
        try:
            return cls(Inference.load(bundle))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            sentence = " ".join(str(error).split())[:200]
            raise InvalidConfig(
                f"bundle {bundle.name}: its weights do not fit its configuration: {sentence}"
            ) from error

    def infer_belief(self, contexts: Sequence[Context]) -> list[Belief]:
        """What the policy makes of each context."""
        return self._inference.infer_belief(contexts)

    def conditioning(self, belief: Belief, hypothesis: int) -> Float32[np.ndarray, " c"]:
        """All that acting takes of a belief under one hypothesis."""
        return self._inference.conditioning(belief.latent[None], np.array([hypothesis], np.int64))[0]

    @property
    def adapts_online(self) -> bool:
        """Whether `update` changes a conditioning."""
        return self._inference.adapts_online

    def update(
        self,
        conditioning: Float32[np.ndarray, " c"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> Float32[np.ndarray, " c"]:
        """The conditioning after these steps of a running episode."""
        return self._inference.update(conditioning, observations, actions)

    def act(
        self, conditioning: Float32[np.ndarray, "b c"], observations: Shaped[np.ndarray, "b *o"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """The action of each row."""
        return self._inference.act(conditioning, observations)
