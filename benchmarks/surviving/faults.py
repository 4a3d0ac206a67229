"""The faults. Each function makes one happen to real server processes and says what came of it."""

import json
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
from support import postgres
from support.pointing import settings_in

from benchmarks.surviving.books import Finding, Record, Server, Writer, check_books, check_log, verify


def kill_nine(folder: Path, database: str, url: str, kills: int, rng: np.random.Generator) -> Finding:
    """Two servers on one database; one of them, or both at once, is killed at a random instant, again and again."""
    finding = Finding("kill -9 during writes, of one of two servers or both", database)
    settings_in(folder)
    servers = [Server(folder, f"server{i}", database=url) for i in range(2)]
    for server in servers:
        server.wait()
    n_both = 0
    while finding.rounds < kills:
        both = bool(rng.random() < 0.5)
        victims = servers if both else [servers[int(rng.integers(2))]]
        records = _write_until_killed(servers, victims, rng, finding)
        for server in servers:
            if server not in victims:  # this one goes on
                verify(server.url, records, finding)
        for victim in victims:
            victim.start()
        for victim in victims:
            victim.wait()
        verify(victims[0].url, records, finding)
        finding.rounds, n_both = finding.rounds + 1, n_both + both
        print(f"{database}: {finding.rounds} kills, {finding.acknowledged} acknowledged", flush=True)
    finding.note = f"both at once in {n_both} of {finding.rounds} rounds"
    for server in servers:
        if server.stop():
            finding.unexpected.append("a server did not end well")
    check_books(url, folder, finding)
    check_log(servers, finding)
    return finding


def _write_until_killed(
    servers: list[Server], victims: list[Server], rng: np.random.Generator, finding: Finding
) -> list[Record]:
    writers = [Writer(server.url, int(rng.integers(2**31))) for server in servers for _ in range(2)]
    for writer in writers:
        writer.start()
    time.sleep(float(rng.uniform(0.05, 1.5)))
    for victim in victims:
        victim.kill()
    for writer in writers:
        writer.ended.set()
    for writer in writers:
        writer.join(60)
    finding.acknowledged += sum(writer.n_acknowledged for writer in writers)
    odd = {status for writer in writers for status in writer.statuses} - {200, 201, 503}
    finding.unexpected += [f"status {status}" for status in odd]
    return [record for writer in writers for record in writer.records]


def cut(folder: Path, server_of: postgres.Postgres, url: str, rounds: int) -> Finding:
    """Connections are cut, and the database is stopped and started, while everybody writes."""
    finding = Finding("database connections cut, database restarted", "postgresql")
    settings_in(folder)
    server = Server(folder, database=url).wait()
    writers = [Writer(server.url, seed) for seed in range(4)]
    for writer in writers:
        writer.start()
    for _ in range(rounds):
        time.sleep(0.3)
        server_of.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wtl'")
        finding.rounds += 1
    server_of.stop()
    time.sleep(1)
    server_of.start()
    time.sleep(2)
    before = sum(writer.n_acknowledged for writer in writers)
    time.sleep(2)
    finding.acknowledged = sum(writer.n_acknowledged for writer in writers)
    if finding.acknowledged == before:
        finding.unexpected.append("it did not recover")
    statuses: dict[int, int] = {}
    for writer in writers:
        writer.ended.set()
        writer.join(60)
        for status, n in writer.statuses.items():
            statuses[status] = statuses.get(status, 0) + n
    finding.unexpected += [f"status {status}" for status in set(statuses) - {200, 201, 503}]
    finding.note = f"{statuses.get(503, 0)} requests were answered 503; one restart"
    verify(server.url, [record for writer in writers for record in writer.records], finding)
    server.stop()
    check_books(url, folder, finding)
    return finding


@contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    """A disk of 8 MB with 1 MB of ballast on it, where mounting is allowed."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=False)
    try:
        yield "a tmpfs of 8 MB" if mounted.returncode == 0 else "RLIMIT_FSIZE"
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(folder: Path) -> Finding:
    """Write until there is no room, then make some."""
    finding = Finding("disk full", "sqlite")
    settings_in(folder)
    data = folder / "data"
    data.mkdir()
    with small_disk(data) as how:
        finding.note = how
        (data / "ballast").write_bytes(b"x" * 2**20)
        if how == "RLIMIT_FSIZE":  # inherited by the server; the signal of it is ignored by Python
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        server = Server(folder, min_free_bytes=0).wait()
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        )
        statuses, records = _fill(server, finding)
        finding.acknowledged = statuses.get(201, 0)
        finding.unexpected += [f"status {status}" for status in set(statuses) - {200, 201, 507}]
        if 507 not in statuses:
            finding.unexpected.append("the disk never was full")
        finding.note += f"; {statuses.get(507, 0)} requests were answered 507"
        verify(server.url, records, finding)
        if how != "RLIMIT_FSIZE":
            (data / "ballast").unlink()
            writer = Writer(server.url, 1)
            with suppress(httpx.TransportError):
                writer._story()
            if set(writer.statuses) - {200, 201}:
                finding.unexpected.append(f"with room again: {writer.statuses}")
            finding.acknowledged += writer.n_acknowledged
            verify(server.url, writer.records, finding)
        server.stop()
        check_books(f"sqlite:///{data / 'service.sqlite3'}", folder, finding)
        check_log([server], finding)
    finding.rounds = 1
    return finding


def _fill(server: Server, finding: Finding) -> tuple[dict[int, int], list[Record]]:
    statuses: dict[int, int] = {}
    records = []
    rng = np.random.default_rng(0)
    with httpx.Client(base_url=server.url, timeout=30) as http:
        for _ in range(5000):
            demo = {"observations": rng.normal(size=(51, 3)).tolist()}
            answer = http.post("/v1/adaptations", json={"model": "point", "demos": [demo]})
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            if answer.status_code == 201:
                records.append(Record(answer.json()["id"]))
            if statuses.get(507, 0) >= 20 or (answer.status_code >= 500 and answer.status_code != 507):
                break
    return statuses, records


def rude_clients(folder: Path) -> list[Finding]:
    """Bodies that drip, and clients that go away in the middle of what they send or are sent."""
    settings_in(folder)
    server = Server(folder, body_timeout_s=2).wait()
    drip = Finding("slow client: a body that drips in", "sqlite", note="WTL_BODY_TIMEOUT_S=2")
    gone = Finding("client gone in the middle of a request, or before its answer", "sqlite")
    demo = {"observations": np.zeros((40, 3)).tolist()}
    body = json.dumps({"model": "point", "demos": [demo]}).encode()
    lines = (
        "POST /v1/adaptations HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    head = "\r\n".join((*lines, "", ""))
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    started_s = time.monotonic()
    for one in slow:
        one.sendall(head.encode() + body[:5])
    writer = Writer(server.url, 0)
    writer.start()
    while time.monotonic() - started_s < 4:
        time.sleep(0.3)
        for one in slow:
            with suppress(OSError):
                one.sendall(b" ")
    writer.ended.set()
    writer.join(30)
    drip.acknowledged = writer.n_acknowledged
    for one in slow:
        one.settimeout(10)
        with suppress(OSError):
            if not one.recv(100).startswith(b"HTTP/1.1 408"):
                drip.unexpected.append("a dripping body was not refused with 408")
        one.close()
    drip.rounds = len(slow)
    if not writer.n_acknowledged:
        drip.unexpected.append("others were not served meanwhile")
    verify(server.url, writer.records, drip)
    rng = np.random.default_rng(0)
    for i in range(200):
        sent = head.encode() + body
        with socket.create_connection(("127.0.0.1", server.port)) as one:
            one.sendall(sent if i % 2 else sent[: int(rng.integers(1, len(sent)))])
        gone.rounds += 1
    time.sleep(1)
    writer = Writer(server.url, 1)
    writer._story()
    gone.acknowledged = writer.n_acknowledged
    verify(server.url, writer.records, gone)
    if server.stop():
        gone.unexpected.append("the server did not end well")
    check_books(f"sqlite:///{folder / 'data' / 'service.sqlite3'}", folder, gone)
    check_log([server], gone)
    return [drip, gone]
