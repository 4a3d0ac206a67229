"""The long run of schemathesis over the whole API: python benchmarks/fuzz.py [--examples 200] [--seeds 3].

Writes what was asked and answered to results/fuzz.json, all along, and ends with 1 if anything was wrong.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import structlog

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.fuzzing import Findings, fuzz, served  # noqa: E402

WRITE_EVERY_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "fuzz.json")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    started_s, written_s, total = time.monotonic(), 0.0, Findings()

    def write(seeds_done: int) -> dict[str, Any]:
        report = {
            "examples": arguments.examples,
            "seeds": arguments.seeds,
            "seeds_done": seeds_done,
            "operations": len(total.operations),
            "cases": sum(total.cases.values()),
            "phases": total.to_json(),
            "failures": sorted(set(total.failures)),
            "wall_s": round(time.monotonic() - started_s, 1),
        }
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
        return report

    def noted(seeds_done: int) -> None:
        nonlocal written_s
        if time.monotonic() - written_s > WRITE_EVERY_S:
            report, written_s = write(seeds_done), time.monotonic()
            print(f"{report['wall_s']:6.0f} s  seed {seeds_done}  {report['cases']:,} cases", flush=True)

    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            fuzz(served(Path(folder)), examples=arguments.examples, seed=seed, into=total, noted=partial(noted, seed))
    report = write(arguments.seeds)
    for failure in report["failures"]:
        print(failure)
    print(f"{report['cases']:,} cases on {report['operations']} operations, {len(report['failures'])} failures")
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
