"""The policy as ONNX graphs: contexts to beliefs, beliefs to conditioning, and that with observations to actions.

The graphs hold no weights: they refer to `weights.safetensors` beside them, tensor by tensor. Needs torch and onnx;
what is written here is run without torch (`service.inference.onnx_runtime`).
"""

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import onnx
import torch
from onnx.external_data_helper import set_external_data
from torch import Tensor, nn
from torch.onnx.utils import register_custom_op_symbolic

from metalearn.bundle import Bundle, Graphs
from metalearn.config import ModelConfig
from metalearn.data.asks import NOTHING, features_of
from metalearn.data.errors import InvalidConfig
from metalearn.data.frames import gather
from metalearn.data.parts import observation_vectors
from metalearn.data.spec import Spec
from metalearn.data.units import Units
from metalearn.model.dynamics import Dynamics
from metalearn.model.encoder import EpisodeTensors
from metalearn.model.policy import ConditionalPolicy

OPSET = 17
ROLES = ("demos", "trials")
ASKS, SEARCHED = "asks", ("success", "worth")
FIELDS = tuple(field.name for field in fields(EpisodeTensors))
_WEIGHTS = "weights.safetensors"


class _Belief(nn.Module):
    """Plain tensors in, as ONNX wants it: the fields of the demos, then those of the trials, then asks, if any."""

    def __init__(self, policy: ConditionalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        n = len(FIELDS)
        demos, trials = EpisodeTensors(*tensors[:n]), EpisodeTensors(*tensors[n : 2 * n])
        asks = tensors[-1] if len(tensors) > 2 * n else demos.success[:, :0]
        if self.policy.search is not None:
            return self.policy.plan(demos, trials, asks)
        latent, log_prior = self.policy.infer_belief(demos, trials, asks)
        return latent, log_prior.exp()


class _Conditioning(nn.Module):
    def __init__(self, policy: ConditionalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, latent: Tensor, hypothesis: Tensor) -> Tensor:
        return self.policy.conditioning(latent, hypothesis)


class _Remember(nn.Module):
    def __init__(self, policy: ConditionalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observations: Tensor, changes: Tensor, actions: Tensor) -> Tensor:
        return self.policy.remember(observations, changes, actions)


class _Act(nn.Module):
    def __init__(self, policy: ConditionalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, conditioning: Tensor, observations: Tensor) -> Tensor:
        return self.policy.act(conditioning, observations)


class _Heads(nn.Module):
    """Without sums where nothing is remembered: a graph has no input that it does not use."""

    def __init__(self, policy: ConditionalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(
        self, latent: Tensor, hypothesis: Tensor, observations: Tensor, sums: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        nothing = observations[:, :0]
        return self.policy.heads(latent, hypothesis, observations, nothing if sums is None else sums)


def with_graphs(bundle: Bundle) -> Bundle:
    """The same bundle (the same id), that also runs where there is no torch."""
    return bundle.with_graphs(graphs_of(bundle))


def check_exportable(config: ModelConfig, spec: Spec) -> None:
    """Export an untrained policy: what cannot be exported is known before it is trained. Raises InvalidConfig."""
    policy = ConditionalPolicy(config, spec)
    try:
        graphs_of(Bundle("untrained", spec, config.model_dump(mode="json"), policy.to_weights()))
    except InvalidConfig:
        raise
    except Exception as error:  # torch raises whatever its operators raise
        sentence = " ".join(str(error).split())[:200]
        raise InvalidConfig(f"a policy for these spaces cannot be exported: {sentence}") from error


def graphs_of(bundle: Bundle) -> Graphs:
    """The graphs of a bundle, as ONNX without weights; `remember` only if it adapts online."""
    config = ModelConfig.model_validate(bundle.model)
    policy = ConditionalPolicy.from_weights(config, bundle.spec, bundle.weights)
    layout = _layout(bundle.encoded_weights)
    episodes = _episodes(config, bundle.spec)
    with torch.no_grad():
        latent = _Belief(policy)(*episodes)[0]
        hypothesis = torch.zeros(len(latent), dtype=torch.long)
        conditioning = _Conditioning(policy)(latent, hypothesis)
    seen = bundle.spec.example_episode(np.random.default_rng(0)).observations
    observations = torch.from_numpy(observation_vectors(np.resize(seen, (len(latent), *seen.shape[1:]))))
    graphs = {
        "belief": _export(_Belief(policy), episodes, _belief_axes(config), layout),
        "conditioning": _export(_Conditioning(policy), (latent, hypothesis), _CONDITIONING, layout),
        "act": _export(_Act(policy), (conditioning, observations), _ACT, layout),
    }
    # As many observations as policies would be taken for one axis.
    watched = observations.repeat(2, 1)
    heads = (latent, hypothesis, watched, *([torch.randn(len(watched), policy.n_sums)] if policy.n_sums else []))
    graphs["heads"] = _export(_Heads(policy), heads, _heads_axes(len(heads)), layout)
    if policy.n_sums:
        step = observations, observations.flip(0) - observations, torch.randn(len(latent), bundle.spec.action_size)
        graphs["remember"] = _export(_Remember(policy), step, _REMEMBER, layout)
    return graphs


_BELIEF: dict[str, dict[int, str]] = {
    **{f"{role}.{name}": {0: "b", 1: f"n_{role}"} for role in ROLES for name in FIELDS},
    ASKS: {0: "b"},
    "latent": {0: "b"},
    "probabilities": {0: "b"},
    **{name: {0: "b"} for name in SEARCHED},
}
_CONDITIONING: dict[str, dict[int, str]] = {name: {0: "b"} for name in ("latent", "hypothesis", "conditioning")}
_ACT: dict[str, dict[int, str]] = {name: {0: "b"} for name in ("conditioning", "observations", "actions")}
_HEADS: dict[str, dict[int, str]] = {
    "latent": {0: "m"}, "hypothesis": {0: "m"}, "observations": {0: "t"}, "sums": {0: "t"},
    "out": {0: "m", 1: "t"}, "log_deviation": {0: "m"},
}  # fmt: skip
_REMEMBER: dict[str, dict[int, str]] = {name: {0: "n"} for name in ("observations", "changes", "actions", "sums")}


def _belief_axes(config: ModelConfig) -> dict[str, dict[int, str]]:
    absent = {ASKS} if not config.ask_offers else set()
    absent |= set() if config.search else set(SEARCHED)
    return {name: axes for name, axes in _BELIEF.items() if name not in absent}


def _heads_axes(n_inputs: int) -> dict[str, dict[int, str]]:
    return {name: axes for name, axes in _HEADS.items() if name != "sums" or n_inputs == 4}


def _episodes(config: ModelConfig, spec: Spec) -> tuple[Tensor, ...]:
    # More than one of everything: an axis of length one would be taken for a constant.
    rng = np.random.default_rng(0)
    effects, means = config.dynamics_rank > 0, config.frame_means
    tensors: list[Tensor] = []
    for k in (2, 4):
        shown = [[spec.example_episode(rng) for _ in range(k)] for _ in range(3)]
        arrays = gather(shown, config.n_frames, Units(spec), effects=effects, means=means)
        tensors += [torch.from_numpy(arrays[name]) for name in FIELDS]
    if config.ask_offers:
        tensors.append(torch.from_numpy(features_of([NOTHING] * 3, config.ask_offers)))
    return tuple(tensors)


def _export(module: nn.Module, inputs: tuple[Tensor, ...], axes: dict[str, dict[int, str]], layout: "_Layout") -> bytes:
    names, written = list(axes), io.BytesIO()
    custom = {"com.microsoft": 1} if any(isinstance(part, Dynamics) for part in module.modules()) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is announced to go
        register_custom_op_symbolic("aten::linalg_inv", _inverse, OPSET)
        torch.onnx.export(
            module.eval(),
            inputs,
            written,  # type: ignore[arg-type]  # it takes any file
            input_names=names[: len(inputs)],
            output_names=names[len(inputs) :],
            dynamic_axes=axes,
            opset_version=OPSET,
            custom_opsets=custom,
            do_constant_folding=False,  # folded weights would no longer be those in the file
            dynamo=False,
        )
    model = onnx.load_from_string(written.getvalue())
    for tensor in model.graph.initializer:
        name = tensor.name.removeprefix("policy.")
        start, end = layout.get(name, (0, -1))
        if len(tensor.raw_data) == end - start:  # weights that were of another shape are kept in the graph
            _rename(model, tensor.name, name)
            tensor.raw_data = tensor.raw_data or b"\0"  # the helper wants to see some
            set_external_data(tensor, _WEIGHTS, start, end - start)
            tensor.ClearField("raw_data")
    return model.SerializeToString(deterministic=True)


def _inverse(graph: Any, matrix: Any) -> Any:
    """ONNX has no inverse of its own; ONNX Runtime has."""
    return graph.op("com.microsoft::Inverse", matrix).setType(matrix.type())


_Layout = Mapping[str, tuple[int, int]]


def _layout(encoded: bytes) -> _Layout:
    """Where each tensor begins and ends in a safetensors file: 8 bytes of length, a JSON header, the data."""
    size = int.from_bytes(encoded[:8], "little")
    header = json.loads(encoded[8 : 8 + size])
    header.pop("__metadata__", None)
    return {name: (8 + size + entry["data_offsets"][0], 8 + size + entry["data_offsets"][1])
            for name, entry in header.items()}  # fmt: skip


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new
    for tensor in model.graph.initializer:
        if tensor.name == old:
            tensor.name = new
