"""Acting over a WebSocket with one picture a step, beside the same model in a loop and a WebSocket without a model.

    python -m benchmarks.serving.pictures                                 # both runtimes, a minute or more
    python -m benchmarks.serving.pictures --runtime onnx --blocks 20      # a look

In each block the three take so many steps in a row, or in turns, where the loop finds its caches as cold as the service
does. A block counts the lower quartile of its steps, since other programs interrupt many; a ratio is the median over
blocks, each with itself. Writes benchmarks/results/pictures.json.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from websockets.sync.client import connect

from benchmarks.serve import ROOT, Server
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.spec import Spec
from metalearn.model.export import with_graphs
from metalearn.model.policy import ConditionalPolicy
from service.client import Client
from service.codecs import decode_msgpack, encode_msgpack
from service.inference import factory_of

SIDE, HORIZON = 64, 100
CAMERA = spaces.Dict(arm=spaces.Box(-1, 1, (4,), np.float32), camera=spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8))
RUNTIMES = ("onnx", "torch")
ORDERS = ("in_a_row", "in_turns")
N_WARM = 3
ASKED = 1.3
Act = Callable[[np.ndarray], object]


def bundle() -> Bundle:
    """An untrained model that sees a picture of 64 x 64 pixels and an arm."""
    spec, config = Spec(CAMERA, spaces.Box(-1, 1, (3,), np.float32), HORIZON, 20.0), ModelConfig()
    weights = ConditionalPolicy(config, spec).to_weights()
    return with_graphs(Bundle("camera", spec, config.model_dump(mode="json"), weights))


def measure(runtime: str, n_blocks: int, n_steps: int) -> dict[str, Any]:
    """Compare the three with one runtime, in a row and in turns."""
    model, rng = bundle(), np.random.default_rng(0)
    seen = model.spec.example_episode(rng, HORIZON).observations
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model.save(Path(folder) / "models" / "camera")
        service, bare = (Server(kind, Path(folder), runtime) for kind in ("service", "bare"))
        for server in (service, bare):
            stack.callback(server.process.wait)
            stack.callback(server.process.terminate)
        client = stack.enter_context(Client(service.url, timeout_s=120))
        adaptation = client.adapt("camera", [model.spec.example_episode(rng, 5)])
        loaded = factory_of(runtime)(model)  # type: ignore[arg-type]
        (belief,) = loaded.infer_belief([adaptation.episodes()])
        conditioning = loaded.conditioning(belief, belief.map_hypothesis)[None]
        subjects: dict[str, Act] = {
            "loop": lambda observation: loaded.act(conditioning, observation),
            "echo": _stream(stack, f"{bare.url}/"),
            "service": _stream(stack, f"{service.url}/v1/adaptations/{adaptation.id}/stream?new_episode=horizon"),
        }
        found: dict[str, list[dict[str, float]]] = {order: [] for order in ORDERS}
        for i in range(N_WARM + n_blocks):
            for order, blocks in found.items():
                block = _block(subjects, seen, n_steps, order, rng)
                if i >= N_WARM:
                    blocks.append(block)
        return {order: compared(blocks, rng) for order, blocks in found.items()}


def compared(blocks: Sequence[Mapping[str, float]], rng: np.random.Generator) -> dict[str, Any]:
    """Medians in milliseconds, and ratios to the loop of the same block, with intervals of 95% over blocks."""
    times_ms = {name: np.array([block[name] for block in blocks]) for name in blocks[0]}
    loop, echo, service = times_ms["loop"], times_ms["echo"], times_ms["service"]
    ratios = {"service": service / loop, "loop_and_echo": (loop + echo) / loop}
    found: dict[str, Any] = {f"{name}_ms": round(float(np.median(times)), 3) for name, times in times_ms.items()}
    for name, ratio in ratios.items():
        medians = np.median(rng.choice(ratio, (1000, len(ratio))), 1)
        low, high = np.quantile(medians, (0.025, 0.975))
        found[f"{name}_times_the_loop"] = [round(float(one), 2) for one in (np.median(ratio), low, high)]
    return found


def told(found: Mapping[str, Any]) -> str:
    """Return a line for a person."""
    times = "  ".join(f"{name} {found[f'{name}_ms']:.3f} ms" for name in ("loop", "echo", "service"))
    ratio, low, high = found["service_times_the_loop"]
    limit = found["loop_and_echo_times_the_loop"][0]
    return f"{times}: {ratio:.2f} ({low:.2f}..{high:.2f}) times the loop, {ASKED} asked, {limit:.2f} loop and echo"


def _block(
    subjects: Mapping[str, Act], seen: np.ndarray, n_steps: int, order: str, rng: np.random.Generator
) -> dict[str, float]:
    """The lower quartile, in milliseconds, of the steps of each subject in one block."""
    names = [str(name) for name in rng.permutation(list(subjects))]
    in_a_row = [(name, i) for name in names for i in range(n_steps)]
    steps_ms: dict[str, list[float]] = {name: [] for name in names}
    for name, i in in_a_row if order == "in_a_row" else sorted(in_a_row, key=lambda one: one[1]):
        began_s = time.perf_counter()
        subjects[name](seen[i : i + 1])
        steps_ms[name].append(1e3 * (time.perf_counter() - began_s))
    return {name: float(np.quantile(steps, 0.25)) for name, steps in steps_ms.items()}


def _stream(stack: ExitStack, address: str) -> Act:
    """Open a stream, with the library that openpi's clients use."""
    stream = stack.enter_context(connect(address.replace("http", "ws"), max_size=None, compression=None))
    stream.recv()

    def ask(observation: np.ndarray) -> object:
        names = observation.dtype.names or ()
        stream.send(encode_msgpack({name: observation[name][0] for name in names}))
        return decode_msgpack(stream.recv(decode=False), 1000)

    return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", choices=RUNTIMES, action="append", help="both by default")
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20, help="in a row, of each subject in each block")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "pictures.json")
    given = parser.parse_args()
    report: dict[str, Any] = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"), "python": platform.python_version(),
        "cpus": os.cpu_count(), "load": [], "blocks": given.blocks, "steps": given.steps, "asked": ASKED,
    }  # fmt: skip
    for runtime in given.runtime or RUNTIMES:
        report[runtime] = measure(runtime, given.blocks, given.steps)
        report["load"].append(round(os.getloadavg()[0], 1))
        for order, found in report[runtime].items():
            print(f"{runtime:5} {order:8}  {told(found)}", flush=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
