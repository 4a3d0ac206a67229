"""The choice of the runtime: the one of the settings, or the one that is installed."""

from importlib.util import find_spec

from metalearn.data.extras import not_installed
from service.inference.onnx_runtime import OnnxRuntime
from service.inference.runtime import RuntimeFactory
from service.inference.torch_runtime import TorchRuntime
from service.settings import RuntimeName


def factory_of(name: RuntimeName) -> RuntimeFactory:
    """Return the loader of bundles; `auto` is torch if it is installed, else ONNX Runtime. Raises InvalidConfig."""
    installed = {"torch": find_spec("torch") is not None, "onnx": find_spec("onnxruntime") is not None}
    chosen = name if name != "auto" else "torch" if installed["torch"] else "onnx"
    if not installed[chosen]:
        raise not_installed("torch" if chosen == "torch" else "onnxruntime", f"runtime {chosen}")
    return TorchRuntime.load if chosen == "torch" else OnnxRuntime.load
