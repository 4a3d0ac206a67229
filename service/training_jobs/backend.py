"""Where trainings run, behind one protocol: processes of this machine, or a Ray cluster."""

from enum import Enum
from pathlib import Path
from typing import Protocol

from service.training_jobs.records import Job


class JobStatus(Enum):
    """What a backend sees of the job's present attempt."""

    RUNS = "runs"
    DONE = "done"
    """It ended well."""
    ENDED = "ended"
    """It ended, nobody knows how."""
    LOST = "lost"
    """Nobody knows it: its machine or cluster was restarted."""


class Unreachable(Exception):
    """The backend does not answer now; its text is one sentence."""


class Refused(Exception):
    """The backend will not run this job; its text is one sentence."""


class Backend(Protocol):
    """Starts, watches and stops runs of `wtl train`. Remembers nothing that a restart of the server may lose."""

    name: str
    host: str
    """Whose jobs it can see: only this machine's, or the whole cluster's."""

    def start(self, job: Job, folder: Path) -> None:
        """Start the job's attempt in its run's folder, unless it runs already. Raises Unreachable, Refused."""
        ...

    def poll(self, job: Job, folder: Path) -> JobStatus:
        """What became of it. Raises Unreachable."""
        ...

    def stop(self, job: Job, folder: Path) -> None:
        """Ask it to stop, more insistently after a while. Raises Unreachable."""
        ...

    def log(self, job: Job, folder: Path) -> str:
        """The end of what it printed. Raises Unreachable."""
        ...


def tail(file: Path, most_bytes: int = 256 * 1024) -> str:
    """The end of a text file, whole lines; empty if there is none."""
    try:
        with file.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(max(0, size - most_bytes))
            text = handle.read(most_bytes).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return text if size <= most_bytes else text.partition("\n")[2]
