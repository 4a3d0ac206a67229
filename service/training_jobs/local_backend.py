"""Trainings as processes of this machine, in sessions of their own: they outlive the server that started them.

A run's folder says everything: `lock` is held for as long as the process lives, `process` names it, `log` is what
it printed. Needs Linux (`/proc`).
"""

import fcntl
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from service.training_jobs.backend import JobStatus, Refused, tail
from service.training_jobs.records import Job

# The process names itself before it becomes `wtl`: a server killed right after the start finds it nevertheless.
_SHIM = 'cat /proc/$$/stat > process.new && mv process.new process && exec nice -n 10 "$@"'
_PATIENCE_S = 60.0
TRAIN = (sys.executable, "-m", "wtl.cli", "train", "--no-baselines")


class LocalBackend:
    """Runs `command` (by default this Python's `wtl train`) with the arguments of the job."""

    name = "local"

    def __init__(self, command: Sequence[str] = TRAIN) -> None:
        self.host = socket.gethostname()
        self._command = tuple(command)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._asked_s: dict[str, float] = {}

    def start(self, job: Job, folder: Path) -> None:
        """Start it, unless a process holds the run's lock already. Raises Refused."""
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder) as lock:
            if lock is None:
                return
            arguments = (*self._command, *job.arguments, "--out", str(folder))
            try:
                with (folder / "log").open("ab") as log:
                    self._children[job.uid] = subprocess.Popen(  # noqa: S603
                        ("/bin/sh", "-c", _SHIM, "sh", *arguments),
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=_environment(),
                        start_new_session=True,
                        pass_fds=(lock,),
                    )
            except OSError as error:
                raise Refused(f"`{shlex.join(self._command)}` cannot be started: {error.strerror}") from error

    def poll(self, job: Job, folder: Path) -> JobStatus:
        """Whether its lock is held; the kernel lets go of it when the last process ends."""
        if (child := self._children.get(job.uid)) is not None and child.poll() is not None:
            del self._children[job.uid]
        if not folder.is_dir():
            return JobStatus.LOST
        with _lock(folder) as lock:
            return JobStatus.RUNS if lock is None else JobStatus.ENDED

    def stop(self, job: Job, folder: Path) -> None:
        """SIGTERM, which leaves a checkpoint; SIGKILL to all of its processes if that does not help."""
        leader = _leader(folder)
        if leader is None:
            return
        asked_s = self._asked_s.get(job.uid)
        with suppress(ProcessLookupError):
            if asked_s is None:
                self._asked_s[job.uid] = time.monotonic()
                os.kill(leader, signal.SIGTERM)
            elif time.monotonic() - asked_s > _PATIENCE_S:
                os.killpg(leader, signal.SIGKILL)

    def log(self, job: Job, folder: Path) -> str:
        """The end of what it printed, all attempts one after the other."""
        return tail(folder / "log")


@contextmanager
def _lock(folder: Path) -> Iterator[int | None]:
    """The run's lock, held by whoever inherits it; None if a process has it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        yield None
    finally:
        os.close(descriptor)


def _leader(folder: Path) -> int | None:
    """The pid of the run's process, if the process of that pid is still the one that started then."""
    try:
        recorded = (folder / "process").read_text()
        pid = int(recorded.split()[0])
        now = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError, IndexError):
        return None
    return pid if _started(recorded) == _started(now) else None


def _started(stat: str) -> str:
    """Field 22 of /proc/PID/stat; the name in field 2 may hold anything, its last parenthesis ends it."""
    return stat.rpartition(")")[2].split()[19]


def _environment() -> dict[str, str]:
    """Ours without the settings of the server: some of them are secrets, and a training needs none."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WTL_")}
