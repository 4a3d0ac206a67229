"""The policy in ONNX Runtime, without torch.

The graphs come with the bundle (`metalearn.model.export` writes them), and use the weights of the bundle.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from metalearn.adapter import ActionHeads, Belief
from metalearn.bundle import Bundle, Weights
from metalearn.config import ModelConfig
from metalearn.data.asks import features_of
from metalearn.data.context import Context
from metalearn.data.episode import Array
from metalearn.data.errors import InvalidConfig
from metalearn.data.frames import gather
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from service.inference.onnx_policy import n_sums
from service.inference.runtime import NoHeads

_GRAPHS = ("belief", "conditioning", "act")


class OnnxRuntime:
    """A model in ONNX Runtime."""

    name = "onnx"

    def __init__(
        self,
        belief: "Graph",
        conditioning: "Graph",
        act: "Graph",
        remember: "Graph | None",
        heads: "Graph | None",
        config: ModelConfig,
        spec: Spec,
    ) -> None:
        self._belief, self._conditioning, self._act, self._remember = belief, conditioning, act, remember
        self._heads = heads
        self._config, self._units = config, Units(spec, **dict(config.units))

    @classmethod
    def load(cls, bundle: Bundle) -> "OnnxRuntime":
        """Load the policy of a bundle.

        Raises:
            InvalidConfig: the bundle was never exported, or its graphs do not fit its weights.
        """
        wanted = (*_GRAPHS, "remember") if n_sums(bundle) else _GRAPHS
        if missing := [name for name in wanted if name not in bundle.graphs]:
            raise InvalidConfig(
                f"bundle {bundle.name}: no {missing[0]}.onnx in it, so it needs torch to run; "
                "`wtl export BUNDLE` adds them where torch is installed"
            )
        try:
            config = ModelConfig.model_validate(bundle.model)
            belief, conditioning, act = (Graph(bundle.graphs[name], bundle.weights) for name in _GRAPHS)
            remember, heads = (
                Graph(bundle.graphs[name], bundle.weights) if name in bundle.graphs else None
                for name in ("remember", "heads")
            )
        except Exception as error:  # onnxruntime raises a different type for each status
            sentence = " ".join(str(error).split())[:200]
            raise InvalidConfig(f"bundle {bundle.name}: its graphs cannot be run: {sentence}") from error
        return cls(belief, conditioning, act, remember, heads, config, bundle.spec)

    def infer_belief(self, contexts: Sequence[Context]) -> list[Belief]:
        """Infer the belief of each context. Raises InvalidData for an ask that the model was not trained for."""
        for context in contexts:
            context.ask.check(self._config.ask_offers)
        roles = {"demos": [c.demos for c in contexts], "trials": [c.trials for c in contexts]}
        config, dynamics = self._config, self._config.dynamics_rank > 0
        inputs = {
            f"{role}.{name}": values
            for role, episodes in roles.items()
            for name, values in gather(
                episodes, config.n_frames, self._units, effects=dynamics, means=config.frame_means
            ).items()
        }
        inputs["asks"] = features_of([context.ask for context in contexts], self._config.ask_offers)
        return [Belief(*of_one) for of_one in zip(*self._belief.run(inputs), strict=True)]

    def conditioning(self, belief: Belief, hypothesis: int) -> Float32[np.ndarray, " c"]:
        """Return the input of the policy for one hypothesis of a belief."""
        inputs = {"latent": belief.latent[None], "hypothesis": np.array([hypothesis], np.int64)}
        conditioning: Array = self._conditioning.run(inputs)[0][0]
        return conditioning

    @property
    def adapts_online(self) -> bool:
        """True if `update` changes a conditioning."""
        return self._remember is not None

    def update(
        self,
        conditioning: Float32[np.ndarray, " c"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> Float32[np.ndarray, " c"]:
        """Return the conditioning after these steps of a running episode."""
        if len(actions) == 0 or self._remember is None:
            return conditioning
        added = self._remembered(observation_vectors(observations), actions)
        updated = conditioning.copy()
        updated[len(updated) - added.shape[1] :] += added.sum(0)
        return updated

    def act(
        self, conditioning: Float32[np.ndarray, "b c"], observations: Shaped[np.ndarray, "b *o"]
    ) -> Shaped[np.ndarray, "b *a"]:
        """Return the action of each row, within the action space."""
        if observations.ndim > 2 or observations.dtype != np.float32:
            observations = observation_vectors(observations)
        (out,) = self._act.run({"conditioning": conditioning, "observations": observations})
        return self._units.decode_actions(out)

    def heads(
        self,
        latents: Float32[np.ndarray, "m d"],
        hypotheses: Int64[np.ndarray, " m"],
        observations: Shaped[np.ndarray, "n *o"],
        actions: Shaped[np.ndarray, "t *a"],
    ) -> ActionHeads:
        """Return what m policies would do at each of the t steps of an episode. Raises NoHeads."""
        if self._heads is None:
            raise NoHeads
        seen = observation_vectors(observations)
        inputs = {"latent": latents, "hypothesis": hypotheses, "observations": seen[:-1]}
        if self._remember is not None:
            added = self._remembered(seen, actions)
            inputs["sums"] = (added.cumsum(0) - added).astype(np.float32)
        return ActionHeads(*self._heads.run(inputs))

    def _remembered(self, seen: Float32[np.ndarray, "n o"], actions: Shaped[np.ndarray, "t *a"]) -> Array:
        """Return what each step adds to the sums of a model that adapts online."""
        assert self._remember is not None
        changes, done = np.diff(seen, axis=0), self._units.encode_actions(actions)
        added: Array = self._remember.run({"observations": seen[:-1], "changes": changes, "actions": done})[0]
        return added


class Graph:
    """One graph with its weights, ready to run."""

    def __init__(self, graph: bytes, weights: Weights) -> None:
        import onnx  # imported late, so that a server on torch runs without these
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # A batch is faster than waking other threads, and other requests need the other cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        referred = [one for one in onnx.load_from_string(graph).graph.initializer if one.external_data]
        self._values = {  # kept, because the session reads them
            # A safetensors file has no scalars, hence the reshape.
            one.name: onnxruntime.OrtValue.ortvalue_from_numpy(np.array(weights[one.name]).reshape(one.dims))
            for one in referred
        }
        options.add_external_initializers(list(self._values), list(self._values.values()))
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._inputs = {one.name for one in self._session.get_inputs()}
        self._outputs = [one.name for one in self._session.get_outputs()]

    def run(self, inputs: dict[str, Array]) -> list[Array]:
        """Return the outputs, in order. Inputs that the graph does not have are ignored."""
        if inputs.keys() != self._inputs:
            inputs = {name: value for name, value in inputs.items() if name in self._inputs}
        return self._session.run(self._outputs, inputs)
