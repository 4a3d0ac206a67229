"""`wtl benchmark mirror`: whom did it watch, whom does it imitate, and does it know itself? Figures with intervals.

Takes bundles that are trained already: two seeds of `reach-manners`, and of `reach-plain` if it is there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from metalearn.benchmark.manners import SKILLED, imitation
from metalearn.benchmark.mirror import mirror
from metalearn.benchmark.store import read_json, write_json
from metalearn.benchmark.told import told
from metalearn.bundle import Bundle, run_bundle
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.recognition import answers, make_cases, measured, score
from metalearn.model.inference import Inference
from metalearn.recognition import RecognitionCalibration
from metalearn.tasks.envs.reach_manners import ReachManners, reach_manners
from metalearn.tasks.family import tasks_of
from metalearn.training.recognition import calibrate_recognition

FIRST, SECOND, PLAIN = "reach-manners-0", "reach-manners-1", "reach-plain-0"
STEPS = (1, 2, 4, 8, 16, 60)
PARTS = ("recognition", "imitation", "mirror", "told")
Say = Callable[[str], None]


def run(
    folder: Path, models: Path, out: Path, *, parts: tuple[str, ...] = (), tasks: int = 500, seed: int = 0, say: Say
) -> None:
    """Measure, write `report.json` after every part, and say the figures.

    Args:
        folder: of the trained runs.
        models: folder of the shipped models, for the part `told`.
        out: of the report.
        parts: of `PARTS`; all of them if not given.
        tasks: held-out tasks of each part.
        seed: of tasks and layouts.
        say: is given each line.

    Raises:
        InvalidConfig: an unknown part, or a bundle is missing; the message has the command that trains it.
    """
    if unknown := set(parts) - set(PARTS):
        raise InvalidConfig(f"unknown part {min(unknown)!r}; known: {', '.join(PARTS)}")
    header: dict[str, Any] = {"n_tasks": tasks, "seed": seed}
    measure: dict[str, Callable[[], dict[str, Any]]] = {"told": lambda: told(models, tasks, seed)}
    if set(parts or PARTS) != {"told"}:
        first = _calibrated(folder / FIRST)
        measure |= _measures(first, folder, reach_manners(), tasks, seed)
        header |= {"bundle": first.id, "scale": vars(RecognitionCalibration.of(first).scale)}
    report = _kept(out / "report.json", header)
    for part in parts or PARTS:
        report[part] = measure[part]()
        write_json(out / "report.json", report)
        for line in _lines(part, report[part]):
            say(line)
    say(f"report: {out / 'report.json'}")


def _measures(
    first: Bundle, folder: Path, family: ReachManners, tasks: int, seed: int
) -> dict[str, Callable[[], dict[str, Any]]]:
    """How to measure each part that needs a policy which imitates manners."""
    inference, known = Inference.load(first), RecognitionCalibration.of(first)

    def imitated() -> dict[str, Any]:
        plain = Inference.load(_bundle(folder / PLAIN)) if run_bundle(folder / PLAIN) else None
        return imitation(inference, family, n_tasks=tasks, seed=seed, plain=plain)

    def mirrored() -> dict[str, Any]:
        second = _bundle(folder / SECOND)
        skilled = [i for i in tasks_of(family, "test", 4 * tasks, seed) if family.manner(i).skill >= SKILLED]
        asked, others = skilled[: tasks // 2], skilled[tasks // 2 :]
        found = mirror(inference, Inference.load(second), family, asked, others, seed, known)
        return {"bundles": [first.id, second.id], **found}

    return {
        "recognition": lambda: recognition(inference, family, known, tasks, seed),
        "imitation": imitated,
        "mirror": mirrored,
    }


def _kept(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The parts that are there already, if they are of the same bundle, tasks and seed; and the header."""
    kept = read_json(path)
    same = isinstance(kept, dict) and all(kept.get(name, value) == value for name, value in header.items())
    return (kept if same else {}) | header


def recognition(
    inference: Inference, family: ReachManners, known: RecognitionCalibration, tasks: int, seed: int
) -> dict[str, Any]:
    """Five demonstrators of one goal, from the first steps of one episode; half of the time it was none of them."""
    found: dict[str, Any] = {}
    for n_demos in (1, 2):
        cases = make_cases(family, tasks_of(family, "test", tasks, seed + 7), seed=seed, n_demos=n_demos)
        scored = score(inference, cases, known)
        steps = STEPS if n_demos == 2 else (60,)
        for n in steps:
            seen = answers(scored, inference.units, known.scale, n)
            found[f"{n_demos} demonstrations, {n} steps"] = measured(scored, seen)
        name = f"{n_demos} demonstrations, observations alone"
        found[name] = measured(scored, answers(scored, inference.units, known.scale, 60, known))
        sure = [one for one, i in zip(scored, tasks_of(family, "test", tasks, seed + 7), strict=True)
                if family.manner(i).skill >= 0.8]  # fmt: skip
        found[f"{n_demos} demonstrations, skilled"] = measured(sure, answers(sure, inference.units, known.scale))
    return found


def _calibrated(folder: Path) -> Bundle:
    """The bundle, calibrated for demonstrators of one goal; calibrated now and kept if it is not."""
    bundle = _bundle(folder)
    if bundle.recognition is None or bundle.provenance["recognition"]["siblings"] != 1.0:
        bundle = calibrate_recognition(bundle, siblings=1.0)
        bundle.save(run_bundle(folder) or folder)
    return bundle


def _bundle(folder: Path) -> Bundle:
    found = run_bundle(folder)
    if found is None:
        name, _, seed = folder.name.rpartition("-")
        raise InvalidConfig(f"no bundle at {folder}: `wtl train {name} --seed {seed} --out {folder}` makes it")
    return Bundle.load(found)


def _lines(part: str, value: Any, depth: int = 0) -> list[str]:
    """A part of the report, a line for each of its values."""
    if not isinstance(value, dict):
        return [f"{'  ' * depth}{part}: {_said(value)}"]
    inside = [line for name, one in value.items() for line in _lines(str(name), one, depth + 1)]
    short = all(not isinstance(one, dict) for one in value.values())
    if short and depth:
        return [f"{'  ' * depth}{part}: " + ", ".join(f"{name} {_said(one)}" for name, one in value.items())]
    return [f"{'  ' * depth}{part}", *inside]


def _said(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.3f}"
    if isinstance(value, list):
        return "(" + " .. ".join(_said(one) for one in value) + ")"
    return str(value)
