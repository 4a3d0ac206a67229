"""The interface of training backends: processes on this machine, or a Ray cluster."""

from enum import Enum
from pathlib import Path
from typing import Protocol

from service.training_jobs.records import Job


class JobStatus(Enum):
    """The status of the current attempt of a job, according to its backend."""

    RUNS = "runs"
    DONE = "done"
    """The attempt has ended with success."""
    ENDED = "ended"
    """The attempt has ended, and the backend does not know how."""
    LOST = "lost"
    """The backend does not know the attempt: the machine or cluster was restarted."""


class Unreachable(Exception):
    """The backend does not answer; the message is one sentence."""


class Refused(Exception):
    """The backend refuses to run the job; the message is one sentence."""


class Backend(Protocol):
    """Starts, watches and stops runs of `wtl train`. Keeps no state that a restart of the server would lose."""

    name: str
    host: str
    """The machine or cluster whose jobs the backend can see."""

    def start(self, job: Job, folder: Path) -> None:
        """Start an attempt in the folder of the run, unless it runs already. Raises Unreachable, Refused."""
        ...

    def poll(self, job: Job, folder: Path) -> JobStatus:
        """Return the status of the attempt. Raises Unreachable."""
        ...

    def stop(self, job: Job, folder: Path) -> None:
        """Ask the run to stop; kill it if it has not stopped after a while. Raises Unreachable."""
        ...

    def log(self, job: Job, folder: Path) -> str:
        """Return the end of the log. Raises Unreachable."""
        ...


def tail(file: Path, most_bytes: int = 256 * 1024) -> str:
    """Return the last lines of a text file, or an empty string if it does not exist."""
    try:
        with file.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(max(0, size - most_bytes))
            text = handle.read(most_bytes).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return text if size <= most_bytes else text.partition("\n")[2]
