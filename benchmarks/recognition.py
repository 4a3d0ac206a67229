"""The cost of a recognition: 100 candidates x 200 steps, in either runtime and over HTTP.

python -m benchmarks.recognition [--candidates 100] [--steps 200]

Prints processor time, which does not depend on what else the machine does, and wall time. Candidates are adaptations of
`reach` to demonstrations of as many tasks; the 200 steps are several of its episodes, as in a log.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from metalearn.adapter import ActionHeads
from metalearn.bundle import Bundle
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.recognition import Candidates, RecognitionCalibration, evidence_of_each, recognise
from metalearn.tasks.family import tasks_of
from metalearn.tasks.registry import find_family
from metalearn.tasks.rollout import demonstrate
from service.app import create_app
from service.client import Client
from service.inference import OnnxRuntime, Runtime, TorchRuntime
from service.recognitions.service import PIECE_ROWS
from service.registry.model_cache import Model, units_of
from service.settings import SHIPPED_MODELS, RuntimeName, Settings

REPEATS = 15


def log_of(n_steps: int) -> list[Episode]:
    """Episodes of reach's expert with so many steps together."""
    family = find_family("reach-m2")
    found: list[Episode] = []
    for number, index in enumerate(tasks_of(family, "test", n_steps, 1)):
        left = n_steps - sum(map(len, found))
        if left <= 0:
            break
        episode = demonstrate(family, [index], [number], "trial").episodes[0]
        assert episode.actions is not None
        n = min(left, len(episode))
        found.append(Episode(episode.observations[: n + 1], episode.actions[:n]))
    return found


def timed(what: str, run: Callable[[], object]) -> None:
    """Print the median and the best of some runs."""
    run()
    wall, cpu = [], []
    for _ in range(REPEATS):
        started, used = time.perf_counter(), time.process_time()
        run()
        wall.append(1e3 * (time.perf_counter() - started))
        cpu.append(1e3 * (time.process_time() - used))
    print(
        f"{what}: processor time {np.median(cpu):.0f} ms (best {min(cpu):.0f}), "
        f"wall time {np.median(wall):.0f} ms (best {min(wall):.0f})"
    )


def in_process(bundle: Bundle, runtime: Runtime, contexts: list[Context], episodes: list[Episode]) -> None:
    """Everything but beliefs, which are in memory for adaptations in use."""
    candidates = Candidates.of([[belief] for belief in runtime.infer_belief(contexts)])
    units, known = units_of(Model("reach", 1, bundle, runtime)), RecognitionCalibration.of(bundle)

    seen = np.concatenate([*(one.observations[:-1] for one in episodes), episodes[-1].observations[-1:]])
    done = np.concatenate([one.actions for one in episodes if one.actions is not None])
    size = max(1, PIECE_ROWS // len(done))

    def run() -> None:
        parts = [
            runtime.heads(candidates.latents[i : i + size], candidates.hypotheses[i : i + size], seen, done)
            for i in range(0, len(candidates.owner), size)
        ]
        heads = ActionHeads(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("out", "log_sigma")))
        recognise(evidence_of_each(heads, candidates, episodes, units, known.scale), known.scale)

    timed(f"{type(runtime).__name__}, {len(candidates.owner)} policies", run)


def over_http(contexts: list[Context], episodes: list[Episode], runtime: RuntimeName) -> None:
    """A request to the application, without sockets: msgpack, adaptations in memory, and the answer with all scores."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data=Path(folder), runtime=runtime))
        with TestClient(app, base_url="http://127.0.0.1") as http:
            client = Client(http=http, retries=0)
            adaptations = [client.adapt("reach", context.demos) for context in contexts]
            timed(f"POST /v1/recognitions, {runtime}", lambda: client.recognise(episodes, adaptations))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    family = find_family("reach-m2")
    indices = tasks_of(family, "test", options.candidates, 0)
    demos = demonstrate(family, indices, list(range(len(indices))), "demo").episodes
    contexts, episodes = [Context((demo,)) for demo in demos], log_of(options.steps)
    print(f"{len(contexts)} candidates x {sum(map(len, episodes))} steps in {len(episodes)} episodes")
    bundle = Bundle.load(SHIPPED_MODELS / "reach")
    for load in (TorchRuntime.load, OnnxRuntime.load):
        in_process(bundle, load(bundle), contexts, episodes)
    served: tuple[RuntimeName, ...] = ("torch", "onnx")
    for runtime in served:
        over_http(contexts, episodes, runtime)


if __name__ == "__main__":
    main()
