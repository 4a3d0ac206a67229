"""A live server under the hostile corpus and some mutations; benchmarks/hostile.py has the figures of many."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_hostile_bytes_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/hostile.py", "--mutations", "50", "--seed", "7"]
    done = subprocess.run([*command, "--out", tmp_path / "x.json"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "x.json").read_text())
    assert (report["wrong"], report["files_outside_the_data_folder"], report["adapts_afterwards"]) == ([], [], True)
    assert {"corpus gzip", "corpus application/x-npz", "paths and queries"} <= {row["kind"] for row in report["kinds"]}
    assert report["cases"] > 500
