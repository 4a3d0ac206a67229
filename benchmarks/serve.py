"""The cost of serving, beside an echo server (the limit) and a plain policy server like openpi's. Ratios in one run.

    python -m benchmarks.serve                       # every part but the soak, in less than 15 minutes
    python -m benchmarks.serve --quick --parts act   # a look
    python -m benchmarks.serve --parts soak --soak 10

Servers and generator are processes of their own; subject and baselines take turns, round by round, and the median
of the rounds is reported. Writes benchmarks/results/serve.json.
"""

import argparse
import base64
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.bundle import Bundle
from metalearn.data.episode import Episode
from service.client import Client
from service.codecs import JSON, MSGPACK, encode_json, encode_msgpack
from service.settings import SHIPPED_MODELS

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("act", "slow", "adapt", "flat", "overload", "soak")
SESSIONS = (1, 8, 64, 512)


class Server:
    """One of `benchmarks.serving.servers`, in a process of its own."""

    def __init__(self, kind: str, folder: Path, runtime: str, root: Path = ROOT) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.serving.servers"]
        self.process = subprocess.Popen(
            [*command, kind, str(self.port), str(folder), runtime],
            cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}"
        until_s = time.monotonic() + 180  # on a busy machine
        while True:
            assert self.process.poll() is None and time.monotonic() < until_s, f"{kind} did not start"
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                time.sleep(0.05)

    @property
    def cpu_s(self) -> float:
        """Processor time so far: what an answer costs, however busy the machine is."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def running(kind: str, folder: Path, runtime: str, root: Path = ROOT) -> Iterator[Server]:
    server = Server(kind, folder / kind, runtime, root)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


def frame(payload: bytes) -> bytes:
    """A masked binary frame; the mask is zero."""
    n = len(payload)
    size = bytes([0x80 | n]) if n < 126 else bytes([0x80 | 126]) + n.to_bytes(2, "big")
    return b"\x82" + size + b"\0\0\0\0" + payload


def websocket(path: str, message: dict[str, Any], every: int = 0) -> dict[str, Any]:
    """A connection of the generator's plan; `every` so many frames a reset, since an episode has a horizon."""
    head = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    asked = [encode_msgpack(message)] * (every or 1)
    frames = [frame(one) for one in ([encode_msgpack({"reset": True})] if every else []) + asked]
    return {"kind": "ws", "head": _b64(head.encode()), "requests": [_b64(one) for one in frames]}


def http(path: str, body: bytes, media_type: str) -> dict[str, Any]:
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {media_type}", f"Content-Length: {len(body)}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return {"kind": "http", "head": "", "requests": [_b64(head.encode() + body)]}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def drive(server: Server, connections: list[dict[str, Any]], seconds: float, rate_hz: float | None = None) -> Any:
    """Load from another process; see benchmarks/serving/load.py."""
    plan = {"host": "127.0.0.1", "port": server.port, "seconds": seconds, "warmup_s": 0.3, "rate_hz": rate_hz,
            "connections": connections}  # fmt: skip
    load = [sys.executable, str(ROOT / "benchmarks" / "serving" / "load.py")]
    before_s = server.cpu_s
    done = subprocess.run(load, input=json.dumps(plan), text=True, capture_output=True, check=True)
    result = json.loads(done.stdout)
    result["cpu_us"] = round((server.cpu_s - before_s) / max(1, result["n"]) * 1e6, 1)
    return result


def summed(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    statuses: defaultdict[str, int] = defaultdict(int)
    for one in rounds:
        for status, n in one["statuses"].items():
            statuses[status] += n
    middle = {
        k: round(statistics.median(r[k] or 0 for r in rounds), 4) for k in ("p50_ms", "p99_ms", "per_s", "cpu_us")
    }
    return {**middle, "rounds": len(rounds), "statuses": dict(statuses)}


class Bench:
    def __init__(self, folder: Path, runtime: str, quick: bool, soak_min: float) -> None:
        self.folder, self.runtime, self.quick, self.soak_min = folder, runtime, quick, soak_min
        self.bundle = Bundle.load(SHIPPED_MODELS / "reach")
        self.rng = np.random.default_rng(0)
        self.observation = self.bundle.spec.example_episode(self.rng).observations[0]
        self.seconds, self.rounds = (1.0, 1) if quick else (3.0, 3)

    def episode(self, n_steps: int) -> Episode:
        return self.bundle.spec.example_episode(self.rng, min(n_steps, self.bundle.spec.horizon))

    def sessions(self, server: Server, n: int) -> list[str]:
        client = Client(server.url)
        return [client.adapt("reach", demos=[self.episode(10)]).id for _ in range(n)]

    def ours(self, session: str, wire: str) -> dict[str, Any]:
        base, rows = f"/v1/adaptations/{session}", {"observations": self.observation[None]}
        if wire == "ws":
            every = self.bundle.spec.horizon
            return websocket(f"{base}/stream", {"observation": self.observation}, every)
        encode = encode_json if wire == "json" else encode_msgpack
        return http(f"{base}/act", encode(rows), JSON if wire == "json" else MSGPACK)

    def echo(self, wire: str) -> dict[str, Any]:
        if wire == "ws":
            return websocket("/stream", {"observation": self.observation})
        encode = encode_json if wire == "json" else encode_msgpack
        return http("/act", encode({"observations": self.observation[None]}), JSON if wire == "json" else MSGPACK)

    def act(self) -> dict[str, Any]:
        with ExitStack() as stack:
            ours, echo, plain = (
                stack.enter_context(running(kind, self.folder, self.runtime)) for kind in ("service", "echo", "plain")
            )
            ids = self.sessions(ours, max(SESSIONS))
            table: dict[str, Any] = {}
            for n in SESSIONS:
                found: defaultdict[str, list[Any]] = defaultdict(list)
                for _ in range(self.rounds):
                    for wire in ("json", "msgpack", "ws"):
                        mine = [self.ours(one, wire) for one in ids[:n]]
                        found[f"service {wire}"].append(drive(ours, mine, self.seconds))
                        found[f"echo {wire}"].append(drive(echo, [self.echo(wire)] * n, self.seconds))
                    found["plain ws"].append(drive(plain, [self.echo("ws")] * n, self.seconds))
                table[str(n)] = {name: summed(rounds) for name, rounds in found.items()}
                for name, row in table[str(n)].items():
                    print(f"{n:4d} sessions  {name:16s} p50 {row['p50_ms']:9.3f} ms  p99 {row['p99_ms']:9.3f} ms  "
                          f"{row['per_s']:9.0f}/s  {row['cpu_us']:7.0f} us CPU  {row['statuses']}",
                          flush=True)  # fmt: skip
        one, many, most = table["1"], table["64"], table["512"]
        ratios = {
            "ws p50 at 1 session / plain (<= 0.8)": one["service ws"]["p50_ms"] / one["plain ws"]["p50_ms"],
            **{f"{wire} throughput at 64 sessions / echo (>= {aim})": many[f"service {wire}"]["per_s"]
               / many[f"echo {wire}"]["per_s"] for wire, aim in (("json", 0.7), ("msgpack", 0.7), ("ws", 1.0))},
            **{f"{wire} p99 / p50 at 512 sessions (<= 5)": most[f"service {wire}"]["p99_ms"]
               / most[f"service {wire}"]["p50_ms"] for wire in ("json", "msgpack", "ws")},
        }  # fmt: skip
        return {"sessions": table, "ratios": _told(ratios)}

    def slow(self) -> dict[str, Any]:
        with ExitStack() as stack:
            ours, plain = (
                stack.enter_context(running(k, self.folder, self.runtime)) for k in ("service-slow", "plain-slow")
            )
            ids = self.sessions(ours, 64)
            found: defaultdict[str, list[Any]] = defaultdict(list)
            for _ in range(self.rounds):
                found["service ws"].append(drive(ours, [self.ours(one, "ws") for one in ids], self.seconds))
                found["plain ws"].append(drive(plain, [self.echo("ws")] * 64, self.seconds))
        rows = {name: summed(rounds) for name, rounds in found.items()}
        ratio = rows["service ws"]["per_s"] / rows["plain ws"]["per_s"]
        return {"sessions": {"64": rows}, "ratios": _told({"throughput / plain, forward pass of 1 ms (>= 5)": ratio})}

    def adapt(self) -> dict[str, Any]:
        """1 demo and 1 trial of 100 steps, with `push`, which has a mil to compare with."""
        push = Bundle.load(SHIPPED_MODELS / "push")
        times: list[float] = []
        with running("service", self.folder, self.runtime) as ours, Client(ours.url) as client:
            for i in range(30 if self.quick else 200):
                demo, trial = (push.spec.example_episode(self.rng, 100) for _ in range(2))
                started_s = time.perf_counter()
                client.adapt("push", demos=[demo], trials=[trial])
                if i >= 5:
                    times.append((time.perf_counter() - started_s) * 1e3)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _MIL], cwd=ROOT, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        p50, mil = statistics.median(times), float(done.stdout.split()[-1])
        p99 = sorted(times)[int(0.99 * len(times))]
        print(f"adapt: p50 {p50:.2f} ms (<= 15), p99 {p99:.2f} ms; mil's inner loop {mil:.2f} ms", flush=True)
        return {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "mil_ms": round(mil, 3),
                "ratios": _told({"mil's inner loop / adaptation": mil / p50})}  # fmt: skip

    def flat(self) -> dict[str, Any]:
        """Act against demos and trials of the session, and against sessions in the database."""
        wanted = (10, 1000) if self.quick else (10, 1000, 10_000, 100_000)
        rows: dict[str, Any] = {}
        with running("service", self.folder / "flat", self.runtime) as ours:
            client = Client(ours.url)
            for k, n in ((0, 1), (1, 0), (1, 1), (10, 10), (100, 100)):
                made = client.adapt("reach", [self.episode(10) for _ in range(k)], [self.episode(10) for _ in range(n)])
                rows[f"{k} demos, {n} trials"] = drive(ours, [self.ours(made.id, "msgpack")], self.seconds)
            for n_stored in wanted:
                _fill(self.folder / "flat" / "service" / "service.sqlite3", n_stored)
                rows[f"{n_stored} sessions"] = drive(ours, [self.ours(made.id, "msgpack")], self.seconds)
            for name, row in rows.items():
                print(f"act with {name:20s} p50 {row['p50_ms']:.3f} ms  p99 {row['p99_ms']:.3f} ms", flush=True)
        return rows

    def overload(self) -> dict[str, Any]:
        """More than there is room for is answered 503 at once, and afterwards everything is as before."""
        with running("service-narrow", self.folder / "over", self.runtime) as ours, Client(ours.url) as client:
            ids = self.sessions(ours, 1)
            calm = drive(ours, [self.ours(ids[0], "json")], self.seconds)
            flood = drive(ours, [self.ours(ids[0], "json")] * 512, 2 * self.seconds)
            client.adaptation(ids[0])  # what the flood left is answered before this
            after = drive(ours, [self.ours(ids[0], "json")], self.seconds)
        print(f"overload: {flood['statuses']}; p50 before {calm['p50_ms']} ms, after {after['p50_ms']} ms", flush=True)
        return {"before": calm, "flood": flood, "after": after}

    def soak(self) -> dict[str, Any]:
        """Mixed traffic at 70% of the peak: errors, memory, latency."""
        minutes = self.soak_min or (0.5 if self.quick else 0)
        if not minutes:
            print("soak: left out; --soak MINUTES", flush=True)
            return {}
        with running("service", self.folder / "soak", self.runtime) as ours:
            ids, client = self.sessions(ours, 64), Client(ours.url)
            mixed = [self.ours(one, wire) for one, wire in zip(ids, ["ws", "json", "msgpack", "ws"] * 16, strict=True)]
            rate = 0.7 * drive(ours, mixed, self.seconds)["per_s"]
            rows, until_s = [], time.monotonic() + 60 * minutes
            while time.monotonic() < until_s:
                rows.append({**drive(ours, mixed, 10, rate), "rss_mb": round(ours.rss_mb, 1)})
                made = client.adapt("reach", demos=[self.episode(10)])
                made.add_trials([self.episode(10)]).delete()
        errors = sum(n for row in rows for status, n in row["statuses"].items() if status != "200")
        third = max(1, len(rows) // 3)
        growth = {
            key: statistics.median(r[key] for r in rows[-third:]) / statistics.median(r[key] for r in rows[:third])
            for key in ("rss_mb", "p99_ms")
        }
        print(f"soak: {minutes} min at {rate:.0f}/s, {errors} errors, growth {growth}", flush=True)
        return {"minutes": minutes, "rate_hz": round(rate), "errors": errors, "growth": growth, "rows": rows}


_MIL = """
import statistics, time
import numpy as np
from pathlib import Path
from metalearn.baselines.bundled import methods_of
from metalearn.bundle import Bundle
from metalearn.data.context import Context
bundle = Bundle.load(Path("models/push"))
mil, rng, times = methods_of(bundle)["mil"], np.random.default_rng(0), []
for _ in range(30):
    context = Context((bundle.spec.example_episode(rng, 100),), (bundle.spec.example_episode(rng, 100),))
    started_s = time.perf_counter()
    actor = mil.adapt([context], rng)
    actor.act(context.demos[0].observations[:1])
    times.append((time.perf_counter() - started_s) * 1e3)
print(statistics.median(times[5:]))
"""


def _fill(file: Path, n: int) -> None:
    """More sessions in the database, until there are n: copies of a row, which is what its size is made of."""
    import sqlite3

    with sqlite3.connect(file, timeout=30) as c:
        names = [row[1] for row in c.execute("PRAGMA table_info(adaptations)") if row[1] not in {"position", "id"}]
        have = c.execute("SELECT count(*) FROM adaptations").fetchone()[0]
        row = c.execute(f"SELECT {', '.join(names)} FROM adaptations LIMIT 1").fetchone()
        version = c.execute("SELECT * FROM versions LIMIT 1").fetchone()
        columns = [one[1] for one in c.execute("PRAGMA table_info(versions)")]
        at = columns.index("adaptation")
        ids = [os.urandom(12).hex() for _ in range(n - have)]
        marks = ", ".join("?" * (len(names) + 1))
        c.executemany(f"INSERT INTO adaptations (id, {', '.join(names)}) VALUES ({marks})", ((i, *row) for i in ids))
        c.executemany(
            f"INSERT INTO versions VALUES ({', '.join('?' * len(columns))})",
            ((*version[:at], i, *version[at + 1 :]) for i in ids),
        )


def _told(ratios: dict[str, float]) -> dict[str, float]:
    for name, value in ratios.items():
        print(f"ratio: {name}: {value:.2f}", flush=True)
    return {name: round(value, 3) for name, value in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="figures of little meaning, soon")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    parser.add_argument("--runtime", choices=("onnx", "torch"), default="onnx")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "serve.json")
    given = parser.parse_args()
    parts = given.parts.split(",")
    assert set(parts) <= set(PARTS), f"parts: expected some of {PARTS}, got {parts}"
    report: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.runtime, given.quick, given.soak)
        for part in parts:
            print(f"-- {part}", flush=True)
            report[part] = getattr(bench, part)()
    report["made"] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "runtime": given.runtime, "quick": given.quick,
        "cpus": os.cpu_count(), "python": platform.python_version(), "parts": parts,
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
