"""A PostgreSQL server of the tests' own: in a temporary folder, on a free port of the loopback, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Missing(RuntimeError):
    """There is no PostgreSQL on this machine; the text says how to get it."""


class Postgres:
    """A cluster of databases that anybody on this machine can use."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs, self._folder, self._port = programs, folder, port
        self._n_made = 0

    def start(self) -> None:
        # Tests kill servers of the service, not this one: it need not wait for disks.
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        log = self._folder / "log"
        self._run("pg_ctl", "-w", "-D", self._folder / "data", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-w", "-D", self._folder / "data", "-m", mode, "stop")

    def create(self, template: str = "template1") -> str:
        """The URL of a new database."""
        self._n_made += 1
        name = f"wtl_{self._n_made}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://wtl@127.0.0.1:{self._port}/{name}"

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(host="127.0.0.1", port=self._port, user="wtl", dbname="postgres", autocommit=True) as c:
            answer = c.execute(statement)  # type: ignore[arg-type]
            return answer.fetchall() if answer.description else []

    def _run(self, program: str, *arguments: object) -> None:
        run([self._programs / program, *arguments])


def run(command: Sequence[object]) -> None:
    """Run as somebody who is not root: PostgreSQL refuses that."""
    as_other = ["setpriv", f"--reuid={_user()}", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    done = subprocess.run([*as_other, *map(str, command)], capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")


def _user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextmanager
def running() -> Iterator[Postgres]:
    """A server while the block runs. Raises Missing."""
    found = subprocess.run([ROOT / ".ci" / "services"], capture_output=True, text=True)
    if found.returncode:
        raise Missing(found.stderr.strip().splitlines()[-1])
    folder = Path(tempfile.mkdtemp(prefix="wtl-postgres-"))
    if os.getuid() == 0:
        shutil.chown(folder, _user())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    programs = Path(found.stdout.strip())
    try:
        run([programs / "initdb", "-D", folder / "data", "-U", "wtl", "-A", "trust", "-E", "UTF8", "--no-sync"])
        server = Postgres(programs, folder, port)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
