"""Acting over WebSocket with one picture a step, beside the same model in a loop of this process.

python benchmarks/serving/pictures.py [--steps 300]
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from websockets.sync.client import connect

from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.spec import Spec
from metalearn.model.export import with_graphs
from metalearn.model.policy import ConditionalPolicy
from service.app import create_app
from service.client import Client
from service.codecs import decode_msgpack, encode_msgpack
from service.inference import OnnxRuntime
from service.settings import Settings

SIDE = 64
CAMERA = spaces.Dict(arm=spaces.Box(-1, 1, (4,), np.float32), camera=spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8))


def bundle() -> Bundle:
    """An untrained model that sees a picture of 64 x 64 pixels and an arm."""
    spec, config = Spec(CAMERA, spaces.Box(-1, 1, (3,), np.float32), 10_000, 20.0), ModelConfig()
    weights = ConditionalPolicy(config, spec).to_weights()
    return with_graphs(Bundle("camera", spec, config.model_dump(mode="json"), weights))


def measure(n_steps: int) -> dict[str, float]:
    """Median milliseconds of a step in a loop and over WebSocket, taken in turns."""
    from support.serving import served  # a server as `wtl serve` runs it

    model, rng, spent = bundle(), np.random.default_rng(0), {"loop": [], "websocket": []}
    episode = model.spec.example_episode(rng, n_steps)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "models" / "camera")
        settings = Settings(data=Path(folder) / "data", models=Path(folder) / "models", runtime="onnx")
        runtime = OnnxRuntime.load(model)
        with served(create_app(settings), settings) as url:
            shown = [model.spec.example_episode(rng, 5)]
            adaptation = Client(url).adapt("camera", shown)
            (belief,) = runtime.infer_belief([adaptation.episodes()])
            conditioning = runtime.conditioning(belief, belief.map_hypothesis)[None]
            address = url.replace("http", "ws") + f"/v1/adaptations/{adaptation.id}/stream"
            with connect(address, max_size=None, compression=None) as stream:
                decode_msgpack(stream.recv(), 1000)
                for i in range(n_steps):
                    for name, step in (("loop", _in_loop), ("websocket", _over_socket)):
                        began_s = time.perf_counter()
                        step(stream, runtime, conditioning, episode.observations[i : i + 1])
                        spent[name].append(1e3 * (time.perf_counter() - began_s))
    return {name: float(np.median(times)) for name, times in spent.items()}


def _in_loop(stream: Any, runtime: OnnxRuntime, conditioning: np.ndarray, observation: np.ndarray) -> None:
    runtime.act(conditioning, observation)


def _over_socket(stream: Any, runtime: OnnxRuntime, conditioning: np.ndarray, observation: np.ndarray) -> None:
    names = observation.dtype.names or ()
    stream.send(encode_msgpack({name: observation[name][0] for name in names}))
    decode_msgpack(stream.recv(), 1000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    found = measure(parser.parse_args().steps)
    print({name: round(ms, 3) for name, ms in found.items()}, "ratio", round(found["websocket"] / found["loop"], 2))
