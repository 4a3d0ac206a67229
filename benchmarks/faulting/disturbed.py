"""One training on a cluster of nodes, the kills that it has to bear, and what is known of each of them."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faulting.nodes import ENVIRONMENT, WORKERS, Cluster, kill

ROOT = Path(__file__).resolve().parents[2]
PER_RUN = 5
"""Kills in one training, if it is long enough for them."""
ALONE = "alone; another when the command has left"
HEADS = (ALONE, "with the machine of the command; another at once")
TRAINING_S, LEAVING_S = 600, 90


@dataclass
class Kill:
    """One kill: what the run was about, and for a driver that had to leave, when it left and with what words."""

    kind: str
    aim: str = ""
    stage: dict[str, Any] = field(default_factory=dict)
    at_s: float = 0
    way: str = ""
    driver_left_s: float | None = None
    driver_exit: int | None = None
    driver_said: str = ""
    going_on_s: float | None = None


class DidNotEnd(Exception):
    """A training that nothing brings to its end."""


class Run:
    """The command, started as often as it takes."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.out, self.arguments, self.starts = folder / "run", arguments, 0
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "driver.log"

    def start(self, address: str) -> None:
        self.starts += 1
        command = [sys.executable, "-m", "benchmarks.faulting.training", str(self.out), address, *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def finished(self) -> bool:
        return self.over and (self.out / "bundle" / "bundle.json").exists()

    @property
    def stage(self) -> dict[str, Any]:
        """The moment that the running process has noted."""
        path = self.out.with_suffix(".stage")
        found: dict[str, Any] = json.loads(path.read_text() or "{}") if path.exists() else {}
        mine = self.process is not None and found.pop("pid", None) == self.process.pid
        return found if mine else {"phase": "starting"}

    @property
    def going_on(self) -> bool:
        return self.stage["phase"] not in {"starting", "joining"}

    def said(self, since: int = 0) -> str:
        """The last thing that it said, after so many bytes of its log."""
        lines = self.log.read_bytes()[since:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def kill(self) -> None:
        if self.process is not None and not self.over:
            kill(self.process.pid)
            self.process.wait()


class Disturbed:
    """One training and its kills, in this order."""

    def __init__(
        self, folder: Path, arguments: list[str], plan: list[Kill], n_heads: int, rng: random.Random, gap_s: float
    ) -> None:
        folder.mkdir()
        self.run, self.plan, self.rng, self.gap_s = Run(folder, arguments), plan, rng, gap_s
        self.done, self.n_heads = list[Kill](), n_heads
        self.left: list[str] = []
        self.failure = ""
        self.began = time.monotonic()

    def __call__(self, store_bytes: int) -> dict[str, Any]:
        self.cluster = Cluster(self.run.out.parent, store_bytes)
        try:
            self.run.start(self.cluster.address)
            for kill in self.plan:
                if not self.strike(kill):
                    break
            self.wait(lambda: False)
        except DidNotEnd as error:
            self.failure = str(error)
        finally:
            self.run.kill()
            self.cluster.close()
        return ({"failure": self.failure} if self.failure else {}) | {
            "kills": [{k: v for k, v in asdict(kill).items() if v not in ("", None)} for kill in self.done],
            "starts": self.run.starts,
            "left_by_itself": self.left,
            "node_starts_refused_by_ray": self.cluster.refused,
            "wall_s": round(time.monotonic() - self.began, 1),
        }

    def wait(self, until: Callable[[], bool]) -> bool:
        """Look after the cluster and the command until then; False if the training came to its end before."""
        while not until():
            if self.run.finished:
                return False
            if self.run.over:
                self.left.append(self.clean(self.run.said()))
                if len(self.left) > PER_RUN:
                    raise DidNotEnd("the command leaves again and again")
                self.start_again()
            if time.monotonic() - self.began > TRAINING_S:
                raise DidNotEnd(f"no end within {TRAINING_S} s, at {self.run.stage}")
            self.cluster.tend()
            time.sleep(0.02)
        return True

    def start_again(self) -> None:
        for name in ("head", *WORKERS):
            self.cluster.wait_for(name)
        self.run.start(self.cluster.address)

    def strike(self, kill: Kill) -> bool:
        """Let it happen; False if the training was at its end before."""
        if not self.wait(lambda: self.run.going_on):
            return False
        instant = time.monotonic() + self.rng.uniform(0.5, self.gap_s)
        if not self.wait(lambda: time.monotonic() > instant) or not self.wait(lambda: self.ripe(kill)):
            return False
        kill.stage, kill.at_s = self.run.stage, round(time.monotonic() - self.began, 1)
        struck = time.monotonic()
        getattr(self, f"kill_{kill.kind}")(kill)
        self.done.append(kill)
        if kill.kind in {"driver", "head"} and not self.run.finished:
            self.start_again()
            self.wait(lambda: self.run.going_on)
            kill.going_on_s = round(time.monotonic() - struck, 1)
        return True

    def ripe(self, kill: Kill) -> bool:
        """Return whether the moment to kill has come, and there is a process to kill."""
        stage = self.run.stage
        if self.done and stage == self.done[-1].stage:
            return False  # what was killed last is not back at work yet
        if kill.aim == "collecting" and not stage.get("in_flight"):
            return False
        if kill.aim == "checkpoint" and stage["phase"] != "checkpoint":
            return False
        return bool(self.victims(kill.kind))

    def victims(self, kind: str) -> list[Any]:
        if kind == "actor":
            return self.cluster.titled(b"ray::_Worker")
        if kind == "learner":
            return self.cluster.titled(b"ray::RayTrainWorker")
        if kind == "node":
            return [name for name in WORKERS if self.cluster.nodes[name].up]
        return [kind]

    def kill_actor(self, one: Kill) -> None:
        kill(self.rng.choice(self.victims(one.kind)))

    kill_learner = kill_actor

    def kill_node(self, one: Kill) -> None:
        self.cluster.kill(self.rng.choice(self.victims(one.kind)))

    def kill_driver(self, one: Kill) -> None:
        self.run.kill()

    def kill_head(self, one: Kill) -> None:
        """By turns the head alone, as a command on another machine sees it, and its machine with all that is on it.

        Another head comes, at the same address, when the command has given up, or at once. Ray starts none on a
        machine where nodes of the old one run. So these go too, when the new one comes.
        """
        one.way = HEADS[self.n_heads % 2]
        self.n_heads += 1
        struck, heard = time.monotonic(), self.run.log.stat().st_size
        if one.way == ALONE:
            self.cluster.behead()
        else:
            self.cluster.kill("head")
            self.kill_nodes()
        while not self.run.over and time.monotonic() - struck < LEAVING_S:
            if one.way != ALONE:
                self.cluster.tend()
            time.sleep(0.1)
        if self.run.over:
            assert self.run.process is not None
            one.driver_left_s, one.driver_exit = round(time.monotonic() - struck, 1), self.run.process.returncode
            one.driver_said = self.clean(self.run.said(heard))
        self.run.kill()
        if one.way == ALONE:
            self.cluster.kill("head")
            self.kill_nodes()

    def clean(self, text: str) -> str:
        return text.replace(self.cluster.address, "HEAD").replace(str(self.run.out.parent), "FOLDER")

    def kill_nodes(self) -> None:
        for name in WORKERS:
            self.cluster.kill(name)
