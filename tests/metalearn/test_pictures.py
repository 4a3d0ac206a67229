"""Every function that draws, with ordinary and with extreme data: no word lies on anything, none is missing."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import faults_of

from metalearn.benchmark.plots import draw_evidence, draw_generalisation, draw_grid, draw_optimisers, draw_plots
from metalearn.benchmark.report import SuiteReport, read_report
from metalearn.data.episode import Episode
from metalearn.evaluation.calibration import Bin, reliability
from metalearn.evaluation.evaluate import Story
from metalearn.evaluation.figures import LOOKS, new_figure
from metalearn.evaluation.plots import reliability_figure, report_figure
from metalearn.tasks.registry import find_family

ROOT = Path(__file__).parents[2]
NAMES = ("wtl", "wtl-paper", "trial-only", "bc", "mil", "mil-first-order", "replay", "replay-matched", "random",
         "expert", "bayes", "a-method-of-ones-own-with-a-name-that-is-far-too-long-for-any-margin")  # fmt: skip
CONTROLS = ("other_task_trial", "same_demo_other_target", "flipped_reward", "other_task_demo")


def rate(value: float) -> dict[str, Any]:
    return {"success": value, "ci95": [max(0.0, value - 0.03), min(1.0, value + 0.03)]}


def returned(value: float, spread: float = 5.0) -> dict[str, Any]:
    ends = [value - spread, value + spread]
    return {"mean": value, "iqm": value, "ci95": ends, "mean_ci95": ends}


def method(values: Sequence[float], returns: Sequence[float] = ()) -> dict[str, Any]:
    given: dict[str, Any] = {"curve": [{"trials": t, **rate(value)} for t, value in enumerate(values)]}
    if returns:
        given["returns"] = [{"trials": t, **returned(value)} for t, value in enumerate(returns)]
        given["total_return"] = returned(sum(returns))
    return given


def suite(
    rates: Sequence[float],
    n_attempts: int = 2,
    returns: Sequence[float] = (),
    controls: Sequence[str] = CONTROLS,
    name: str = "reach-m2",
    wtl: bool = True,
    **parts: Any,
) -> SuiteReport:
    """A report with a method per rate; every attempt and every control has that rate, or the method's own return."""
    named = dict(zip(NAMES if wtl else NAMES[1:], rates, strict=False))
    methods = {
        one: method([value] * n_attempts, [returns[i]] * n_attempts if returns else ())
        for i, (one, value) in enumerate(named.items())
    }
    value = rates[0]
    differences = {
        one: [{"trials": t, "mean": value - other, "ci95": [value - other - 0.02, value - other + 0.02]}
              for t in range(n_attempts)]
        for one, other in named.items() if one not in ("wtl", "random", "expert", "bayes")
    }  # fmt: skip
    results = {
        "name": name, "title": name, "experiment": name, "measure": "return" if returns else "success",
        "budget": {"demos": 1, "trials": n_attempts - 1}, "trained": {}, "seeds": {}, "comparisons": differences,
        "return_comparisons": differences if returns else {},
        "control_returns": {one: returned(returns[0]) for one in controls} if returns else {},
    }  # fmt: skip
    report = {
        "schema": 1, "bundle": None, "manifest": {"name": name, "digest": "0" * 64}, "n_tasks": 2000,
        "n_episodes": 2000, "seed": 0, "wall_s": 1.0, "created": "2026-01-01T00:00:00+00:00", "methods": methods,
        "controls": {one: {**rate(value), "n": 2000 if one != "flipped_reward" else 1017,
                           "instead_of": rate(value) if one != "other_task_trial" else None} for one in controls},
        "suite": results | parts,
    }  # fmt: skip
    return SuiteReport.model_validate(report)


def direct(values: Sequence[float]) -> dict[str, Any]:
    episodes = (0, 30, 100, 300, 1000)
    points = [{"episodes": n, "mean_return": 10 * one, **rate(one)} for n, one in zip(episodes, values, strict=False)]
    return {"what": "", "n_tasks": 8, "curve": points, "episodes_to_match": [], "median_to_match": None, "budget": 1000,
            "wall_s": 1.0}  # fmt: skip


def sizes(tasks: Sequence[int], value: float = 0.5, loss: float = -3.0) -> list[dict[str, Any]]:
    return [{"tasks": n, "steps": 9, "train_loss": loss, "curve": method([value, value])["curve"]} for n in tasks]


def steps(numbers: Sequence[int], value: float = 0.5) -> list[dict[str, Any]]:
    return [{"step": n, "train_loss": -n / 1000, "trial": value, "retrial": value} for n in numbers]


def curves(**given: Any) -> SuiteReport:
    return suite((0.5,), generalisation={"usual_steps": 1700, **given})


def grid(n_demos: int, n_trials: int, value: float) -> SuiteReport:
    cells = [{"demos": d, "trials": t, **rate(value)} for d in range(n_demos) for t in range(n_trials)]
    return suite((0.5,), grid=cells[:-1] or cells)


SPREAD = tuple(np.linspace(0, 1, 12))
REPORTS = {
    "one series": suite((0.5,)),
    "twelve series": suite(SPREAD, 6),
    "all equal": suite((0.5,) * 12),
    "all nothing": suite((0.0,) * 12, 3),
    "all everything": suite((1.0,) * 12, 3),
    "not known": suite((float("nan"), 0.3, float("nan")), 3),
    "one attempt": suite(SPREAD, 1, controls=("other_task_demo",)),
    "one attempt, all alike": suite((1.0, 1.0, 1.0), 1, controls=("other_task_demo",)),
    "no controls": suite((0.9, 0.2), controls=()),
    "without the main method": suite((0.9, 0.2), wtl=False),
    "a long name": suite((0.9, 0.2), name="a-manifest-of-ones-own-" * 6),
    "returns": suite((0.5, 0.4, 0.3), 3, (-20.0, -250.0, -18.0)),
    "equal returns": suite((0.5,) * 12, 2, (0.0,) * 12),
    "large returns": suite((0.5,) * 4, 2, (123456.7, -98765.4, 0.0, 5.0)),
    "random far below": suite((0.5,) * 10, 2, (*np.linspace(-30, -20, 8), -9000.0, -19.0)),
}
OPTIMISERS = {
    "one": {"search": direct((0.0, 0.1, 0.2, 0.3, 0.4))},
    "on each other": {name: direct((0.0, 0.05, 0.05, 0.05, 0.06)) for name in ("search", "rl", "rl-from-bc")},
    "at the top": {name: direct((1.0,) * 5) for name in ("search", "rl", "rl-from-bc")},
    "not known": {"search": direct((float("nan"),) * 5), "rl": direct((0.1,) * 5)},
    "one point": {"search": direct((0.1,))},
    "twelve": {f"optimiser-number-{i}": direct((i / 12,) * 5) for i in range(12)},
}
GENERALISATION = {
    "sizes alone": curves(sizes=sizes((300, 1500))),
    "steps alone": curves(steps=steps(range(100, 6900, 100))),
    "both": curves(sizes=sizes((8, 32, 128, 512, 2048, 8192, 24_576)), steps=steps(range(100, 6900, 100))),
    "one point of each": curves(sizes=sizes((8,)), steps=steps((100,))),
    "crowded": curves(sizes=sizes((1000, 1001, 1002, 30_000), 1.0), steps=steps((1600, 1700, 1701, 1800), 0.0)),
    "usual length at the edge": curves(steps=steps((1699, 2000, 90_000))),
    "not known": curves(sizes=[*sizes((8, 32), float("nan")), *sizes((64,))], steps=steps((100, 200), 1.0)),
}
GRIDS = {"usual": grid(4, 6, 0.5), "one cell": grid(1, 1, 1.0), "one column": grid(6, 1, 0.0),
         "large": grid(9, 12, 1.0)}  # fmt: skip


def bins(*successes: float) -> list[Bin]:
    return [Bin(0.0, 1.0, 10 + i, one, one, (max(0, one - 0.3), min(1, one + 0.3))) for i, one in enumerate(successes)]


DIAGRAMS = {
    "measured": {"reach": reliability(np.linspace(0, 1, 50), np.arange(50) % 3 > 0)},
    "all certain": {"reach": bins(0.0, 1.0), "push": bins(1.0)},
    "many, with long names": {f"a-model-of-ones-own-with-a-long-name-{i}": bins(0.1, 0.9) for i in range(6)},
}


def cases(of: dict[str, Any], *fast: str) -> list[Any]:
    """All cases of drawing, those that are not named among the slow tests: a picture takes half a second."""
    marks = {name: () if name in fast else (pytest.mark.slow,) for name in of}
    return [pytest.param(case, id=name, marks=marks[name]) for name, case in of.items()]


@pytest.mark.parametrize("report", cases(REPORTS, "twelve series", "all equal", "not known", "a long name", "returns"))
def test_report(report: SuiteReport) -> None:
    assert faults_of(report_figure(report)) == []


@pytest.mark.parametrize("report", cases(REPORTS, "twelve series", "not known", "no controls", "large returns"))
def test_evidence(report: SuiteReport) -> None:
    figure = draw_evidence(report)
    assert (figure is None) == (report is REPORTS["not known"])
    assert figure is None or faults_of(figure) == []


@pytest.mark.parametrize("optimisers", cases(OPTIMISERS, "on each other", "twelve"))
@pytest.mark.parametrize("returns", [(), (3.0,)])
def test_optimisers(optimisers: dict[str, Any], returns: Sequence[float]) -> None:
    assert faults_of(draw_optimisers(suite((1.0,), 2, returns, optimisers=optimisers))) == []


@pytest.mark.parametrize("report", cases(GENERALISATION, "both", "steps alone"))
def test_generalisation(report: SuiteReport) -> None:
    figure = draw_generalisation(report)
    assert figure is not None
    assert faults_of(figure) == []


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    bare = suite((0.5,), 1, controls=(), wtl=False, generalisation={"usual_steps": 9}, comparisons={})
    assert draw_plots(bare, tmp_path) == ["curve.png"]
    whole = suite((0.5,), grid=GRIDS["one cell"].suite.grid, optimisers=OPTIMISERS["one"])
    drawn = draw_plots(whole, tmp_path)
    assert drawn == ["curve.png", "evidence.png", "grid.png", "optimisers.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in drawn)


@pytest.mark.parametrize("report", cases(GRIDS, "usual"))
def test_grid(report: SuiteReport) -> None:
    assert faults_of(draw_grid(report)) == []


@pytest.mark.parametrize("panels", DIAGRAMS.values(), ids=DIAGRAMS)
def test_reliability(panels: dict[str, list[Bin]]) -> None:
    assert faults_of(reliability_figure(panels)) == []


@pytest.mark.parametrize("name", ["reach-m2", "dark-room", "key-to-door"])
@pytest.mark.parametrize("n", [1, 3])
def test_report_with_stories(name: str, n: int) -> None:
    family = find_family(name)
    index = family.splits["test"][0]
    walk = np.zeros((5, *family.spec.observation_space.shape), np.float32)
    walk[:, :2] = np.linspace(-1, 1, 5)[:, None]  # a path from corner to corner
    story = Story(index, *(Episode.of(walk, success=success) for success in (True, False, True)))
    assert faults_of(report_figure(suite((0.5, 0.5, 0.5)), family, [story] * n)) == []


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted(path.parent.name for path in ROOT.glob("benchmarks/results/*/report.json")))
def test_pictures_that_are_committed(folder: str) -> None:
    report = read_report(ROOT / "benchmarks" / "results" / folder / "report.json")
    drawn = [report_figure(report), draw_evidence(report), draw_generalisation(report)]
    drawn += [draw_grid(report)] if report.suite.grid else []
    drawn += [draw_optimisers(report)] if report.suite.optimisers else []
    assert [faults_of(figure) for figure in drawn if figure is not None and faults_of(figure)] == []


def test_confidence_picture_that_is_committed() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / "confidence.json").read_text())
    panels = {
        name: [Bin(**{**one, "ci95": tuple(one["ci95"])}) for one in found["next_attempt"]["all"]["bins"]]
        for name, found in measured.items()
    }
    assert faults_of(reliability_figure(panels)) == []


def test_every_function_that_draws_is_tried_here() -> None:
    sources = {path: path.read_text() for path in ROOT.glob("metalearn/**/*.py")}
    signature = re.compile(r"def (\w+)\((?:[^()]|\([^()]*\))*\) -> Figure(?: \| None)?:")
    drawing = {name for text in sources.values() for name in signature.findall(text)}
    tried = {report_figure, reliability_figure, draw_evidence, draw_grid, draw_optimisers, draw_generalisation}
    assert drawing == {one.__name__ for one in tried} | {"new_figure", "figure_of"}
    assert [path.name for path, text in sources.items() if "savefig" in text] == ["figures.py"]


def test_series_are_told_apart_without_colour() -> None:
    looks = [
        (look.marker, str(look.dashes)) for name, look in LOOKS.items() if name not in ("search", "rl", "rl-from-bc")
    ]
    assert len(set(looks)) == len(looks)


def spoilt(how: Callable[[Any], object]) -> list[str]:
    figure = new_figure(5, 3, "Headline", "A sentence.")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1])
    axes.set(xlabel="x", ylabel="y")
    how(axes)
    return faults_of(figure)


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        (lambda axes: axes.text(0.5, 0.5, "struck through"), "a line crosses 'struck through'"),
        (lambda axes: [axes.text(0.1, 0.9, word) for word in ("one", "two")], "'one' lies on 'two'"),
        (lambda axes: axes.text(3, 0.5, "far out"), "'far out' is cut off at the edge"),
        (lambda axes: axes.lines[0].remove(), "axes 'x' show no data"),
        (lambda axes: axes.lines[0].set_ydata([np.nan, np.nan]), "axes 'x' show no data"),
        (lambda axes: axes.set_xlabel(""), "axes 'y' have numbers on x and no name for them"),
        (lambda axes: axes.set_ylabel(""), "axes 'x' have numbers on y and no name for them"),
        (lambda axes: axes.bar(0.1, 0.95, 0.1) and axes.text(0.1, 0.8, "over the edge"), "a bar's edge crosses 'over"),
        (lambda axes: axes.figure.suptitle(""), "the picture has no headline"),
    ],
)
def test_each_fault_is_found(how: Callable[[Any], object], fault: str) -> None:
    assert spoilt(lambda axes: None) == []
    assert any(one.startswith(fault) for one in spoilt(how)), spoilt(how)
