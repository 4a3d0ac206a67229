"""Inference off the event loop: models in one of two runtimes, micro-batches across sessions, a memory of contexts.

Does not know HTTP, storage or where models come from. torch lives in `torch_runtime`, ONNX Runtime in `onnx_runtime`.
"""

from service.engine.batching import Engine, Judge
from service.engine.beliefs import Understood
from service.engine.choice import factory_of
from service.engine.jobs import Acted
from service.engine.onnx_runtime import OnnxRuntime
from service.engine.runtime import Runtime, RuntimeFactory
from service.engine.torch_runtime import TorchRuntime

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
