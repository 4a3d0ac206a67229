"""Servers to harm, writers that keep books of what they were told, and what compares the books with the servers."""

import multiprocessing
import os
import socket
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from service.adaptations.quota import Quota
from service.adaptations.repository import AdaptationRepository
from service.storage.database import Database
from service.storage.episode_store import EpisodeStore

ROOT = Path(__file__).resolve().parents[2]
ZEROS = {"observations": [[0.0, 0.0, 0.0]]}


@dataclass
class Finding:
    """One row of the table: what was done, and what came of it."""

    fault: str
    database: str
    rounds: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    half_written: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    note: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.lost or self.half_written or self.unexpected)


@dataclass
class Record:
    """The acknowledged state of one adaptation, as a client knows it."""

    id: str
    version: int = 1
    n_trials: int = 0
    episode: str | None = None
    n_steps: int = 0
    finishing: bool = False
    deleting: bool = False
    deleted: bool = False


# Servers are forked from a process that has imported everything: real processes, started in a moment.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["service.app", "support.pointing", "psycopg"])


def _serve(folder: Path, port: int, log: Path, settings: dict[str, object]) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from support.pointing import PointingRuntime

    from service.server import serve
    from service.settings import Settings

    serve(
        Settings(data=folder / "data", models=folder / "models", port=port, **settings), runtime_factory=PointingRuntime
    )


class Server:
    """A process on the loopback; started again it is at the same address."""

    def __init__(self, folder: Path, log: str = "server", **settings: object) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder, self.log, self._settings = folder, folder / f"{log}.log", settings
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "service")])
        self.start()

    def start(self) -> None:
        self.process = _processes.Process(target=_serve, args=(self._folder, self.port, self.log, self._settings))
        self.process.start()

    def wait(self) -> "Server":
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if httpx.get(self.url + "/readyz", timeout=5).is_success:
                    return self
            if not self.process.is_alive():
                break
            time.sleep(0.05)
        raise RuntimeError(self.log.read_text()[-2000:])

    def kill(self) -> None:
        self.process.kill()
        self.process.join(20)

    def stop(self) -> int:
        self.process.terminate()
        self.process.join(40)
        return self.process.exitcode if self.process.exitcode is not None else -1


class Writer(threading.Thread):
    """Watches, tries, learns, forks and deletes as fast as it is answered, and keeps the books."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, timeout=30)
        self._rng = np.random.default_rng(seed)
        self.records: list[Record] = []
        self.statuses: dict[int, int] = {}
        self.n_acknowledged = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self._story()
            except httpx.TransportError:
                if self.ended.wait(0.02):
                    return

    def _post(self, path: str, body: object | None = None) -> dict[str, object] | None:
        answer = self._http.post(path, json=body)
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        if not answer.is_success:
            time.sleep(0.02)
            return None
        self.n_acknowledged += 1
        return answer.json()

    def _story(self) -> None:
        demo = {"observations": self._rng.normal(size=(4, 3)).tolist(), "actions": [[0.1, 0.2]] * 3}
        made = self._post("/v1/adaptations", {"model": "point", "demos": [demo]})
        if made is None:
            return
        record = Record(str(made["id"]))
        self.records.append(record)
        path = f"/v1/adaptations/{record.id}"
        self._learn(record, path)
        self._try(record, path)
        if self._rng.random() < 0.3 and (fork := self._post(path + "/fork")):
            self.records.append(Record(str(fork["id"]), 1, int(fork["n_trials"])))  # type: ignore[call-overload]
        if self._rng.random() < 0.2:
            record.deleting = True
            record.deleted = self._http.delete(path).is_success
            self.n_acknowledged += record.deleted

    def _learn(self, record: Record, path: str) -> None:
        trial = {"observations": self._rng.normal(size=(3, 3)).tolist(), "success": True}
        if learned := self._post(path + "/trials", {"trials": [trial]}):
            record.version, record.n_trials = int(learned["version"]), int(learned["n_trials"])  # type: ignore[call-overload]

    def _try(self, record: Record, path: str) -> None:
        begun = self._post(path + "/episodes", {"explore": False})
        if begun is None:
            return
        record.episode, record.n_steps = str(begun["id"]), 0
        for _ in range(int(self._rng.integers(1, 6))):
            if self._post(f"{path}/episodes/{begun['id']}/act", {"observation": [0.0, 0.0, 0.0]}):
                record.n_steps += 1
        if self._rng.random() < 0.7:
            record.finishing = True
            finish = {"observation": [1.0, 1.0, 1.0], "success": False}
            if after := self._post(f"{path}/episodes/{begun['id']}/finish", finish):
                record.version, record.n_trials = int(after["version"]), int(after["n_trials"])  # type: ignore[call-overload]
                record.episode = None


def verify(url: str, records: list[Record], finding: Finding) -> None:
    """Check that acknowledged data is there, and can be acted from."""
    with httpx.Client(base_url=url, timeout=30) as http:
        for record in records:
            path = f"/v1/adaptations/{record.id}"
            found = http.get(path)
            if record.deleted or (record.deleting and found.status_code == 404):
                if found.status_code != 404:
                    finding.lost.append(f"{path} was deleted, and answers {found.status_code}")
                continue
            if found.status_code != 200 or found.json()["version"] < record.version:
                finding.lost.append(f"{path} version {record.version}: {found.status_code} {found.text[:120]}")
                continue
            old = http.get(path, params={"version": record.version})
            if old.status_code != 200 or old.json()["n_trials"] != record.n_trials:
                finding.lost.append(f"{path} version {record.version}: {old.text[:120]}")
            for version in {1, record.version, found.json()["version"]}:
                acted = http.post(path + "/act", params={"version": version}, json=ZEROS)
                if acted.status_code != 200:
                    finding.half_written.append(f"{path} version {version}: {acted.text[:120]}")
            if record.episode is not None:
                _verify_steps(http, path, record, finding)


def _verify_steps(http: httpx.Client, path: str, record: Record, finding: Finding) -> None:
    step = http.post(f"{path}/episodes/{record.episode}/act", json={"observation": [0.0, 0.0, 0.0]})
    finished = step.status_code == 409 and record.finishing
    # A step whose answer was lost on the way may be there; one that was answered must be.
    if not finished and (step.status_code != 200 or not record.n_steps <= step.json()["step"] <= record.n_steps + 1):
        finding.lost.append(f"{path} step {record.n_steps} of {record.episode}: {step.text[:120]}")
    record.episode = None


def check_books(url: str, folder: Path, finding: Finding) -> None:
    """Check inside the database that rows, counts and files agree."""
    with closing(Database(url)) as database:
        storage = AdaptationRepository(database, EpisodeStore(folder / "data" / "episodes"), Quota(9, 9, 9), time.time)
        with database.read() as c:
            rows = c.exec_driver_sql("SELECT adaptation, version, n_demos, n_trials FROM versions").all()
        for row in rows:
            try:
                context = storage.context(row.adaptation, row.version)
            except Exception as error:
                finding.half_written.append(f"{row.adaptation}@{row.version}: {error!r}")
                continue
            if (len(context.demos), len(context.trials)) != (row.n_demos, row.n_trials):
                finding.half_written.append(f"{row.adaptation}@{row.version}: {row.n_demos}+{row.n_trials} episodes")
        queries = {
            "versions without a gap": "SELECT count(*) FROM adaptations a WHERE a.version <> "
            "(SELECT count(*) FROM versions v WHERE v.adaptation = a.id)",
            "steps without a gap": "SELECT count(*) FROM (SELECT recording FROM steps GROUP BY recording "
            "HAVING max(step) <> count(*) - 1) AS gaps",
            "adaptations counted": "SELECT abs(coalesce((SELECT sum(n_adaptations) FROM tenants), 0) - "
            "(SELECT count(*) FROM adaptations))",
            "bytes counted": "SELECT abs(coalesce((SELECT sum(n_bytes) FROM tenants), 0) - coalesce((SELECT "
            "sum(n_bytes) FROM blobs WHERE digest IN (SELECT digest FROM members)), 0))",
        }
        with database.read() as c:
            for name, query in queries.items():
                if off := c.exec_driver_sql(query).scalar():
                    finding.half_written.append(f"{name}: off by {off}")


def check_log(servers: list[Server], finding: Finding) -> None:
    for server in servers:
        if "Traceback" in (text := server.log.read_text()):
            finding.unexpected.append("in the log: " + text[text.index("Traceback") :][:600])
