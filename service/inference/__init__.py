"""Inference off the event loop: two runtimes, micro-batches across callers, a cache of adapted policies.

Does not know HTTP, storage or where models come from. torch lives in `torch_runtime`, ONNX Runtime in `onnx_runtime`.
"""

from service.inference.belief_cache import AdaptedPolicy
from service.inference.engine import Engine, Estimator
from service.inference.onnx_runtime import OnnxRuntime
from service.inference.requests import ActResult
from service.inference.runtime import Runtime, RuntimeFactory
from service.inference.runtime_factory import factory_of
from service.inference.torch_runtime import TorchRuntime

__all__ = [
    "ActResult",
    "AdaptedPolicy",
    "Engine",
    "Estimator",
    "OnnxRuntime",
    "Runtime",
    "RuntimeFactory",
    "TorchRuntime",
    "factory_of",
]
