"""A real server in a process of its own, which a test may kill, and the page of `wtl play` on it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
import uvicorn
from own_task import Doors
from support import pointing
from support.bundles import reach_ask
from support.serving import running, served
from websockets.sync.client import connect
from websockets.typing import Origin

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.config import ModelConfig
from metalearn.data.context import Context
from metalearn.model.export import with_graphs
from metalearn.model.policy import ConditionalPolicy
from metalearn.tasks.registry import find_family
from service.app import create_app
from service.settings import SHIPPED_MODELS, Settings
from wtl.play.launch import Wanted, application

ROOT = Path(__file__).parents[2]


class ServerProcess:
    """`wtl serve` with some models, always at the same port."""

    def __init__(self, models: Path, data: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._models, self._data = models, data
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "wtl.cli", "serve", "--port", str(self._port)]
        command += ["--models", str(self._models), "--data", str(self._data)]
        environment = os.environ | {"WTL_RUNTIME": "onnx"}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").is_success:
                    return
            assert self._process.poll() is None, "the server has ended"
            time.sleep(0.1)
        raise TimeoutError

    def kill(self) -> None:
        """As `kill -9` does it."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)


def models_in(folder: Path) -> Path:
    """Models that ship, by links, and with random weights one of `examples/own_task.py`, and one that can be asked."""
    folder.mkdir()
    for name in ("reach", "key-to-door", "push"):
        (folder / name).symlink_to(SHIPPED_MODELS / name)
    reach_ask().save(folder / "reach-ask")
    model = ModelConfig(n_hypotheses=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = ConditionalPolicy(model, Doors.spec).to_weights()
    with_graphs(Bundle("doors", Doors.spec, model.model_dump(mode="json"), weights)).save(folder / "doors")
    return folder


class _SureRuntime(pointing.PointingRuntime):
    """A goal that is asked for leaves nothing open."""

    def _infer_belief(self, context: Context) -> Belief:
        found = super()._infer_belief(context)
        sure = np.array([1, 0], np.float32)
        return replace(found, probabilities=sure) if "goal" in context.ask.kinds else found


@contextlib.contextmanager
def pointing_server(folder: Path) -> Iterator[str]:
    """A server whose one model, `points`, goes straight to the goal that it is asked for, in reach-m2."""
    made_of = {"experiment": {"family": "reach-m2"}}
    model = replace(pointing.asked("points"), spec=find_family("reach-m2").spec, provenance=made_of)
    model.save(folder / "models" / "points")
    settings = Settings(data=folder / "data", models=folder / "models")
    with served(create_app(settings, runtime_factory=_SureRuntime), settings) as url:
        yield url


@contextlib.contextmanager
def played(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """The address of the page, served on loopback, and its token."""
    with (
        application(wanted) as (app, token),
        running(uvicorn.Config(app, log_level="warning", ws="websockets-sansio")) as url,
    ):
        yield url, token


def dial(url: str, token: str | None, page: str, origin: str | None = None) -> Any:
    """A WebSocket with the cookie of a browser that has opened the page."""
    cookie = {"Cookie": f"wtl_play_{url.rpartition(':')[2]}={token}"} if token else None
    own = Origin(url if origin is None else origin) if origin != "" else None
    return connect(f"{url.replace('http', 'ws')}/socket?page={page}", origin=own, additional_headers=cookie, proxy=None)
