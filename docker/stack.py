"""Runs the services of compose.yaml as processes on loopback, without containers: same commands, same configuration.

`python docker/stack.py run` starts them and stops them with Ctrl-C; `secrets DIR` makes the files of secrets that are
missing. What differs from compose is in this file: folders instead of volumes, free ports, PostgreSQL's first start.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from composition import PORTS, ROOT, Composition, program

NOT_HERE = ("grafana",)
"""Services that Debian has no package of."""
_HEALTH = "http://127.0.0.1:{}/api/local_raylet_healthz"


class StackError(RuntimeError):
    """A service that does not start; the text says which and why."""


@dataclass(frozen=True)
class Stack:
    """What runs, and where."""

    state: Path
    ports: Mapping[str, int]
    environment: Mapping[str, str]
    started: tuple[str, ...]
    processes: Mapping[str, subprocess.Popen[bytes]]

    @property
    def url(self) -> str:
        """Of the service."""
        return f"http://127.0.0.1:{self.ports['WTL_PORT']}"

    def wtl(self, *arguments: str) -> str:
        """What `wtl ARGUMENTS` prints, with the service's own settings."""
        command = [program("wtl"), *arguments]
        return subprocess.run(
            command, env={**os.environ, **self.environment}, check=True, capture_output=True, text=True
        ).stdout.strip()

    def kill(self, service: str) -> None:
        """End a service as a power cut would."""
        self.processes[service].kill()
        self.processes[service].wait()


def make_secrets(folder: Path, postgres: str = "postgres:5432") -> None:
    """Random ones for whoever has none; what is there stays. `metrics_key` is made by `wtl keys` later."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def keep(name: str, make: Callable[[], str]) -> str:
        path = folder / name
        if not path.exists():
            path.write_text(make())
            path.chmod(0o444)  # containers read it as users of their own; the folder is the owner's alone
        return path.read_text()

    password = keep("postgres_password", lambda: secrets.token_urlsafe(24))
    (folder / "wtl_database").unlink(missing_ok=True)  # says where the database is today
    keep("wtl_database", lambda: f"postgresql+psycopg://wtl:{password}@{postgres}/wtl")
    keep("wtl_ray_token", lambda: secrets.token_hex(32))
    keep("grafana_password", lambda: secrets.token_urlsafe(24))
    if not (folder / "metrics_key").exists():
        (folder / "metrics_key").touch(mode=0o644)


@contextlib.contextmanager
def running(state: Path | None = None, say: Callable[[str], None] = print) -> Iterator[Stack]:
    """Every service, ready, while the block runs; a temporary folder holds their data if none is given.

    Raises:
        StackError: a service that does not start.
    """
    # Short: names of Ray's sockets have at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="wtl") as temporary, contextlib.ExitStack() as stack:
        builder = _Builder(state or Path(temporary) / "state", Path(temporary), stack, say)
        yield builder.start()


class _Builder:
    """Starts one service after the other and remembers how to end them."""

    def __init__(self, state: Path, temporary: Path, stack: contextlib.ExitStack, say: Callable[[str], None]) -> None:
        self._state, self._temporary, self._stack, self._say = state.resolve(), temporary, stack, say
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self._composition = Composition(self._state, temporary, self._ports)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        make_secrets(self._state / "secrets", f"127.0.0.1:{self._ports['POSTGRES_PORT']}")
        for folder in (self._state, self._state / "secrets", temporary):
            folder.chmod(0o755)  # PostgreSQL runs as somebody else

    def start(self) -> Stack:
        self._start_postgres()
        self._run_once("migrate")
        environment = self._composition.environment("serve")
        serve = Stack(self._state, self._ports, environment, (), self._processes)
        metrics_key = self._state / "secrets" / "metrics_key"
        if not metrics_key.read_text():
            metrics_key.write_text(serve.wtl("keys", "create", "--scopes", "metrics", "--label", "prometheus"))
        ports = self._ports
        self._start("ray-head", _HEALTH.format(ports["RAY_HEAD_AGENT_PORT"]))
        self._start("ray-worker", _HEALTH.format(ports["RAY_WORKER_AGENT_PORT"]))
        self._start("serve", f"{serve.url}/readyz")
        if shutil.which("prometheus") or _installs("prometheus"):
            self._start("prometheus", f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}/-/ready")
        else:
            self._say("prometheus is not installed: apt-get install prometheus; the rest runs without it")
        self._say(f"{', '.join(NOT_HERE)}: only in containers")
        return Stack(self._state, ports, environment, tuple(self._processes), self._processes)

    def _start(self, name: str, health_url: str, timeout_s: float = 180.0) -> None:
        """Until it is healthy; one that gives up is started again, as compose.yaml's `restart` says."""
        log = (self._state / f"{name}.log").open("ab")
        self._stack.callback(log.close)
        deadline_s = time.monotonic() + timeout_s
        while True:
            process = self._processes[name] = subprocess.Popen(
                self._composition.command(name),
                env=self._composition.whole_environment(name),
                cwd=self._composition.folder(name, "cwd"),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._stack.callback(_stop, process)
            while process.poll() is None and time.monotonic() < deadline_s:
                if _answers(health_url):
                    self._say(f"{name} runs: log in {self._state / f'{name}.log'}")
                    return
                time.sleep(0.3)
            _stop(process)
            if time.monotonic() > deadline_s:
                raise StackError(f"{name} does not start:\n{_end_of(self._state / f'{name}.log')}")

    def _run_once(self, name: str) -> None:
        done = subprocess.run(
            self._composition.command(name),
            env=self._composition.whole_environment(name),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StackError(f"{name} fails: {done.stderr.strip()}")
        self._say(f"{name}: {done.stdout.strip()}")

    def _start_postgres(self) -> None:
        """What the container's entry point does: a cluster of databases at the first start, then the server."""
        programs = _postgres_programs()
        environment = self._composition.whole_environment("postgres")
        data = Path(environment["PGDATA"])
        somebody = _as_postgres(self._state / "volumes" / "database", self._temporary)
        if not (data / "PG_VERSION").exists():
            password = self._state / "secrets" / "postgres_password"
            _checked([
                *somebody, str(programs / "initdb"), "--pgdata", str(data), "--username=wtl", "--auth=scram-sha-256",
                f"--pwfile={password}", "--encoding=UTF8",
            ])  # fmt: skip
        command = [*somebody, str(programs / "postgres"), *self._composition.command("postgres")[1:]]
        log = (self._state / "postgres.log").open("ab")
        self._stack.callback(log.close)
        process = subprocess.Popen(
            command, env=environment, cwd="/", stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._processes["postgres"] = process
        self._stack.callback(_stop, process, signal.SIGINT)
        self._create_database(process)
        self._say(f"postgres runs: log in {self._state / 'postgres.log'}")

    def _create_database(self, process: "subprocess.Popen[bytes]", timeout_s: float = 60.0) -> None:
        import psycopg

        url = (self._state / "secrets" / "wtl_database").read_text().replace("+psycopg", "")
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                with psycopg.connect(
                    url.rpartition("/")[0] + "/postgres", autocommit=True, connect_timeout=3
                ) as server:
                    if not server.execute("SELECT 1 FROM pg_database WHERE datname = 'wtl'").fetchone():
                        server.execute("CREATE DATABASE wtl")
                return
            except psycopg.OperationalError as error:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise StackError(f"postgres does not start:\n{_end_of(self._state / 'postgres.log')}") from error
                time.sleep(0.2)


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _postgres_programs() -> Path:
    """Where they are; Debian's are installed where they are missing and root asks."""
    found = subprocess.run([ROOT / ".ci" / "services"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise StackError(found.stderr.strip())
    return Path(found.stdout.strip())


def _as_postgres(*folders: Path) -> list[str]:
    """PostgreSQL refuses to run as root: somebody else owns its folders then."""
    if os.getuid() != 0:
        return []
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.chown(folder, "nobody", "nogroup")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def _installs(package: str) -> bool:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", package]
    return os.getuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _checked(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise StackError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return True
    except (OSError, ValueError):
        return False


def _stop(process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM, patience_s: float = 20.0) -> None:
    if process.poll() is None:
        process.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind
    process.wait()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def main() -> int:
    """Make secrets, or run everything until a signal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("secrets").add_argument("folder", type=Path)
    verbs.add_parser("run").add_argument("--state", type=Path, default=ROOT / "runs" / "stack")
    given = parser.parse_args()
    if given.verb == "secrets":
        make_secrets(given.folder)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with running(given.state) as stack:
            key = stack.wtl(
                "keys", "create", "--scopes", "adapt,models:read,models:write,jobs", "--label", "make stack"
            )
            print(f"\nserving on {stack.url}\nAuthorization: Bearer {key}\nCtrl-C stops everything", flush=True)
            while all(process.poll() is None for process in stack.processes.values()):
                time.sleep(1)
            print("a service has ended; see the logs", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        return 0
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
