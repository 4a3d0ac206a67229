"""An exported adaptation without the service and without this package: numpy and ONNX Runtime.

wtl export-adaptation ID --out task.zip
python examples/standalone_policy.py task.zip
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Policy:
    """An exported policy, which remembers the steps of an episode if its model adapts within episodes.

    `act(observations)` takes `[n, ...o]`, or a mapping of such arrays for observations with parts;
    `hypothesis=` takes another hypothesis than the most probable one. `reset()` begins the next episode.
    """

    def __init__(self, path: str | Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.manifest = json.loads(archive.read("manifest.json"))
            self._policy = _session(archive.read("policy.onnx"))
            self._remember = _session(archive.read("remember.onnx")) if "remember" in self.manifest else None
        self.reset()

    def reset(self) -> None:
        """Forget the steps so far."""
        self._effects, self._last = None, None

    def act(self, observations: Any, **optional: np.ndarray) -> np.ndarray:
        """The actions for n observations, which are taken to follow the n of the call before."""
        inputs = self._named("observation", self.manifest["policy"], observations)
        if self._remember is not None:
            if self._last is not None:
                now = self._named("next_observation", self.manifest["remember"], observations)
                (added,) = self._remember.run(["effects"], self._last | now)
                self._effects = added if self._effects is None else self._effects + added
            optional |= {} if self._effects is None else {"effects": self._effects}
        actions = self._policy.run(["action"], inputs | optional)[0]
        self._last = inputs | {"action": actions}
        return actions

    def _named(self, name: str, signature: dict, observations: Any) -> dict[str, np.ndarray]:
        """The observations as inputs: `observation`, or one for each part, as `observation.camera`."""
        parts = observations if isinstance(observations, dict) else {"": observations}
        given = {f"{name}.{part}" if part else name: value for part, value in parts.items()}
        dtypes = {one["name"]: one["dtype"] for one in signature["inputs"]}
        return {one: np.asarray(value, dtypes[one]) for one, value in given.items()}


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3  # it is small, and it has inputs with defaults
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    policy = Policy(sys.argv[1])
    about = policy.manifest
    print(
        f"{about['model']}@{about['model_version']}, version {about['version']}, hypothesis {about['map_hypothesis']}"
    )
    zeros = {
        one["name"].removeprefix("observation.").removeprefix("observation"): np.zeros((1, *one["shape"][1:]))
        for one in about["policy"]["inputs"]
        if one["name"].startswith("observation")
    }
    print(policy.act(zeros).tolist())
