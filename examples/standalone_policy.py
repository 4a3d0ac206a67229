"""An exported adaptation without the service and without this package: numpy and ONNX Runtime.

wtl export-adaptation ID --out task.zip
python examples/standalone_policy.py task.zip
"""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime


def load(path: str | Path) -> tuple[dict, Callable[..., np.ndarray]]:
    """The manifest, and observations `[n, ...o]` to actions; `hypothesis=` takes another than the most probable."""
    with zipfile.ZipFile(path) as archive:
        manifest, graph = json.loads(archive.read("manifest.json")), archive.read("policy.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3  # it is small, and it has inputs with defaults
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    dtype = manifest["policy"]["inputs"][0]["dtype"]

    def act(observations: np.ndarray, **optional: np.ndarray) -> np.ndarray:
        return session.run(["action"], {"observation": np.asarray(observations, dtype), **optional})[0]

    return manifest, act


if __name__ == "__main__":
    about, policy = load(sys.argv[1])
    shape = about["spec"]["observation_space"]["shape"]
    print(
        f"{about['model']}@{about['model_version']}, version {about['version']}, hypothesis {about['map_hypothesis']}"
    )
    print(policy(np.zeros((1, *shape))).tolist())
