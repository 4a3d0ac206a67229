"""The conclusions of a suite in plain words. Reads a report; computes no statistics of its own."""

from metalearn.benchmark.report import Difference, SuiteReport, SuiteResults
from metalearn.evaluation.table import conclusions


def suite_conclusions(report: SuiteReport) -> dict[str, str]:
    """Return answers by question; questions that the results cannot answer are left out."""
    said = dict(conclusions(report))
    suite = report.suite
    for name, differences in (suite.return_comparisons or suite.comparisons).items():
        said[f"wtl above {name}"] = _above(differences, suite)
    for name, curve in suite.optimisers.items():
        never = f"not within {curve.budget:,} episodes"
        median = never if curve.median_to_match is None else f"after {curve.median_to_match:,} episodes"
        matched = sum(episodes is not None for episodes in curve.episodes_to_match)
        said[f"{name} matches {'one demo and one trial' if suite.budget['trials'] else 'one demo'}"] = (
            f"{median} (median; {matched} of {curve.n_tasks} tasks do)"
        )
    return said


def _above(differences: tuple[Difference, ...], suite: SuiteResults) -> str:
    """After one trial, or in the only attempt there is."""
    one = differences[min(1, len(differences) - 1)]
    scale, unit = (1.0, "") if suite.measure == "return" else (100.0, " points")
    size = f"{scale * one.mean:+.1f} ({scale * one.ci95[0]:+.1f}..{scale * one.ci95[1]:+.1f}){unit}"
    answer = "yes" if one.ci95[0] > 0 else "no" if one.ci95[1] < 0 else "not shown"
    return f"{answer}: {size} {'after one trial' if one.trials else 'in the first attempt'}"
