"""One version of an adaptation as one ONNX file, in which the belief is a constant.

It is made from the bundle's `conditioning.onnx`, `act.onnx` and weights with onnx alone, without torch. Knows neither
HTTP nor archives.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, compose, helper, numpy_helper

from metalearn.adapter import Belief
from metalearn.bundle import Bundle, Weights
from metalearn.config import ModelConfig
from metalearn.data.errors import InvalidConfig
from metalearn.data.spec import Spec
from metalearn.data.units import Units

_ROWS = "rows"


def n_sums(bundle: Bundle) -> int:
    """Return the number of values at the end of a latent that the steps of a running episode add to."""
    spec, config = bundle.spec, ModelConfig.model_validate(bundle.model)
    effects = spec.action_size * (spec.observation_size + spec.action_size) if config.dynamics_rank else 0
    return effects + (config.memory + 1 if config.memory else 0)


def remembering(bundle: Bundle) -> bytes | None:
    """Make the graph of what each of n steps adds to `effects`; None if the model does not adapt online.

    Its inputs are `observations [n, o]` as vectors, `changes [n, c]` to the next ones, of all numbers but pixels, and
    `actions [n, a]` in the units that `signature` lists, discrete ones one-hot; it lacks those that it does not need.
    Raises InvalidConfig.
    """
    if "remember" not in bundle.graphs:
        return None
    try:
        model = _with_weights(bundle.graphs["remember"], bundle.weights)
    except (DecodeError, KeyError, ValueError) as error:
        sentence = " ".join(str(error).split())[:200]
        raise InvalidConfig(f"bundle {bundle.name}: its graphs do not fit it: {sentence}") from error
    return model.SerializeToString(deterministic=True)


def exportable(bundle: Bundle) -> bool:
    """Return True if the bundle has the graphs that a policy is made from."""
    return ({"conditioning", "act", "remember"} if n_sums(bundle) else {"conditioning", "act"}) <= set(bundle.graphs)


def standalone(bundle: Bundle, belief: Belief) -> bytes:
    """Make the policy of a belief, from `observation [n, ...o]` and optionally `hypothesis [n]` to `action`.

    A model that adapts online has a further optional input `effects [n, s]`: the sums over the steps of the running
    episode of what the graph of `remembering` gives.
    The same belief gives the same bytes.

    Raises:
        InvalidConfig: the bundle has no graphs, or they do not fit its weights.
    """
    if not exportable(bundle):
        raise InvalidConfig(f"bundle {bundle.name}: no conditioning.onnx and act.onnx in it")
    try:
        config = ModelConfig.model_validate(bundle.model)
        conditioning, act = (_embed(bundle.graphs[name], bundle.weights, name) for name in ("conditioning", "act"))
        # The output of the first graph is an input of the second one.
        inside = compose.merge_models(conditioning, act, [("conditioning/conditioning", "act/conditioning")])
    except (DecodeError, KeyError, ValueError) as error:
        sentence = " ".join(str(error).split())[:200]
        raise InvalidConfig(f"bundle {bundle.name}: its graphs do not fit it: {sentence}") from error
    builder = _GraphBuilder(Units(bundle.spec, **dict(config.units)))
    builder.rows()
    builder.latent(belief, n_sums(bundle))
    builder.hypothesis(belief.map_hypothesis)
    builder.observation()
    graph = builder.around(inside.graph)
    model = helper.make_model(graph, opset_imports=inside.opset_import, producer_name="watch-try-learn")
    model.ir_version = inside.ir_version
    return model.SerializeToString(deterministic=True)


def signature(bundle: Bundle) -> dict[str, list[dict[str, Any]]]:
    """Describe the inputs and outputs of the policy."""
    spec, config = bundle.spec, ModelConfig.model_validate(bundle.model)
    summed = n_sums(bundle)
    observation = {"name": "observation", "dtype": _dtype(spec).name, "shape": ["n", *spec.observation_layout[1]]}
    hypothesis = {"name": "hypothesis", "dtype": "int64", "shape": ["n"], "optional": "the most probable one"}
    inputs: list[dict[str, Any]] = [observation, hypothesis]
    if summed:
        nothing = "zeros: no steps in this episode yet"
        units = {"action_units": config.units.actions} if config.units.actions else {}
        inputs.append({"name": "effects", "dtype": "float32", "shape": ["n", summed], "optional": nothing, **units})
    kind, size = ("int64", []) if spec.discrete else ("float32", [spec.action_size])
    return {"inputs": inputs, "outputs": [{"name": "action", "dtype": kind, "shape": ["n", *size]}]}


class _GraphBuilder:
    """Builds the nodes before and after the bundle's graph."""

    def __init__(self, units: Units) -> None:
        self._spec, self._units = units.spec, units
        self._inputs: list[onnx.ValueInfoProto] = []
        self._constants: list[TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []

    def rows(self) -> None:
        """Add the number of rows, as a shape with one axis."""
        kind = helper.np_dtype_to_tensor_dtype(_dtype(self._spec))
        shape: list[str | int | None] = ["n", *self._spec.observation_layout[1]]
        self._inputs.append(helper.make_tensor_value_info("observation", kind, shape))
        self._node("Shape", ["observation"], "shape")
        self._node("Gather", ["shape", self._constant("first", np.zeros(1, np.int64))], _ROWS)

    def latent(self, belief: Belief, n_sums: int) -> None:
        """Add the latent of every row, with the effects of online adaptation at its end."""
        whole = np.asarray(belief.latent, np.float32)[None]
        if not n_sums:
            self._node(
                "Expand",
                [self._constant("latent", whole), self._shape("latent_shape", whole.shape[1])],
                "conditioning/latent",
            )
            return
        known, tried = whole[:, :-n_sums], whole[:, -n_sums:]
        self._optional("effects", np.zeros((1, n_sums), np.float32), ["m", n_sums])
        self._node("Add", [self._constant("latent_effects", tried), "effects"], "latent_tried")
        self._node("Expand", ["latent_tried", self._shape("tried_shape", n_sums)], "latent_end")
        parts = [self._constant("latent_known", known), self._shape("known_shape", known.shape[1])]
        self._node("Expand", parts, "latent_begin")
        self._node("Concat", ["latent_begin", "latent_end"], "conditioning/latent", axis=1)

    def hypothesis(self, map_hypothesis: int) -> None:
        """Add the hypothesis, one for all rows or one per row."""
        self._optional("hypothesis", np.array([map_hypothesis], np.int64), ["h"])
        self._node("Expand", ["hypothesis", _ROWS], "conditioning/hypothesis")

    def observation(self) -> None:
        """Add the observations, flattened and as float32."""
        self._node("Cast", ["observation"], "numbers", to=TensorProto.FLOAT)
        self._node("Reshape", ["numbers", self._shape("flat_shape", self._spec.observation_size)], "act/observations")

    def around(self, inside: onnx.GraphProto) -> onnx.GraphProto:
        """Return the whole graph, with actions moved or clipped into the action space."""
        actions, before = "act/actions", list(self._nodes)
        space: Any = self._spec.action_space
        self._nodes = []
        if self._spec.discrete:
            start = np.array(space.start, np.int64)
            self._node("Add", [actions, self._constant("start", start)], "action")
            output = helper.make_tensor_value_info("action", TensorProto.INT64, ["n"])
        else:
            if self._units.actions:
                actions = self._in_their_units(actions)
            low, high = (np.asarray(bound, np.float32) for bound in (space.low, space.high))
            self._node("Max", [actions, self._constant("low", low)], "above")
            self._node("Min", ["above", self._constant("high", high)], "action")
            output = helper.make_tensor_value_info("action", TensorProto.FLOAT, ["n", self._spec.action_size])
        nodes = [*before, *inside.node, *self._nodes]
        constants = [*self._constants, *inside.initializer]
        return helper.make_graph(nodes, "adaptation", self._inputs, [output], constants)

    def _in_their_units(self, actions: str) -> str:
        """Add what `Units.decode_actions` does before it clips; in double precision, as there."""
        self._node("Cast", [actions], "exact", to=TensorProto.DOUBLE)
        self._node("Mul", ["exact", self._constant("sizes", self._units.sizes)], "sized")
        self._node("Add", ["sized", self._constant("offsets", self._units.offsets)], "moved")
        self._node("Cast", ["moved"], "in_units", to=TensorProto.FLOAT)
        return "in_units"

    def _optional(self, name: str, default: np.ndarray, shape: Sequence[str | int]) -> None:
        kind = helper.np_dtype_to_tensor_dtype(default.dtype)
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        self._constant(name, default)

    def _shape(self, name: str, size: int) -> str:
        self._node("Concat", [_ROWS, self._constant(f"{name}_end", np.array([size], np.int64))], name, axis=0)
        return name

    def _constant(self, name: str, value: np.ndarray) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))


def _embed(graph: bytes, weights: Weights, name: str) -> onnx.ModelProto:
    """Return a graph with embedded weights and `name/` before all names. Raises DecodeError, KeyError, ValueError."""
    return compose.add_prefix(_with_weights(graph, weights), f"{name}/", inplace=True)


def _with_weights(graph: bytes, weights: Weights) -> onnx.ModelProto:
    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.external_data:
            value = np.array(weights[tensor.name]).reshape(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    del model.graph.value_info[:]
    return model


def _dtype(spec: Spec) -> np.dtype[Any]:
    return np.dtype(np.uint8 if spec.observation_space.dtype == np.uint8 else np.float32)
