"""Broken recordings of every format: `benchmarks/fuzz_files.py` in small, and that it finds what it looks for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.fuzzed_files import LAYOUTS, Case, judge
from support.fuzzed_files.judge import read_as_adapt
from support.fuzzed_files.mutations import HARMLESS

from metalearn.data.formats import FORMATS, Recorded, Selection

N_CASES = 300


def test_every_format_of_the_table_is_fuzzed() -> None:
    assert set(LAYOUTS) == set(FORMATS)


def test_no_reader_breaks_or_changes_anything_in_silence(tmp_path: Path) -> None:
    cases = [Case.drawn(i, 0, tuple(FORMATS)) for i in range(N_CASES)]
    verdicts = [judge(case, tmp_path) for case in cases]
    assert [(case, one.why) for case, one in zip(cases, verdicts, strict=True) if one.outcome == "failure"] == []
    outcomes = {one.outcome for one in verdicts}
    assert {"as before", "as written", "remark", "error"} <= outcomes


@pytest.mark.parametrize("name", FORMATS)
def test_harmless_changes_are_read_as_before(name: str, tmp_path: Path) -> None:
    verdicts = [judge(Case(name, (mutation,), seed=3), tmp_path).outcome for mutation in sorted(HARMLESS)]
    assert set(verdicts) <= {"as before", "not applied"}
    assert "as before" in verdicts


def test_a_reader_that_repairs_in_silence_is_found(tmp_path: Path) -> None:
    def careless(source: str, selection: Selection) -> Recorded:
        found = read_as_adapt(source, selection)
        whole = [np.clip(one.observations, -50, 50) for one in found.episodes]
        pairs = zip(found.episodes, whole, strict=True)
        return replace(found, episodes=tuple(replace(one, observations=seen) for one, seen in pairs))

    cases = (Case("npz", ("nan, inf, odd number",), seed) for seed in range(40))
    assert "failure" in {judge(case, tmp_path, careless).outcome for case in cases}


def test_a_traceback_is_found(tmp_path: Path) -> None:
    def broken(source: str, selection: Selection) -> Recorded:
        if "broken" in source:
            raise KeyError("x")
        return read_as_adapt(source, selection)

    verdict = judge(Case("json", ("drop a member",), 0), tmp_path, broken)
    assert verdict.outcome == "failure"
    assert "KeyError" in verdict.why
