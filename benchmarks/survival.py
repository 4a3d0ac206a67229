"""Survival of data after kill -9, cut connections, a full disk, and clients that drip or vanish. Not about speed.

    python benchmarks/survival.py            # 100 kills in all, about ten minutes on 2 cores
    python benchmarks/survival.py --kills 5

Real server processes serve the small model of the service's tests. After each fault: everything that was acknowledged
is there, everything that is there can be read and acted from, and the books (counts, bytes, files) agree.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import postgres  # noqa: E402

from benchmarks.surviving.books import Finding  # noqa: E402
from benchmarks.surviving.faults import cut, full_disk, kill_nine, rude_clients  # noqa: E402
from service.storage import migrations  # noqa: E402


def timed(work: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    started_s = time.monotonic()
    found = work()
    findings = found if isinstance(found, list) else [found]
    for finding in findings:
        finding.seconds = round((time.monotonic() - started_s) / len(findings), 1)
    return findings


def run(kills: int, seed: int, home: Path) -> list[Finding]:
    def folder(name: str) -> Path:
        (home / name).mkdir()
        return home / name

    def kill_sqlite() -> Finding:
        here = folder("kill-sqlite")
        url = f"sqlite:///{here / 'data' / 'service.sqlite3'}"
        return kill_nine(here, "sqlite", url, kills // 2, np.random.default_rng(seed))

    def kill_postgresql(url: str) -> Finding:
        return kill_nine(folder("kill-pg"), "postgresql", url, kills - kills // 2, np.random.default_rng(seed + 1))

    with postgres.running() as server, ThreadPoolExecutor(2) as pool:
        urls = [server.create() for _ in range(2)]
        for url in urls:
            migrations.upgrade(url)
        both = [pool.submit(timed, kill_sqlite), pool.submit(timed, lambda: kill_postgresql(urls[0]))]
        findings = [finding for future in both for finding in future.result()]
        findings += timed(lambda: cut(folder("cut"), server, urls[1], rounds=min(kills, 20)))
    findings += timed(lambda: full_disk(folder("full")))
    findings += timed(lambda: rude_clients(folder("rude")))
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "survival.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        findings = run(given.kills, given.seed, Path(home))
    for one in findings:
        verdict = "nothing lost" if one.good else f"LOST {one.lost} HALF {one.half_written} ODD {one.unexpected}"
        print(f"{one.fault:62} {one.database:10} {one.rounds:4} {one.acknowledged:7}  {verdict}  {one.note}")
    report = {
        "schema": 1,
        "seed": given.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "findings": [asdict(finding) | {"good": finding.good} for finding in findings],
    }
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(finding.good for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
