"""Inference off the event loop: models in one of two runtimes, micro-batches across sessions, a memory of contexts.

Does not know HTTP, storage or where models come from. torch lives in `torch_runtime`, ONNX Runtime in `onnx_runtime`.
"""

from service.inference.belief_cache import Understood
from service.inference.engine import Engine, Judge
from service.inference.onnx_runtime import OnnxRuntime
from service.inference.requests import Acted
from service.inference.runtime import Runtime, RuntimeFactory
from service.inference.runtime_factory import factory_of
from service.inference.torch_runtime import TorchRuntime

__all__ = [
    "Acted",
    "Engine",
    "Judge",
    "OnnxRuntime",
    "Runtime",
    "RuntimeFactory",
    "TorchRuntime",
    "Understood",
    "factory_of",
]
