"""`wtl demo`: train from scratch, serve, and adapt to test tasks as any REST client would.

The success that it reports is that of the actions that the service answered. Knows how the parts are used, not how
they work.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import gymnasium as gym
import httpx
import numpy as np
from rich.console import Console

from metalearn.adapter import Adapter
from metalearn.bundle import Bundle
from metalearn.data.episode import Episode
from metalearn.data.errors import WatchTryLearnError
from metalearn.evaluation.evaluate import MAIN_METHOD, choose_stories, evaluate, method_report
from metalearn.evaluation.manifest import Manifest, load_manifest
from metalearn.evaluation.plots import draw_report
from metalearn.evaluation.protocol import ATTEMPTS, Progress, Protocol, succeeded
from metalearn.evaluation.report import Report
from metalearn.evaluation.table import print_report
from metalearn.listeners.progress import show_progress
from metalearn.proxies import http_client
from metalearn.tasks.family import Family
from metalearn.tasks.registry import find_family
from service.client import Client, RecordedEpisode
from wtl.next_lines import command as next_line

EXPERIMENT = "reach-m2"
N_CLIENTS = 4  # side by side; the server gathers their requests into batches
START_TIMEOUT_S = 90.0


class DemoFailed(WatchTryLearnError):
    """The demo cannot continue; the text says where to look."""


Train = Callable[[str, Path], Path]
"""Trains a named experiment in a folder, showing its progress; returns the folder of the bundle."""

Adapters = Callable[[Bundle], Mapping[str, Adapter]]
"""The methods in a bundle, by name: the policy and the baselines that were trained with it."""


def run_demo(
    out: Path,
    *,
    train: Train,
    adapters: Adapters,
    n_tasks: int = 1000,
    seed: int = 0,
    console: Console | None = None,
) -> Report:
    """Train, serve, adapt over REST, report. Leaves the models, `report.json` and `report.png` in `out`.

    Raises:
        DemoFailed: the server did not come up.
    """
    console = console or Console()
    manifest = load_manifest(EXPERIMENT)
    family = find_family(manifest.family)
    console.rule("[bold]1. Meta-train from scratch")
    bundle, models = _train_afresh(train, out)
    console.rule("[bold]2. Serve")
    with serving(models, out / "server.log") as url:
        console.print(f"{bundle.name} is served at {url} (its documentation: {url}/docs)")
        console.rule(f"[bold]3. Adapt to {n_tasks:,} test tasks over REST: demo, trial, retrial")
        with show_progress(console) as progress:
            report, played = measure(url, bundle, adapters(bundle), family, manifest, n_tasks, seed, progress)
    console.print(
        f"The service answered {played.n_actions:,} requests for an action; the median took {played.median_ms:.1f} ms."
    )
    console.rule("[bold]4. Report")
    print_report(report, console)
    stories = choose_stories(played.indices, played.demos, played.attempts[0], played.attempts[1])
    plot = draw_report(report, out / "report.png", family, stories)
    written = report.write(out / "report.json")
    console.print(f"\nplot: {plot}\nreport: {written}\n\nWhat to type next:")
    for line, meaning in (
        (next_line("serve", "--models", models), "serve this model; http://127.0.0.1:8000/docs"),
        (next_line("evaluate", models / bundle.name, "--manifest", EXPERIMENT), "2,000 tasks, with the controls"),
        (next_line("train", "reach-m4"), "four candidates: every trial counts"),
        (next_line("play", EXPERIMENT, "--models", models, "--open"), "show it a task yourself, and watch it learn"),
    ):
        console.print(f"  {line}  # {meaning}", soft_wrap=True, highlight=False, markup=False)
    return report


def _train_afresh(train: Train, out: Path) -> tuple[Bundle, Path]:
    """Train, and save the bundle in a folder of models that `wtl serve` can load."""
    training, models = out / "training", out / "models"
    for stale in (training, models):  # of an earlier demo; training would resume from it
        shutil.rmtree(stale, ignore_errors=True)
    bundle = Bundle.load(train(EXPERIMENT, training))
    bundle.save(models / bundle.name)
    return bundle, models


@dataclass(frozen=True)
class Played:
    """The episodes that were played over REST: per task its demo, and in `attempts[t]` one episode per task."""

    indices: tuple[int, ...]
    demos: Sequence[Episode]
    attempts: Sequence[Sequence[Episode]]
    latencies_ms: Sequence[float]

    @property
    def n_actions(self) -> int:
        """The number of actions that the service was asked for."""
        return len(self.latencies_ms)

    @property
    def median_ms(self) -> float:
        """The median time of a request for an action, as the client measured it."""
        return float(np.median(self.latencies_ms))


def measure(
    url: str,
    bundle: Bundle,
    methods: Mapping[str, Adapter],
    family: Family,
    manifest: Manifest,
    n_tasks: int,
    seed: int,
    progress: Progress,
) -> tuple[Report, Played]:
    """Evaluate the served policy over REST, and the other methods in this process, on the same tasks and layouts."""
    started = time.monotonic()
    protocol = Protocol.of(family, manifest, seed=seed, n_tasks=n_tasks)
    played = play_over_rest(url, bundle.name, protocol, progress)
    others = {name: adapter for name, adapter in methods.items() if name != MAIN_METHOD}
    report = evaluate(
        others, family, manifest, seed=seed, n_tasks=n_tasks, bundle=bundle.id, progress=progress
    ).with_method(MAIN_METHOD, method_report(protocol, [succeeded(episodes) for episodes in played.attempts]))
    return report.model_copy(update={"wall_s": round(time.monotonic() - started, 3)}), played


def play_over_rest(url: str, model: str, protocol: Protocol, progress: Progress) -> Played:
    """Play every row of the protocol with its own adaptation on the server, from several clients at once."""
    rows, contexts = protocol.rows(), protocol.demonstrations()
    n_attempts = protocol.manifest.budget.trials + 1
    seeds = list(zip(*(protocol.seeds(rows, ATTEMPTS, t) for t in range(n_attempts)), strict=True))
    latencies_ms: list[float] = []
    done, lock = 0, Lock()

    def work(first: int) -> dict[int, list[Episode]]:
        nonlocal done
        played: dict[int, list[Episode]] = {}
        with Client(url) as client:
            for row in range(first, len(rows), N_CLIENTS):
                played[row], waits_ms = adapt(
                    client, model, protocol.family, rows[row][0], contexts[row].demos, seeds[row]
                )
                with lock:
                    latencies_ms.extend(waits_ms)
                    done += 1
                    progress(f"{MAIN_METHOD} (REST)", done, len(rows))
        return played

    with ThreadPoolExecutor(N_CLIENTS) as pool:
        by_row = {row: episodes for part in pool.map(work, range(N_CLIENTS)) for row, episodes in part.items()}
    attempts = [[by_row[row][t] for row in range(len(rows))] for t in range(n_attempts)]
    indices = tuple(index for index, _ in rows)
    return Played(indices, [context.demos[0] for context in contexts], attempts, latencies_ms)


def adapt(
    client: Client, model: str, family: Family, index: int, demos: Sequence[Episode], seeds: Sequence[int]
) -> tuple[list[Episode], list[float]]:
    """Adapt to one task. The server records each attempt, and adds it as a trial when it is finished."""
    attempts: list[Episode] = []
    waits_ms: list[float] = []
    adaptation = client.adapt(model, demos=list(demos))
    env = family.make(index)
    for seed in seeds:
        recorded = adaptation.episode()
        attempts.append(_attempt(recorded, env, seed, waits_ms))
        adaptation = recorded.adaptation  # the next version, which has the attempt as a trial
    env.close()
    return attempts, waits_ms


def _attempt(recorded: RecordedEpisode, env: gym.Env[Any, Any], seed: int, waits_ms: list[float]) -> Episode:
    """Play one episode with the server's actions, and append the time of each request to `waits_ms`."""
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards = [observation], [], []
    reward: float | None = None
    info: dict[str, Any] = {}
    ended = False
    while not ended:
        asked_at = time.perf_counter()
        action = recorded.act(observation, reward)
        waits_ms.append(1000 * (time.perf_counter() - asked_at))
        observation, step_reward, terminated, truncated, info = env.step(action)
        reward, ended = float(step_reward), terminated or truncated
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
    success = bool(info["success"])
    recorded.finish(observation, reward, success=success)
    return Episode.of(np.stack(observations), np.stack(actions), rewards, success)


@contextmanager
def serving(models: Path, log: Path) -> Iterator[str]:
    """Run a server with its own process, data and port while the block runs, and yield its address.

    Raises:
        DemoFailed: it ended, or was not ready in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    wtl = Path(sys.executable).with_name("wtl")
    with tempfile.TemporaryDirectory() as data, log.open("wb") as output:
        command = [str(wtl), "serve", "--port", str(port), "--data", data, "--models", str(models)]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            _wait_until_ready(server, url, log)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_until_ready(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DemoFailed(f"the server ended with exit code {server.returncode}; see the end of {log}")
        try:
            with http_client(url, timeout=5) as http:
                if http.get("/readyz").status_code == httpx.codes.OK:
                    return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise DemoFailed(f"the server was not ready within {START_TIMEOUT_S:.0f} s; see the end of {log}")
