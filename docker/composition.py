"""compose.yaml as commands, variables and folders of this machine: what `stack.py` runs without containers.

Volumes become folders under one state, hosts become loopback, and everybody gets a free port. Starts nothing.
"""

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "docker" / "compose.yaml"
PORTS = (
    "POSTGRES_PORT", "WTL_PORT", "RAY_PORT", "RAY_DASHBOARD_PORT", "RAY_HEAD_METRICS_PORT", "RAY_WORKER_METRICS_PORT",
    "PROMETHEUS_PORT", "RAY_HEAD_AGENT_PORT", "RAY_WORKER_AGENT_PORT", "RAY_CLIENT_PORT",
)  # fmt: skip


class Composition:
    """The services of compose.yaml, with their data under `state` and their sockets under `temporary`."""

    def __init__(self, state: Path, temporary: Path, ports: Mapping[str, int]) -> None:
        self._state, self._temporary, self._ports = state, temporary, ports
        text = _interpolated(COMPOSE.read_text(), _differences(ports))
        self._services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]

    def command(self, name: str) -> list[str]:
        """What the container would run."""
        service = self._services[name]
        command = service.get("command", [])
        words = [*service.get("entrypoint", []), *(shlex.split(command) if isinstance(command, str) else command)]
        paths = self._paths(name)
        return [program(words[0]), *(_moved(word, paths) for word in words[1:])]

    def environment(self, name: str) -> dict[str, str]:
        """What compose.yaml sets for it."""
        paths = self._paths(name)
        given = self._services[name].get("environment", {})
        return {key: _moved(str(value), paths) for key, value in given.items()}

    def whole_environment(self, name: str) -> dict[str, str]:
        """That, and what a process needs to run at all."""
        # Training needs the project's code, which the images have installed.
        inherited = {
            key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LANG", "OMP_NUM_THREADS") if key in os.environ
        }
        inherited["PATH"] = f"{Path(sys.executable).parent}:{inherited.get('PATH', '/usr/bin:/bin')}"
        home = str(self.folder(name, "cwd"))
        return {"HOME": home, **inherited, "RAY_TMPDIR": str(self._temporary / "ray"), **self.environment(name)}

    def _paths(self, name: str) -> dict[str, Path]:
        """Where the container's folders are on this machine."""
        service = self._services[name]
        paths = {"/run/secrets": self._state / "secrets", "/opt/models": ROOT / "models"}
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                paths[target] = self._configuration(name, COMPOSE.parent / source)
            else:
                paths[target] = self.folder("volumes", source)
        for mount in service.get("tmpfs", []):
            target = mount.partition(":")[0]
            if target != "/tmp":
                paths[target] = self.folder(name, target.strip("/").replace("/", "-"))
        if name == "postgres":
            paths["/var/run/postgresql"] = self._temporary
        return paths

    def _configuration(self, name: str, folder: Path) -> Path:
        """A copy with this machine's addresses and folders."""
        copy = self.folder(name, "configuration")
        hosts = {
            "serve:8000": "WTL_PORT",
            "ray-head:8080": "RAY_HEAD_METRICS_PORT",
            "ray-worker:8080": "RAY_WORKER_METRICS_PORT",
        }
        for path in folder.glob("*.yml"):
            text = path.read_text().replace("/run/secrets", str(self._state / "secrets"))
            for host, port in hosts.items():
                text = text.replace(host, f"127.0.0.1:{self._ports[port]}")
            (copy / path.name).write_text(text)
        return copy

    def folder(self, *parts: str) -> Path:
        """One under the state; made if absent."""
        folder = self._state.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _differences(ports: Mapping[str, int]) -> dict[str, str]:
    """The variables of compose.yaml, for processes on one loopback."""
    here = "--node-ip-address=127.0.0.1 --object-store-memory=200000000"
    return {
        **{name: str(port) for name, port in ports.items()},
        "POSTGRES_LISTEN": "127.0.0.1",
        "PROMETHEUS_LISTEN": f"127.0.0.1:{ports['PROMETHEUS_PORT']}",
        "RAY_HOST": "127.0.0.1",
        "RAY_LISTEN": "127.0.0.1",
        "RAY_HEAD_CPUS": "1",
        "RAY_HEAD_OPTIONS": f"{here} --dashboard-agent-listen-port={ports['RAY_HEAD_AGENT_PORT']} "
        f"--ray-client-server-port={ports['RAY_CLIENT_PORT']}",
        "RAY_WORKER_CPUS": "1",
        "RAY_WORKER_OPTIONS": f"{here} --dashboard-agent-listen-port={ports['RAY_WORKER_AGENT_PORT']}",
        "WTL_HOST": "127.0.0.1",
    }


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    """`${NAME:-default}` as compose reads it."""
    return re.sub(r"\$\{([A-Z_]+):-([^}]*)\}", lambda match: variables.get(match[1]) or match[2], text)


def _moved(word: str, paths: Mapping[str, Path]) -> str:
    """A word of a command or a variable with this machine's folders instead of the container's."""
    for inside in sorted(paths, key=len, reverse=True):
        word = re.sub(rf"(?<![\w./]){re.escape(inside)}(?=/|$)", str(paths[inside]), word)
    return word


def program(name: str) -> str:
    """The one of this Python's environment, where it has it."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name
