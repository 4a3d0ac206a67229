"""Acting over WebSocket with one picture a step, beside the same model in a loop and beside a server without one.

python -m benchmarks.serving.pictures [--steps 1000]

The three are taken in turns. The server without a model is the limit: it takes in the same frames with the same
libraries, and answers with the same number of bytes.
"""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from websockets.sync.client import ClientConnection, connect

from benchmarks.serve import Server
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.spec import Spec
from metalearn.model.export import with_graphs
from metalearn.model.policy import ConditionalPolicy
from service.client import Client
from service.codecs import decode_msgpack, encode_msgpack
from service.inference import OnnxRuntime

SIDE = 64
CAMERA = spaces.Dict(arm=spaces.Box(-1, 1, (4,), np.float32), camera=spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8))


def bundle() -> Bundle:
    """An untrained model that sees a picture of 64 x 64 pixels and an arm."""
    spec, config = Spec(CAMERA, spaces.Box(-1, 1, (3,), np.float32), 1_000_000, 20.0), ModelConfig()
    weights = ConditionalPolicy(config, spec).to_weights()
    return with_graphs(Bundle("camera", spec, config.model_dump(mode="json"), weights))


def measure(n_steps: int) -> dict[str, float]:
    """Median milliseconds of a step in a loop, of a frame without a model, and of one with it."""
    model, rng = bundle(), np.random.default_rng(0)
    episode = model.spec.example_episode(rng, 100)
    spent: dict[str, list[float]] = {"loop": [], "without_model": [], "websocket": []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model.save(Path(folder) / "models" / "camera")
        ours, echo = (Server(kind, Path(folder), "onnx") for kind in ("service", "echo"))
        for server in (ours, echo):
            stack.callback(server.process.wait)
            stack.callback(server.process.terminate)
        adaptation = Client(ours.url).adapt("camera", [model.spec.example_episode(rng, 5)])
        runtime = OnnxRuntime.load(model)
        (belief,) = runtime.infer_belief([adaptation.episodes()])
        conditioning = runtime.conditioning(belief, belief.map_hypothesis)[None]
        streams = {
            "websocket": _stream(stack, f"{ours.url}/v1/adaptations/{adaptation.id}/stream"),
            "without_model": _stream(stack, f"{echo.url}/stream"),
        }
        for i in range(n_steps):
            observation = episode.observations[i % 100 : i % 100 + 1]
            for name, times in spent.items():
                began_s = time.perf_counter()
                if name == "loop":
                    runtime.act(conditioning, observation)
                else:
                    _ask(streams[name], observation)
                times.append(1e3 * (time.perf_counter() - began_s))
    return {name: float(np.median(times)) for name, times in spent.items()}


def _stream(stack: ExitStack, address: str) -> ClientConnection:
    stream = stack.enter_context(connect(address.replace("http", "ws"), max_size=None, compression=None))
    stream.recv()
    return stream


def _ask(stream: ClientConnection, observation: np.ndarray) -> Any:
    names = observation.dtype.names or ()
    stream.send(encode_msgpack({name: observation[name][0] for name in names}))
    return decode_msgpack(stream.recv(), 1000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    found = {f"{name}_ms": round(ms, 3) for name, ms in measure(parser.parse_args().steps).items()}
    beside = found["loop_ms"] + found["without_model_ms"]
    found["times_the_loop"] = round(found["websocket_ms"] / found["loop_ms"], 2)
    found["times_loop_and_frame"] = round(found["websocket_ms"] / beside, 2)
    print(json.dumps(found))
