"""One version of an adaptation as one ONNX file, in which the belief is a constant, and what its steps tell as another.

They are made from the bundle's graphs and weights with onnx alone, without torch. Knows neither HTTP nor archives.
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
    a, config = bundle.spec.action_size, ModelConfig.model_validate(bundle.model)
    remembered = config.memory + 1 if config.memory else 0
    return remembered + (a * (bundle.spec.observation_size + a) if config.dynamics_rank else 0)


def exportable(bundle: Bundle) -> bool:
    """Return True if the bundle has the graphs that a policy is made from."""
    return {"conditioning", "act"} <= set(bundle.graphs)


def standalone(bundle: Bundle, belief: Belief) -> bytes:
    """Make the policy of a belief, from `observation [n, ...o]` and optionally `hypothesis [n]` to `action`.

    Of observations with parts each is an input, as `observation.camera`. A model that adapts online has a further
    optional input `effects [n, s]`: the sum of what `remembering` says of the steps of the running episode. The same
    belief gives the same bytes.

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
    builder.observations("observation", "act/observations")
    builder.latent(belief, n_sums(bundle))
    builder.hypothesis(belief.map_hypothesis)
    builder.nodes += inside.graph.node
    builder.decoded("act/actions")
    return _model(builder.graph("adaptation", inside.graph), inside)


def remembering(bundle: Bundle) -> bytes | None:
    """Make the graph from `observation`, `action` and `next_observation` of n steps to their `effects [n, s]`.

    Actions are in the units of the action space, as the policy gives them. None if the model does not adapt online.

    Raises:
        InvalidConfig: the bundle has no such graph, or it does not fit its weights.
    """
    config = ModelConfig.model_validate(bundle.model)
    if not n_sums(bundle):
        return None
    if "remember" not in bundle.graphs:
        raise InvalidConfig(f"bundle {bundle.name}: no remember.onnx in it; `wtl export BUNDLE` adds it")
    try:
        inside = _embed(bundle.graphs["remember"], bundle.weights, "remember")
    except (DecodeError, KeyError, ValueError) as error:
        sentence = " ".join(str(error).split())[:200]
        raise InvalidConfig(f"bundle {bundle.name}: its graphs do not fit it: {sentence}") from error
    builder = _GraphBuilder(Units(bundle.spec, **dict(config.units)))
    builder.observations("observation", "remember/observations")
    builder.encoded("remember/actions")
    builder.observations("next_observation", "next_vector")
    builder.difference("next_vector", "remember/observations", "remember/changes")
    builder.nodes += inside.graph.node
    builder.effects("remember/sums", n_sums(bundle))
    return _model(builder.graph("remember", inside.graph), inside)


def signature(bundle: Bundle) -> dict[str, list[dict[str, Any]]]:
    """Describe the inputs and outputs of the policy."""
    spec, size = bundle.spec, n_sums(bundle)
    hypothesis = {"name": "hypothesis", "dtype": "int64", "shape": ["n"], "optional": "the most probable one"}
    inputs: list[dict[str, Any]] = [*_observations("observation", spec), hypothesis]
    if size:
        nothing = "zeros: no steps in this episode yet"
        inputs.append({"name": "effects", "dtype": "float32", "shape": ["n", size], "optional": nothing})
    return {"inputs": inputs, "outputs": [_action(spec)]}


def remembering_signature(bundle: Bundle) -> dict[str, list[dict[str, Any]]]:
    """Describe the inputs and outputs of what steps tell."""
    spec = bundle.spec
    inputs = [*_observations("observation", spec), _action(spec), *_observations("next_observation", spec)]
    return {"inputs": inputs, "outputs": [{"name": "effects", "dtype": "float32", "shape": ["n", n_sums(bundle)]}]}


class _GraphBuilder:
    """Builds the nodes around a graph of the bundle."""

    def __init__(self, units: Units) -> None:
        self._spec, self._units = units.spec, units
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: list[TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []

    def observations(self, name: str, output: str) -> None:
        """Add an input for each part, flattened, as float32 and joined; and the number of rows, if it is not known."""
        flat = []
        for part, (one, shape) in zip(self._spec.parts, _inputs_of(name, self._spec), strict=True):
            kind = helper.np_dtype_to_tensor_dtype(part.dtype)
            self._inputs.append(helper.make_tensor_value_info(one, kind, shape))
            if not self.nodes:
                self._node("Shape", [one], "shape")
                self._node("Gather", ["shape", self._constant("first", np.zeros(1, np.int64))], _ROWS)
            self._node("Cast", [one], f"{one}_numbers", to=TensorProto.FLOAT)
            flat.append(f"{one}_flat" if self._spec.composite else output)
            self._node("Reshape", [f"{one}_numbers", self._shape(f"{one}_shape", part.size)], flat[-1])
        if self._spec.composite:
            self._node("Concat", flat, output, axis=1)

    def latent(self, belief: Belief, size: int) -> None:
        """Add the latent of every row, with the effects of online adaptation at its end."""
        whole = np.asarray(belief.latent, np.float32)[None]
        if not size:
            self._node(
                "Expand",
                [self._constant("latent", whole), self._shape("latent_shape", whole.shape[1])],
                "conditioning/latent",
            )
            return
        known, tried = whole[:, :-size], whole[:, -size:]
        self._optional("effects", np.zeros((1, size), np.float32), ["m", size])
        self._node("Add", [self._constant("latent_effects", tried), "effects"], "latent_tried")
        self._node("Expand", ["latent_tried", self._shape("tried_shape", size)], "latent_end")
        parts = [self._constant("latent_known", known), self._shape("known_shape", known.shape[1])]
        self._node("Expand", parts, "latent_begin")
        self._node("Concat", ["latent_begin", "latent_end"], "conditioning/latent", axis=1)

    def hypothesis(self, map_hypothesis: int) -> None:
        """Add the hypothesis, one for all rows or one per row."""
        self._optional("hypothesis", np.array([map_hypothesis], np.int64), ["h"])
        self._node("Expand", ["hypothesis", _ROWS], "conditioning/hypothesis")

    def encoded(self, output: str) -> None:
        """Add the input `action`, as networks take actions."""
        kind = self._spec.actions
        dtype = TensorProto.INT64 if kind.discrete else TensorProto.FLOAT
        self._inputs.append(helper.make_tensor_value_info("action", dtype, ["n", *kind.shape]))
        self._node("Reshape", ["action", self._shape("action_shape", kind.n_components)], "components")
        if not kind.discrete:
            self._encode_numbers(output)
            return
        self._node("Sub", ["components", self._constant("lowest", kind.lowest.reshape(-1))], "chosen")
        one_hot = []
        for i, n in enumerate(kind.choices):
            self._node("Gather", ["chosen", self._constant(f"at_{i}", np.array(i))], f"chosen_{i}", axis=1)
            self._node("Gather", [self._constant(f"rows_{i}", np.eye(n, dtype=np.float32)), f"chosen_{i}"], f"hot_{i}")
            one_hot.append(f"hot_{i}")
        self._node("Concat", one_hot, output, axis=1)

    def difference(self, one: str, other: str, output: str) -> None:
        """Add one vector minus another."""
        self._node("Sub", [one, other], output)

    def _encode_numbers(self, output: str) -> None:
        """Add what `Units.encode_actions` does with numbers; in double precision, as there."""
        if not self._units.actions:
            self._node("Identity", ["components"], output)
            return
        divisors = np.where(self._units.sizes == 0, np.inf, self._units.sizes)
        self._node("Cast", ["components"], "exact", to=TensorProto.DOUBLE)
        self._node("Sub", ["exact", self._constant("offsets", self._units.offsets)], "moved")
        self._node("Div", ["moved", self._constant("sizes", divisors)], "sized")
        self._node("Cast", ["sized"], output, to=TensorProto.FLOAT)

    def effects(self, found: str, size: int) -> None:
        """Add the output `effects`."""
        self._node("Identity", [found], "effects")
        self._outputs.append(helper.make_tensor_value_info("effects", TensorProto.FLOAT, ["n", size]))

    def decoded(self, actions: str) -> None:
        """Add the output `action`: what the network gives, within the action space and in its shape."""
        kind, dtype = self._spec.actions, TensorProto.INT64 if self._spec.discrete else TensorProto.FLOAT
        if self._units.actions:
            actions = self._in_their_units(actions)
        if kind.shape not in {(), (kind.n_components,)}:
            sizes = self._constant("action_sizes", np.array(kind.shape, np.int64))
            self._node("Concat", [_ROWS, sizes], "action_shape", axis=0)
            self._node("Reshape", [actions, "action_shape"], "in_shape")
            actions = "in_shape"
        if kind.discrete:
            self._node("Add", [actions, self._constant("start", kind.lowest)], "action")
        else:
            low, high = (np.asarray(bound, np.float32) for bound in (kind.space.low, kind.space.high))
            self._node("Max", [actions, self._constant("low", low)], "above")
            self._node("Min", ["above", self._constant("high", high)], "action")
        self._outputs.append(helper.make_tensor_value_info("action", dtype, ["n", *kind.shape]))

    def graph(self, name: str, inside: onnx.GraphProto) -> onnx.GraphProto:
        """Return the whole graph."""
        constants = [*self._constants, *inside.initializer]
        return helper.make_graph(self.nodes, name, self._inputs, self._outputs, constants)

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
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))


def _embed(graph: bytes, weights: Weights, name: str) -> onnx.ModelProto:
    """Return a graph with embedded weights and `name/` before all names. Raises DecodeError, KeyError, ValueError."""
    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.external_data:
            value = np.array(weights[tensor.name]).reshape(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    del model.graph.value_info[:]
    return compose.add_prefix(model, f"{name}/", inplace=True)


def _model(graph: onnx.GraphProto, inside: onnx.ModelProto) -> bytes:
    model = helper.make_model(graph, opset_imports=inside.opset_import, producer_name="watch-try-learn")
    model.ir_version = inside.ir_version
    return model.SerializeToString(deterministic=True)


def _inputs_of(name: str, spec: Spec) -> list[tuple[str, list[str | int]]]:
    """The input of each part, and its shape."""
    return [(f"{name}.{part.name}" if part.name else name, ["n", *part.shape]) for part in spec.parts]


def _observations(name: str, spec: Spec) -> list[dict[str, Any]]:
    dtypes = [part.dtype.name for part in spec.parts]
    named = zip(_inputs_of(name, spec), dtypes, strict=True)
    return [{"name": one, "dtype": dtype, "shape": shape} for (one, shape), dtype in named]


def _action(spec: Spec) -> dict[str, Any]:
    return {"name": "action", "dtype": "int64" if spec.discrete else "float32", "shape": ["n", *spec.actions.shape]}
