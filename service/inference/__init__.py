"""Inference: two runtimes, micro-batches across callers, and a cache of adapted policies.

Everything that computes with a loaded model belongs here; HTTP, storage and the choice of a model do not. Only
`torch_runtime` imports torch, only `onnx_runtime` ONNX Runtime.
"""

from service.inference.belief_cache import AdaptedPolicy
from service.inference.engine import Engine, Estimator
from service.inference.onnx_runtime import OnnxRuntime
from service.inference.requests import ActResult
from service.inference.runtime import NoHeads, Runtime, RuntimeFactory
from service.inference.runtime_factory import factory_of
from service.inference.torch_runtime import TorchRuntime

__all__ = [
    "ActResult",
    "AdaptedPolicy",
    "Engine",
    "Estimator",
    "NoHeads",
    "OnnxRuntime",
    "Runtime",
    "RuntimeFactory",
    "TorchRuntime",
    "factory_of",
]
