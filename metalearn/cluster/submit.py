"""Training on a cluster from anywhere: submit a job or find it again, follow its log, fetch its bundle.

Talks to the address of the cluster's dashboard alone. What is trained is an experiment by its name; a job's id
follows from what it is to do, so that asking twice for the same is asking once.
"""

import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import httpx
from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from metalearn.bundle import Bundle
from metalearn.cluster.artifacts import LOG_PREFIX, ArtifactRef, unpack_bundle
from metalearn.config import Experiment
from metalearn.data.errors import InvalidConfig, WatchTryLearnError
from metalearn.proxies import explaining_proxies, http_client, without_proxies
from metalearn.settings import decided, parse

POLL_S = 2.0
PATIENCE_S = 120.0
"""A dashboard that does not answer for so long is gone; the job may well go on."""
FETCH_S = 600
TOKEN_FILE = Path.home() / ".ray" / "auth_token"
OURS = {"--out", "--storage"}
NOT_UPLOADED = ["/.git", "/.venv", "/runs", "/data", "/models", "/benchmarks/results", "__pycache__"]
"""Patterns as in a .gitignore: without its slash, `data` would be metalearn/data too."""


class JobFailed(WatchTryLearnError):
    """The job came to an end without a bundle."""


@dataclass(frozen=True)
class Submission:
    """One training run as a job.

    Attributes:
        experiment: its name.
        arguments: more arguments of `wtl train`.
        storage: an fsspec URL; run and bundle are kept at URL/ID, and whichever machine the job is on next goes on
            from there. None: the run is on the job's node, the bundle among that node's logs.
        name: the id; None: one that follows from the rest.

    Raises:
        InvalidConfig: arguments that say where the run goes, which is for `storage` and the id to say.
    """

    experiment: str
    arguments: tuple[str, ...] = ()
    storage: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for argument in self.arguments:
            if (option := argument.partition("=")[0]) in OURS:
                raise InvalidConfig(f"{option}: give it to `wtl submit`, before --: the job's `wtl train` has its own")

    @property
    def id(self) -> str:
        """The job's id on the cluster."""
        made_of = json.dumps([self.experiment, *self.arguments, self.storage])
        return self.name or f"wtl-{self.experiment}-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}"

    @property
    def entrypoint(self) -> str:
        """The command line of the job, which finds metalearn in the folder it runs in or installed."""
        out = f"runs/{self.id}"
        train = ["python", "-m", "wtl.cli", "train", self.experiment, "--ray", "--out", out]
        leave = ["python", "-m", "metalearn.cluster.artifacts", f"{out}/bundle", "--job", self.id]
        if self.storage:
            train += ["--storage", self.storage]
            leave += ["--to", f"{self.storage.rstrip('/')}/{self.id}"]
        train += self.arguments
        return f"{shlex.join(train)} && {shlex.join(leave)}"


def arguments_of(
    experiment: Experiment,
    settings: Sequence[str] = (),
    *,
    seed: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
) -> tuple[str, ...]:
    """The arguments with which `wtl train` trains the experiment with these settings, each as `model.n_frames=16`.

    Raises:
        InvalidSetting: what is wrong with them, before a job starts.
    """
    decided(experiment, parse(settings), seed=seed, steps=steps, minutes=minutes)
    options = {"seed": seed, "steps": steps, "minutes": minutes}
    given = (f"--{option}={value}" for option, value in options.items() if value is not None)
    return (*given, *(f"--set={setting}" for setting in settings))


class _Jobs(JobSubmissionClient):  # type: ignore[misc]  # Ray has no types
    """Asks a dashboard on this machine without a proxy, and says which proxy it cannot use for another one."""

    def _do_request(self, *arguments: Any, **options: Any) -> Any:
        with explaining_proxies(), without_proxies(self._address):
            return super()._do_request(*arguments, **options)


class Cluster:
    """The Jobs API behind one address, asked with the token of this machine if there is one."""

    def __init__(self, address: str) -> None:
        """Raises InvalidConfig: nobody answers there, or not to this token."""
        token = _token()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._address = address.rstrip("/")
        if not self._address.startswith(("http://", "https://")):
            raise InvalidConfig(f"address: expected that of the dashboard, as http://HOST:8265, got {address}")
        try:
            self._jobs: Any = _Jobs(self._address, headers=dict(self._headers))
        except (ConnectionError, RuntimeError, RayError) as error:
            raise InvalidConfig(f"no Ray cluster at {address}: {_first_line(error)}") from error

    def submit(self, wanted: Submission, working_dir: Path | None, again: bool) -> bool:
        """Start the job, unless there is one of that id; whether it was started.

        `again` starts a job anew that failed or was stopped; its run goes on from its last checkpoint.

        Raises:
            InvalidConfig: the cluster refuses the job.
        """
        status = self.status(wanted.id)
        if again and status in {JobStatus.FAILED, JobStatus.STOPPED}:
            self._jobs.delete_job(wanted.id)
        elif status is not None:
            return False
        environment: dict[str, Any] = {}
        if working_dir is not None:
            environment = {"working_dir": str(working_dir), "excludes": NOT_UPLOADED}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._jobs.submit_job(
                    entrypoint=wanted.entrypoint,
                    submission_id=wanted.id,
                    runtime_env=environment,
                    metadata={"experiment": wanted.experiment},
                )
            except (RuntimeError, ValueError) as error:
                if "No available agent" in str(error) and time.monotonic() < deadline:
                    time.sleep(POLL_S)  # a head that has just started answers before it can take jobs
                    continue
                if self.status(wanted.id) is None:
                    raise InvalidConfig(f"the cluster refuses the job: {_first_line(error)}") from error
                return False  # somebody else was faster
            return True

    def status(self, job: str) -> Any:
        """The JobStatus of a job, or None where there is no such job."""
        try:
            return self._jobs.get_job_status(job)
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                return None
            raise

    def follow(self, job: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[str]:
        """Yield the lines of a job's log, from its first to its end. A dashboard may be away for a while.

        Raises:
            JobFailed: it came to another end than success, or the dashboard is gone.
        """
        told, silent_s = 0, 0.0
        while True:
            try:
                status = self._jobs.get_job_status(job)
                log = self._jobs.get_job_logs(job)
                silent_s = 0.0
            except (OSError, RuntimeError) as error:
                silent_s += POLL_S
                if silent_s > PATIENCE_S:
                    raise JobFailed(f"{self._address} does not answer any more: {_first_line(error)}") from error
                sleep(POLL_S)
                continue
            whole = log if status.is_terminal() else log[: log.rfind("\n") + 1]
            yield from whole[told:].splitlines()
            told = max(told, len(whole))
            if status.is_terminal():
                break
            sleep(POLL_S)
        if status != JobStatus.SUCCEEDED:
            said = self._jobs.get_job_info(job).message or "it says nothing more"
            raise JobFailed(f"job {job} {str(status.value).lower()}: {_first_line(said)}; --again goes on with it")

    def fetch(self, job: str, folder: Path) -> Bundle:
        """The bundle of a job that succeeded, written to `folder`.

        Raises:
            InvalidConfig: it is not where the job left it.
        """
        artifact = ArtifactRef.from_log(self._jobs.get_job_logs(job))
        try:
            content = self._file(artifact) if artifact.url is None else _read(artifact.url)
        except (OSError, httpx.HTTPError) as error:
            raise InvalidConfig(f"the bundle of {job} cannot be fetched: {_first_line(error)}") from error
        return unpack_bundle(content, artifact.sha256, folder)

    def _file(self, artifact: ArtifactRef) -> bytes:
        asked = {"node_id": artifact.node, "filename": artifact.file, "lines": -1, "timeout": FETCH_S}
        with http_client(self._address, headers=self._headers, timeout=FETCH_S) as http:
            return http.get("/api/v0/logs/file", params=asked).raise_for_status().content


def _read(url: str) -> bytes:
    with fsspec.open(url, "rb") as file:
        return bytes(file.read())


def _token() -> str | None:
    """As Ray looks for it: the variable, the file that a variable names, the usual file."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN_FILE)
    return file.read_text().strip() if file.is_file() else None


def _first_line(error: object) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def shown(lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    """The lines that people want to read."""
    return (line for line in lines if not line.startswith(LOG_PREFIX))
