"""The long run of schemathesis over the whole API: python benchmarks/fuzz.py [--examples 200] [--seeds 3].

Writes what was asked and answered to results/fuzz.json, and ends with 1 if anything was wrong.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import structlog

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "service")]

from fuzzing import Findings, fuzz, served  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "fuzz.json")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    started_s, total = time.monotonic(), Findings()
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            add(total, fuzz(served(Path(folder)), examples=arguments.examples, seed=seed))
    report = {
        "examples": arguments.examples,
        "seeds": arguments.seeds,
        "operations": len(total.operations),
        "cases": sum(total.cases.values()),
        "phases": total.to_json(),
        "failures": sorted(set(total.failures)),
        "wall_s": round(time.monotonic() - started_s, 1),
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    for failure in report["failures"]:
        print(failure)
    print(f"{report['cases']:,} cases on {report['operations']} operations, {len(report['failures'])} failures")
    return 1 if report["failures"] else 0


def add(total: Findings, found: Findings) -> None:
    total.cases.update(found.cases)
    total.operations |= found.operations
    total.failures += found.failures
    for phase, statuses in found.statuses.items():
        total.statuses.setdefault(phase, Counter()).update(statuses)


if __name__ == "__main__":
    sys.exit(main())
