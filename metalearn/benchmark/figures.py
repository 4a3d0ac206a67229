"""Figures of the suites with their intervals, and the lines that say them."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from metalearn.evaluation.statistics import wilson

CONFIDENCE, RESAMPLES = (2.5, 97.5), 1000


def rate(flags: Bool[np.ndarray, " n"]) -> dict[str, Any]:
    """A rate with Wilson's interval; None of nothing."""
    k, n = int(flags.sum()), len(flags)
    return {"rate": k / n, "ci95": list(wilson(k, n)), "n": n} if n else {"rate": None, "ci95": None, "n": 0}


def mean(values: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """A mean with its bootstrap interval over tasks."""
    rng = np.random.default_rng(24)
    found = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    return {"mean": float(values.mean()), "ci95": [float(x) for x in np.percentile(found, CONFIDENCE)]}


def lines(part: str, value: Any, depth: int = 0) -> list[str]:
    """A part of the report, a line for each of its values."""
    indent = "  " * depth
    if not isinstance(value, dict):
        return [f"{indent}{part}: {said(value)}"]
    figure = next((name for name in ("rate", "mean", "value") if name in value), None)
    if figure is not None and "ci95" in value:
        return [f"{indent}{part}: {said(value[figure])} {said(value['ci95'])}"]
    return [f"{indent}{part}", *(line for name, one in value.items() for line in lines(str(name), one, depth + 1))]


def said(value: Any) -> str:
    """A value of a report, in few letters."""
    if isinstance(value, float | np.floating):
        return f"{value:.3f}"
    if isinstance(value, list):
        return "(" + " .. ".join(map(said, value)) + ")"
    return str(value)
