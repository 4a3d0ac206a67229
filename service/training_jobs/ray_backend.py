"""Training on a Ray cluster, through its Jobs REST API. Does not import Ray.

The image of the cluster must have `wtl train`: nothing is uploaded. Cluster and server must share the folder of the
run, so that a job resumes after the loss of the head node, which has Ray's records and logs, and the server finds its
bundle.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

import httpx

from metalearn.proxies import http_client
from service.training_jobs.backend import JobStatus, Refused, Unreachable, tail
from service.training_jobs.records import Job

_OVER = {"SUCCEEDED", "FAILED", "STOPPED"}
_TIMEOUT_S = 10.0
TRAIN = ("wtl", "train", "--ray", "--no-baselines")


class RayBackend:
    """The Ray cluster at `address`, an http URL. Raises httpx.InvalidURL, InvalidConfig."""

    name, host = "ray", "cluster"

    def __init__(
        self,
        address: str,
        token: str | None = None,
        command: Sequence[str] = TRAIN,
        http: httpx.Client | None = None,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = http or http_client(address, timeout=_TIMEOUT_S)
        self._http.headers.update(headers)
        self._command = tuple(command)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def start(self, job: Job, folder: Path) -> None:
        """Submit the job, unless its submission exists already. Raises Unreachable, Refused."""
        if self._read(job) is not None:
            return
        entrypoint = shlex.join((*self._command, *job.arguments_in(folder)))
        body = {
            "entrypoint": entrypoint,
            "submission_id": _submission(job),
            "metadata": {"wtl_job": job.id, "wtl_experiment": job.experiment},
        }
        answer = self._request("POST", "/api/jobs/", json=body)
        if answer.is_client_error:
            raise Refused(f"the cluster refuses the job: {_sentence(answer)}")
        # If Ray has accepted the job despite the error, its submission is found the next time.
        if not answer.is_success:
            raise Unreachable(f"the cluster answers {answer.status_code}: {_sentence(answer)}")

    def poll(self, job: Job, folder: Path) -> JobStatus:
        """Return the status of the attempt; at its end, copy its log to the folder of the run."""
        status = self._read(job)
        if status is None:
            return JobStatus.LOST
        if status not in _OVER:
            return JobStatus.RUNS
        self._copy_log(job, folder)
        return JobStatus.DONE if status == "SUCCEEDED" else JobStatus.ENDED

    def stop(self, job: Job, folder: Path) -> None:
        """Stop the attempt: Ray sends SIGTERM, and SIGKILL some seconds later."""
        self._request("POST", f"/api/jobs/{_submission(job)}/stop")

    def log(self, job: Job, folder: Path) -> str:
        """Return the log from the cluster if it has it, else the copy."""
        copy = tail(folder / "log")
        return copy if not job.active and copy else self._fetch_log(job) or copy

    def _read(self, job: Job) -> str | None:
        answer = self._request("GET", f"/api/jobs/{_submission(job)}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise Unreachable(f"the cluster answers {answer.status_code}: {_sentence(answer)}")
        return str(answer.json()["status"])

    def _fetch_log(self, job: Job) -> str:
        if job.attempt == 0:
            return ""
        answer = self._request("GET", f"/api/jobs/{_submission(job)}/logs")
        return str(answer.json().get("logs") or "")[-256 * 1024 :] if answer.is_success else ""

    def _copy_log(self, job: Job, folder: Path) -> None:
        try:
            text = self._fetch_log(job)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "log").write_text(text)
        except (Unreachable, OSError):
            return

    def _request(self, method: str, path: str, **options: object) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise Unreachable(f"the cluster cannot be reached: {type(error).__name__}") from error
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise Unreachable("the cluster does not accept the token (WTL_RAY_TOKEN)")
        return answer


def _submission(job: Job) -> str:
    return f"wtl-{job.uid}-{job.attempt}"


def _sentence(answer: httpx.Response) -> str:
    """Return the last line of an answer, since Ray answers with tracebacks."""
    lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing"
