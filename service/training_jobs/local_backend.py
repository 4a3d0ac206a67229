"""Training in processes of this machine, in sessions of their own, so that they outlive the server.

The folder of a run has all of its state: `lock` is held while the process lives, `process` identifies it, and `log` is
its output. Needs Linux (`/proc`).
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

# The process writes its id before it becomes `wtl`, so that it is found even if the server is killed right away.
_SHIM = 'cat /proc/$$/stat > process.new && mv process.new process && exec nice -n 10 "$@"'
_KILL_AFTER_S = 60.0
TRAIN = (sys.executable, "-m", "wtl.cli", "train", "--no-baselines")


class LocalBackend:
    """Runs `command` (by default this Python's `wtl train`) with the arguments of the job."""

    name = "local"

    def __init__(self, command: Sequence[str] = TRAIN) -> None:
        self.host = socket.gethostname()
        self._command = tuple(command)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped_s: dict[str, float] = {}

    def start(self, job: Job, folder: Path) -> None:
        """Start a process, unless one holds the lock of the run already. Raises Refused."""
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder) as lock:
            if lock is None:
                return
            arguments = (*self._command, *job.arguments_in(folder))
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
        """Return the status from the lock of the run, which the kernel releases when the last process ends."""
        if (child := self._children.get(job.uid)) is not None and child.poll() is not None:
            del self._children[job.uid]
        if not folder.is_dir():
            return JobStatus.LOST
        with _lock(folder) as lock:
            return JobStatus.RUNS if lock is None else JobStatus.ENDED

    def stop(self, job: Job, folder: Path) -> None:
        """Send SIGTERM, after which the run leaves a checkpoint; later SIGKILL to all of its processes."""
        leader = _leader(folder)
        if leader is None:
            return
        stopped_s = self._stopped_s.get(job.uid)
        with suppress(ProcessLookupError):
            if stopped_s is None:
                self._stopped_s[job.uid] = time.monotonic()
                os.kill(leader, signal.SIGTERM)
            elif time.monotonic() - stopped_s > _KILL_AFTER_S:
                os.killpg(leader, signal.SIGKILL)

    def log(self, job: Job, folder: Path) -> str:
        """Return the end of the log, which has all attempts."""
        return tail(folder / "log")


@contextmanager
def _lock(folder: Path) -> Iterator[int | None]:
    """Take the lock of the run, which a child process inherits; yield None if a process has it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        yield None
    finally:
        os.close(descriptor)


def _leader(folder: Path) -> int | None:
    """Return the pid of the run, or None if that process has ended, even if its pid was reused."""
    try:
        recorded = (folder / "process").read_text()
        pid = int(recorded.split()[0])
        now = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError, IndexError):
        return None
    return pid if _started(recorded) == _started(now) else None


def _started(stat: str) -> str:
    """Return the start time, field 22 of /proc/PID/stat; field 2 may hold anything before its last parenthesis."""
    return stat.rpartition(")")[2].split()[19]


def _environment() -> dict[str, str]:
    """Return the environment without the settings of the server, some of which are secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WTL_")}
