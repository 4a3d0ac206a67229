"""Broken recordings of every format: `benchmarks/fuzz_files.py` in small, and that it finds what it looks for."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.fuzzed_files import LAYOUTS, Case, judge
from support.fuzzed_files.hdf5 import CAMERA
from support.fuzzed_files.judge import HARMLESS, read_as_adapt

from metalearn.data.formats import FORMATS, Recorded, Selection

N_CASES = 144
ROOT = Path(__file__).parents[2]


def test_every_format_of_the_table_is_fuzzed() -> None:
    assert set(LAYOUTS) == {*FORMATS, CAMERA}


def test_no_reader_breaks_or_changes_anything_in_silence() -> None:
    # In a process of its own, without the checks of shapes that tests have besides and production has not.
    command = [sys.executable, "-m", "benchmarks.fuzz_files", "--cases", str(N_CASES)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.rstrip().endswith("0 failures")


@pytest.mark.parametrize("name", LAYOUTS)
def test_harmless_changes_are_read_as_before(name: str, tmp_path: Path) -> None:
    verdicts = [judge(Case(name, (mutation,), seed=3), tmp_path).outcome for mutation in sorted(HARMLESS)]
    assert set(verdicts) <= {"as before", "not applied"}
    assert "as before" in verdicts


def test_a_reader_that_repairs_in_silence_is_found(tmp_path: Path) -> None:
    def careless(source: str, selection: Selection) -> Recorded:
        found = read_as_adapt(source, selection)
        if "broken" not in source:
            return found
        return replace(found, episodes=tuple(replace(one, observations=one.observations * 0) for one in found.episodes))

    verdicts = [judge(Case("npz", (name,), 0), tmp_path, careless) for name in ("order of members", "cut all members")]
    assert [one.outcome for one in verdicts] == ["failure", "failure"]


def test_a_traceback_is_found(tmp_path: Path) -> None:
    def broken(source: str, selection: Selection) -> Recorded:
        if "broken" in source:
            raise KeyError("x")
        return read_as_adapt(source, selection)

    verdict = judge(Case("json", ("drop a member",), 0), tmp_path, broken)
    assert verdict.outcome == "failure"
    assert "KeyError" in verdict.why
