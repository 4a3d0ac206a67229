"""The tables of figures in README.md and docs/, from the committed reports and from nothing else.

python .ci/figures.py     # write them (make figures)

A block between `<!-- figures: NAME WORD... -->` and `<!-- figures: end -->` is what the function NAME makes of
the words. A report is named by its suite (benchmarks/results/SUITE/report.json), by its file below benchmarks/results,
or by the folder of a model.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.table import CONTROLS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(
    r"(?P<begin><!-- figures: (?P<call>(?!end)[^>]+?) -->\n).*?(?P<end><!-- figures: end -->)", re.DOTALL
)
Json = Mapping[str, Any]


def pages() -> list[Path]:
    """The pages with at least one block."""
    return [
        page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if BLOCK.search(page.read_text())
    ]


def with_figures(page: str) -> str:
    """The page with its figures as they should be. Raises KeyError: a block that nobody makes."""

    def made(block: re.Match[str]) -> str:
        name, *words = block["call"].split()
        return f"{block['begin']}{BLOCKS[name](*words)}\n{block['end']}"

    return BLOCK.sub(made, page)


# -- blocks -------------------------------------------------------------------------------------------------------


def evidence(*names: str) -> str:
    """Success of `wtl` beside `bc`, the bound and the best optimiser; mean and deviation of several seeds."""
    head = ("1 demonstration", "new in test tasks", "`bc`", *(f"{n} trials" if n != 1 else "1 trial" for n in range(4)),
            "best possible", "optimiser, 1,000 episodes")  # fmt: skip
    return _table(head, map(_evidence, names))


def _evidence(name: str) -> list[str]:
    report = _report(name)
    curve = _over_seeds(report, "wtl")[:4]
    bound = report["methods"].get("bayes")
    best = "unknown" if bound is None else ", ".join(f"{100 * point['success']:.0f}" for point in bound["curve"])
    optimisers = _suite(report).get("optimisers", {}).values()
    direct = max((100 * one["curve"][-1]["success"] for one in optimisers), default=None)
    manifest = load_manifest(report["manifest"]["name"])
    return [
        f"`{manifest.name}`, {report['n_tasks']:,} tasks{_n_seeds(report, 'wtl')}",
        manifest.held_out,
        _over_seeds(report, "bc")[0] if "bc" in report["methods"] else "not run",
        *(curve + [""] * (4 - len(curve))),
        best,
        "not run" if direct is None else f"{direct:.1f}",
    ]


def _n_seeds(report: Json, method: str) -> str:
    seeds = _suite(report).get("seeds", {}).get(method, {}).get("seeds", ())
    return f", {len(seeds)} training seeds" if len(seeds) > 1 else ""


def _over_seeds(report: Json, method: str) -> list[str]:
    """Mean and standard deviation over training seeds, or the one seed with its interval."""
    spread = _suite(report).get("seeds", {}).get(method)
    if spread and len(spread["seeds"]) > 1:
        return [f"{100 * m:.1f} ± {100 * sd:.1f}" for m, sd in zip(spread["mean"], spread["sd"], strict=True)]
    return [_rate(point) for point in report["methods"][method]["curve"]]


def seeds(*names: str) -> str:
    """Success with each training seed."""
    rows = []
    for name in names:
        spread = _suite(_report(name))["seeds"]["wtl"]
        for seed, curve in zip(spread["seeds"], spread["curves"], strict=True):
            rows.append([f"`{name}`", str(seed), ", ".join(f"{100 * rate:.1f}" for rate in curve)])
    return _table(("suite", "training seed", "success in % after 0, 1, ... trials"), rows)


def methods(name: str, *only: str) -> str:
    """Success of every method (or of some) after each number of trials."""
    report = _report(name)
    chosen = {method: report["methods"][method] for method in only or report["methods"]}
    n = max(len(one["curve"]) for one in chosen.values())
    rows = [[f"`{method}`", *_filled(map(_rate, one["curve"]), n)] for method, one in chosen.items()]
    return _table(("success in %", *(f"{t} trial{'' if t == 1 else 's'}" for t in range(n))), rows)


def tracks(name: str) -> str:
    """Success of the same weights on other manifests."""
    report = _report(name)
    curves = {report["manifest"]["name"]: report["methods"]["wtl"], **_suite(report)["tracks"]}
    n = max(len(one["curve"]) for one in curves.values())
    rows = [[f"`{track}`", *_filled(map(_rate, one["curve"]), n)] for track, one in curves.items()]
    return _table(("success in %", *(f"{t} trial{'' if t == 1 else 's'}" for t in range(n))), rows)


def returns(*names: str) -> str:
    """Return of all attempts together, of every method; of a further report the policy alone."""
    rows = []
    for first, name in zip([True] + [False] * len(names), names, strict=False):
        report = _report(name)
        for method, one in report["methods"].items():
            if first or method == "wtl":
                total = one["total_return"]
                low, high = total["mean_ci95"]
                of = f"`{method}`" if first else f"`{method}`, report `{name}`"
                rows.append((total["mean"], [of, f"{total['mean']:.1f} ({low:.1f}..{high:.1f})"]))
    return _table(
        ("return of all attempts together", "mean"), (row for _, row in sorted(rows, key=lambda one: -one[0]))
    )


def track_returns(name: str) -> str:
    """Return of all attempts together of the same weights on other manifests."""
    rows = []
    for track, one in _suite(_report(name))["tracks"].items():
        total = one["total_return"]
        rows.append([f"`{track}`", f"{total['mean']:.1f} ({total['mean_ci95'][0]:.1f}..{total['mean_ci95'][1]:.1f})"])
    return _table(("`wtl`, return of all attempts together", "mean"), rows)


def controls(*names: str) -> str:
    """Every control beside the attempt that it copies, over the same episodes."""
    rows = []
    for name in names:
        for control, one in _report(name)["controls"].items():
            right, lost = one["instead_of"], one.get("lost")
            rows.append(
                [
                    f"`{name}`",
                    CONTROLS[control],
                    f"{one['n']:,}",
                    _rate(one),
                    "nobody kept it" if right is None else _rate(right),
                    ""
                    if lost is None
                    else f"{100 * lost['mean']:.1f} ({100 * lost['ci95'][0]:.1f}..{100 * lost['ci95'][1]:.1f})",
                ]
            )
    head = ("report", "control: one thing wrong", "episodes", "success in %", "instead of", "lost")
    return _table(head, rows)


def types(name: str, *only: str) -> str:
    """Success in each type of task after 0, 1, ... trials."""
    report = _report(name)
    found = {method: one["by_type"] for method, one in report["methods"].items() if one.get("by_type")}
    found = {method: found[method] for method in only} if only else found
    names = list(next(iter(found.values())))
    rows = [
        [f"`{method}`", *(" / ".join(f"{100 * point['success']:.0f}" for point in by_type[one]) for one in names)]
        for method, by_type in found.items()
    ]
    return _table(("success in %", *names), rows)


def push(*names: str) -> str:
    """The only attempt at push under several success radii, and what another goal's demonstration gives."""
    reports = [_report(name) for name in names]
    words = {
        "wtl": "one demonstration",
        "bc": "without context (`bc`)",
        "mil": "`mil` (learn2learn's MAML on the demonstration's actions)",
        "replay": "replaying the demonstration",
    }
    rows = [[said, *(_rate(one["methods"][method]["curve"][0]) for one in reports)] for method, said in words.items()]
    wrong = [_rate(one["controls"]["other_task_demo"]) for one in reports]
    rows.insert(1, ["the same policy, another goal's demonstration", *wrong])
    n = reports[0]["n_tasks"]
    return _table((f"success in %, {n:,} goals of the same range", *(f"`{name}`" for name in names)), rows)


def no_knobs(*names: str) -> str:
    """Trainings with nothing set."""
    rows = []
    for name in names:
        one = json.loads((RESULTS / "no-knobs" / f"{name}-none-seed0.json").read_text())
        curve = ", ".join(f"{100 * point['success']:.1f}" for point in one["report"]["curve"][:4])
        rows.append([f"`{name}`", curve, f"{one['processor_s']:,.0f}", f"{one['wall_s']:,.0f}"])
    return _table(("nothing set, seed 0", "success in % after 0 to 3 trials", "processor, s", "wall, s"), rows)


def strangers(*names: str) -> str:
    """Environments of others."""
    rows = []
    for name in names:
        one = json.loads((RESULTS / "strangers" / f"{name}-seed0.json").read_text())
        report = one["report"]
        curves = [
            ", ".join(f"{100 * point['success']:.0f}" for point in report["methods"][method]["curve"])
            if method in report["methods"]
            else ""
            for method in ("wtl", "mil", "bayes")
        ]
        rows.append([name, *curves])
    return _table(("environment", "`wtl`, % after 0, 1, ... trials", "`mil`", "best possible"), rows)


def times(*names: str) -> str:
    """What the trainings of shipped models took, as their bundles say."""
    rows = []
    for name in names:
        made = json.loads((ROOT / "models" / name / "bundle.json").read_text())["provenance"]
        rows.append([f"`models/{name}`", f"{made['wall_s']:,.0f}", made["created"][:10]])
    return _table(("model", "training, wall s", "date"), rows)


BLOCKS: Mapping[str, Callable[..., str]] = {
    "evidence": evidence,
    "seeds": seeds,
    "methods": methods,
    "tracks": tracks,
    "returns": returns,
    "track-returns": track_returns,
    "controls": controls,
    "types": types,
    "push": push,
    "no-knobs": no_knobs,
    "strangers": strangers,
    "times": times,
}

# -- reading and writing ------------------------------------------------------------------------------------------


def _report(name: str) -> Json:
    report: Json = json.loads(_path(name).read_text())
    return report


def _path(name: str) -> Path:
    for path in (RESULTS / name / "report.json", RESULTS / f"{name}.json", ROOT / name / "report.json"):
        if path.exists():
            return path
    raise KeyError(f"figures: no report of {name}")


def _suite(report: Json) -> Json:
    suite: Json = report.get("suite", {})
    return suite


def _rate(rate: Json) -> str:
    low, high = rate["ci95"]
    success = f"{100 * rate['success']:.1f}"
    return success if low == high else f"{success} ({100 * low:.1f}..{100 * high:.1f})"


def _filled(cells: Iterable[str], n: int) -> list[str]:
    row = list(cells)
    return row + [""] * (n - len(row))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    for page in pages():
        page.write_text(with_figures(page.read_text()))
