"""A Ray cluster of several nodes on one machine, each of them a session of processes that can be killed whole.

Knows nothing of what is run on it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from ray.util import get_node_ip_address

UP = b"Ray runtime started"
START_TIMEOUT_S = 90.0
STARTS = 8
WORKERS = ("node-1", "node-2")
ENVIRONMENT = {
    **os.environ,
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "30",  # a driver leaves after half of it
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Node:
    """A node that was started: `ray start --block`, the first of its session."""

    process: subprocess.Popen[bytes]
    log: Path
    skip: int
    """Bytes of the log that tell of earlier starts."""
    began: float = field(default_factory=time.monotonic)

    @property
    def up(self) -> bool:
        return self.process.poll() is None and UP in self.log.read_bytes()[self.skip :]

    @property
    def failed(self) -> bool:
        """Gone by itself (Ray waits 30 s for its own processes and gives up), or stuck."""
        late = time.monotonic() - self.began > START_TIMEOUT_S
        return self.process.poll() is not None or (late and not self.up)


class Cluster:
    """A head without CPUs, where the command runs, and two nodes of one CPU each."""

    def __init__(self, folder: Path, store_bytes: int) -> None:
        self.folder, self.store_bytes, self.port, self.refused = folder, store_bytes, free_port(), 0
        self.address = f"{get_node_ip_address()}:{self.port}"
        self.nodes: dict[str, Node] = {}
        try:
            self._start("head")
            self.wait_for("head")
            for name in WORKERS:
                self._start(name)
            for name in WORKERS:
                self.wait_for(name)
        except BaseException:
            self.close()
            raise

    def tend(self) -> None:
        """Start nodes again that are gone, as an operator or Kubernetes would. Does not wait."""
        for name, node in list(self.nodes.items()):
            if node.failed and (name == "head" or self.nodes["head"].up):
                if node.process.returncode != -signal.SIGKILL:
                    self.refused += 1
                self.kill(name)
                self._start(name)

    def wait_for(self, name: str) -> None:
        refused = self.refused
        while not self.nodes[name].up:
            time.sleep(0.2)
            self.tend()
            if self.refused - refused > STARTS:
                raise SystemExit(f"{name} did not start {STARTS} times: see {self.nodes[name].log}")

    def kill(self, name: str) -> None:
        """All of a node at once, as when a machine loses its power."""
        node = self.nodes[name]
        while pids := session(node.process.pid):
            for pid in pids:
                kill(pid)
            node.process.poll()
            time.sleep(0.05)
        node.process.wait()

    def behead(self) -> None:
        """Kill what makes the head the head (GCS), and leave the rest of its machine, and the command on it, alone."""
        node = self.nodes["head"]
        node.process.send_signal(signal.SIGSTOP)  # it would take the rest down
        for pid in self.titled(b"gcs_server"):
            kill(pid)

    def titled(self, title: bytes) -> list[int]:
        """Processes of any node that run under this name."""
        pids = [pid for node in self.nodes.values() for pid in session(node.process.pid)]
        return [pid for pid in pids if title in command_line(pid)]

    def close(self) -> None:
        for name in self.nodes:
            self.kill(name)

    def _start(self, name: str) -> None:
        log = self.folder / f"{name}.log"
        command = ["ray", "start", "--block", "--disable-usage-stats", "--include-log-monitor=false"]
        command += [f"--temp-dir={self.folder}/r", f"--object-store-memory={self.store_bytes}"]
        if name == "head":
            command += ["--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false"]
        else:
            command += [f"--address={self.address}", "--num-cpus=1"]
        with log.open("ab") as file:
            skip = file.tell()
            process = subprocess.Popen(command, env=ENVIRONMENT, stdout=file, stderr=file, start_new_session=True)
        self.nodes[name] = Node(process, log, skip)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def session(leader: int) -> list[int]:
    """Processes that were started by `leader`, or by those, and run: it is the first of a session of its own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            state, _, _, number, *_ = entry.joinpath("stat").read_text().rpartition(")")[2].split()
            if int(number) == leader and state != "Z":
                found.append(int(entry.name))
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
