"""The cost of an adaptation on a real server with ONNX Runtime: memory, disk and processor time.

python benchmarks/sizing.py [--sessions 500]   writes benchmarks/results/sizing.json

Processor time is the server's own, from /proc: it does not depend on what else the machine does.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx

OUT = Path(__file__).parent / "results" / "sizing.json"
CLIENTS = 8
STEPS = 30


def cpu_s(pid: int) -> float:
    """Processor time of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """The part of it that is in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def disk_bytes(folder: Path) -> int:
    """The size of the files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(url: str, pid: int, data: Path, n_sessions: int, acts_s: float) -> dict[str, float]:
    """The figures, of `n_sessions` sessions of one demonstration and one trial each."""
    with httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(CLIENTS) as pool:
        given = client.get("/v1/models/reach").json()["example"]
        rows = [given["observations"][step % len(given["observations"])] for step in range(STEPS + 1)]
        actions = [given["actions"][step % len(given["actions"])] for step in range(STEPS)]

        def session(number: int) -> str:
            # Every session's episodes are its own, as they are in life: equal ones are stored once.
            moved = [[value + 1e-3 * number for value in row] for row in rows]
            rewards = [float(number)] * STEPS
            demo = {"observations": moved, "actions": actions}
            trial = {"observations": rows, "actions": actions, "rewards": rewards, "success": False}
            body = {"model": "reach", "demos": [demo], "trials": [trial]}
            answer = client.post("/v1/adaptations", json=body)
            answer.raise_for_status()
            return str(answer.json()["id"])

        session(0)
        memory, disk, cpu = memory_bytes(pid), disk_bytes(data), cpu_s(pid)
        made = list(pool.map(session, range(1, n_sessions + 1)))
        adapted_cpu_s = cpu_s(pid) - cpu
        held, stored = memory_bytes(pid) - memory, disk_bytes(data) - disk
        body = {"observations": rows[:1]}
        ends_s, cpu = time.monotonic() + acts_s, cpu_s(pid)

        def act(number: int) -> int:
            n = 0
            while time.monotonic() < ends_s:
                client.post(
                    f"/v1/adaptations/{made[(number + n * CLIENTS) % len(made)]}/act", json=body
                ).raise_for_status()
                n += 1
            return n

        n_acts = sum(pool.map(act, range(CLIENTS)))
        return {
            "sessions": n_sessions,
            "steps_of_an_episode": STEPS,
            "memory_of_the_server_mb": round(memory / 1e6, 1),
            "memory_per_session_kb": round(held / n_sessions / 1e3, 1),
            "disk_per_session_kb": round(stored / n_sessions / 1e3, 1),
            "sessions_in_memory_per_gb": round(1e9 / max(held / n_sessions, 1)),
            "sessions_on_disk_per_gb": round(1e9 / (stored / n_sessions)),
            "adaptations_per_core_second": round(n_sessions / adapted_cpu_s, 1),
            "acts_over_http_per_core_second": round(n_acts / (cpu_s(pid) - cpu), 1),
        }


def main() -> None:
    """Start a server, measure it, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--acts-s", type=float, default=10.0)
    given = parser.parse_args()
    with socket.socket() as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = os.environ | {"WTL_RUNTIME": "onnx", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "wtl.cli", "serve", "--port", str(port), "--data", f"{folder}/data"]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            while not _ready(url):
                time.sleep(0.2)
            figures = measure(url, server.pid, Path(folder, "data"), given.sessions, given.acts_s)
        finally:
            server.terminate()
            server.wait()
    figures |= {"date": datetime.now(UTC).isoformat(timespec="seconds")}
    OUT.write_text(json.dumps(figures, indent=2) + "\n")
    print(OUT.read_text())


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
