"""Serving in this checkout beside serving at another commit, by turns: what a change to the code costs or saves.

    python -m benchmarks.before COMMIT                # about 12 minutes
    python -m benchmarks.before COMMIT --rounds 2     # a look

Both servers run at once and are loaded by turns, round by round, so that whatever else the machine does hits both. A
ratio is this checkout over the commit; its interval is the 95% bootstrap interval of the median of the rounds' ratios.
Writes benchmarks/results/before.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.serve import ROOT, Bench, Server, drive, running
from metalearn.bundle import Bundle
from service.codecs import MSGPACK, encode_msgpack
from service.settings import SHIPPED_MODELS

N_ADAPTATIONS = 60


def adapt(server: Server, body: bytes) -> str:
    """Adapt over a connection of its own; the id. Both commits speak this body."""
    headers = {"Content-Type": MSGPACK, "Accept": "application/json"}
    return str(
        httpx.post(f"{server.url}/v1/adaptations", content=body, headers=headers).raise_for_status().json()["id"]
    )


def adaptation_p50_ms(server: Server, bodies: list[bytes]) -> float:
    """Of one connection that adapts again and again."""
    times: list[float] = []
    with httpx.Client(base_url=server.url, headers={"Content-Type": MSGPACK}) as http:
        for body in bodies:
            started_s = time.perf_counter()
            http.post("/v1/adaptations", content=body).raise_for_status()
            times.append((time.perf_counter() - started_s) * 1e3)
    return statistics.median(times[5:])


def ratio(new: list[float], old: list[float]) -> dict[str, Any]:
    """The median of the rounds' ratios, and its interval."""
    ratios = np.array(new) / np.array(old)
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return {"ratio": round(float(np.median(ratios)), 3), "ci95": [round(float(low), 3), round(float(high), 3)],
            "new": round(statistics.median(new), 4), "old": round(statistics.median(old), 4)}  # fmt: skip


def compare(old_root: Path, folder: Path, rounds: int, runtime: str) -> dict[str, dict[str, Any]]:
    bench = Bench(folder, runtime, quick=False, soak_min=0)
    push = Bundle.load(SHIPPED_MODELS / "push")
    rng = np.random.default_rng(0)
    found: defaultdict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running("service", folder / name, runtime, root))
            for name, root in (("new", ROOT), ("old", old_root))
        ]
        episode = bench.episode(10).to_dict()
        shown = encode_msgpack({"model": "reach", "demos": [episode]})
        ids = [[adapt(server, shown) for _ in range(64)] for server in servers]

        def note(name: str, which: int, value: float) -> None:
            found[name][which].append(value)

        for i in range(rounds):
            turns = (0, 1) if i % 2 else (1, 0)
            for wire in ("json", "msgpack", "ws"):
                for n in (1, 64):
                    for which in turns:
                        plan = [bench.ours(one, wire) for one in ids[which][:n]]
                        result = drive(servers[which], plan, seconds=1.5)
                        note(f"processor us an act, {n} sessions, {wire}", which, result["cpu_us"])
                        if n == 1:
                            note(f"act p50, ms, 1 session, {wire}", which, result["p50_ms"])
                        else:
                            note(f"acts a second, 64 sessions, {wire}", which, result["per_s"])
            bodies = [
                encode_msgpack({"model": "push", "demos": [demo.to_dict()], "trials": [trial.to_dict()]})
                for demo, trial in ((push.spec.example_episode(rng, 100), push.spec.example_episode(rng, 100))
                                    for _ in range(N_ADAPTATIONS))
            ]  # fmt: skip
            for which in turns:
                before_s = servers[which].cpu_s
                p50_ms = adaptation_p50_ms(servers[which], bodies)
                note("adaptation p50, ms, 1 demo and 1 trial of 100 steps", which, p50_ms)
                cpu_ms = (servers[which].cpu_s - before_s) / len(bodies) * 1e3
                note("processor ms an adaptation", which, cpu_ms)
    return {name: ratio(*values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runtime", choices=("onnx", "torch"), default="onnx")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "before.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(old)], check=True)
        subprocess.run(["git", "-C", str(old), "checkout", "--quiet", given.commit], check=True)
        rows = compare(old, Path(folder), given.rounds, given.runtime)
    for name, row in rows.items():
        print(
            f"{name:52s} {row['ratio']:.3f} [{row['ci95'][0]:.3f}, {row['ci95'][1]:.3f}]   {row['new']} / {row['old']}"
        )
    report = {"commit": given.commit, "rounds": given.rounds, "runtime": given.runtime, "cpus": os.cpu_count(),
              "at": datetime.now(UTC).isoformat(timespec="seconds"), "rows": rows}  # fmt: skip
    given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
