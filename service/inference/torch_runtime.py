"""The policy in PyTorch. Nothing else in the service imports torch, and this only when a model is loaded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from metalearn.adapter import ActionHeads, Belief
from metalearn.bundle import Bundle
from metalearn.config import SCRATCH
from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig

if TYPE_CHECKING:
    from metalearn.model.inference import Inference


class TorchRuntime:
    """A model in PyTorch."""

    name = "torch"

    def __init__(self, inference: "Inference") -> None:
        self._inference = inference

    @classmethod
    def load(cls, bundle: Bundle) -> "TorchRuntime":
        """Load the policy of a bundle.

        Raises:
            InvalidConfig: its weights do not fit, or it names a module to import, which is not a bundle's to decide.
        """
        brought = bundle.model.get("image_encoder", SCRATCH)
        if brought != SCRATCH:
            raise InvalidConfig(
                f"bundle {bundle.name}: its pictures are read by {brought}, which a server does not import; "
                "its graphs hold it: serve them with WTL_RUNTIME=onnx"
            )
        import torch  # imported late, so that the service starts without it

        from metalearn.model.inference import Inference

        # A batch is faster than waking other threads, and other requests need the other cores.
        torch.set_num_threads(1)
        try:
            return cls(Inference.load(bundle))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            sentence = " ".join(str(error).split())[:200]
            raise InvalidConfig(
                f"bundle {bundle.name}: its weights do not fit its configuration: {sentence}"
            ) from error

    def infer_belief(self, contexts: Sequence[Context]) -> list[Belief]:
        """Infer the belief of each context."""
        return self._inference.infer_belief(contexts)

    def conditioning(self, belief: Belief, hypothesis: int) -> Float32[np.ndarray, " c"]:
        """Return the input of the policy for one hypothesis of a belief."""
        return self._inference.conditioning(belief.latent[None], np.array([hypothesis], np.int64))[0]

    @property
    def adapts_online(self) -> bool:
        """True if `update` changes a conditioning."""
        return self._inference.adapts_online

    def update(
        self,
        conditioning: Float32[np.ndarray, " c"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> Float32[np.ndarray, " c"]:
        """Return the conditioning after these steps of a running episode."""
        return self._inference.update(conditioning, observations, actions)

    def act(
        self, conditioning: Float32[np.ndarray, "b c"], observations: Shaped[np.ndarray, "b *o"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """Return the action of each row."""
        return self._inference.act(conditioning, observations)

    def heads(
        self,
        latents: Float32[np.ndarray, "m d"],
        hypotheses: Int64[np.ndarray, " m"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> ActionHeads:
        """Return what m policies would do at each of the t steps of an episode."""
        return self._inference.heads(latents, hypotheses, observations, actions)
