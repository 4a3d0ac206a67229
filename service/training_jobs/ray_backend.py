"""Trainings on a Ray cluster through its Jobs REST API. Imports no Ray.

The job runs `wtl train`, which the cluster's image has: nothing is uploaded. Its run's folder has to be the same
one for the cluster and for the server (a shared volume), so that a job goes on where it was after the cluster's
head is lost, and leaves its bundle where the server finds it. Ray's records and logs live with the head; ours do not.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

import httpx

from service.training_jobs.backend import JobStatus, Refused, Unreachable, tail
from service.training_jobs.records import Job

_OVER = {"SUCCEEDED", "FAILED", "STOPPED"}
_TIMEOUT_S = 10.0
TRAIN = ("wtl", "train", "--ray", "--no-baselines")


class RayBackend:
    """The cluster at `address`, an http URL. Raises httpx.InvalidURL."""

    name, host = "ray", "cluster"

    def __init__(
        self,
        address: str,
        token: str | None = None,
        command: Sequence[str] = TRAIN,
        http: httpx.Client | None = None,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = http or httpx.Client(base_url=address, timeout=_TIMEOUT_S)
        self._http.headers.update(headers)
        self._command = tuple(command)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def start(self, job: Job, folder: Path) -> None:
        """Submit it; a submission of the same id is the same job. Raises Unreachable, Refused."""
        if self._read(job) is not None:
            return
        entrypoint = shlex.join((*self._command, *job.arguments, "--out", str(folder)))
        body = {
            "entrypoint": entrypoint,
            "submission_id": _submission(job),
            "metadata": {"wtl_job": job.id, "wtl_experiment": job.experiment},
        }
        answer = self._request("POST", "/api/jobs/", json=body)
        if answer.is_client_error:
            raise Refused(f"the cluster refuses the job: {_sentence(answer)}")
        # One that Ray took although its answer was an error is found by its id the next time.
        if not answer.is_success:
            raise Unreachable(f"the cluster answers {answer.status_code}: {_sentence(answer)}")

    def poll(self, job: Job, folder: Path) -> JobStatus:
        """What the cluster says. When a job is over its log is kept in its folder."""
        status = self._read(job)
        if status is None:
            return JobStatus.LOST
        if status not in _OVER:
            return JobStatus.RUNS
        self._keep_log(job, folder)
        return JobStatus.DONE if status == "SUCCEEDED" else JobStatus.ENDED

    def stop(self, job: Job, folder: Path) -> None:
        """Ray sends SIGTERM, and SIGKILL some seconds later."""
        self._request("POST", f"/api/jobs/{_submission(job)}/stop")

    def log(self, job: Job, folder: Path) -> str:
        """From the cluster while it has it, else what was kept."""
        kept = tail(folder / "log")
        return kept if not job.active and kept else self._fetch_log(job) or kept

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

    def _keep_log(self, job: Job, folder: Path) -> None:
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
            raise Unreachable("the cluster does not take our token (WTL_RAY_TOKEN)")
        return answer


def _submission(job: Job) -> str:
    return f"wtl-{job.uid}-{job.attempt}"


def _sentence(answer: httpx.Response) -> str:
    """The last line: Ray answers with tracebacks."""
    said = [line.strip() for line in answer.text.splitlines() if line.strip()]
    return said[-1][:200] if said else "nothing"
