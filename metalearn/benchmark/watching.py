"""`wtl benchmark mirror`: whom did it watch, whom does it imitate, and does it know itself? Figures with intervals.

Takes bundles that are trained already: of a family of manners; for all parts two seeds of `reach-manners`,
`reach-better`, and `reach-plain` if it is there.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from metalearn.benchmark.classifiers import judge
from metalearn.benchmark.figures import said
from metalearn.benchmark.lineups import features_of
from metalearn.benchmark.manners import SKILLED, better, imitation, spread_of
from metalearn.benchmark.mirror import mirror
from metalearn.benchmark.persons import person
from metalearn.benchmark.store import read_json, write_json
from metalearn.benchmark.told import told
from metalearn.bundle import Bundle, run_bundle
from metalearn.data.episode import Array, Episode
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.recognition import Case, Scored, answers, make_cases, measured, score
from metalearn.model.inference import Inference
from metalearn.recognition import Recognition, RecognitionCalibration
from metalearn.tasks.envs.reach_manners import ReachManners, reach_beyond, reach_skilled
from metalearn.tasks.family import MannerFamily, tasks_of
from metalearn.tasks.registry import find_family
from metalearn.training.recognition import calibrate_recognition

REACH = "reach-manners"
FIRST, SECOND, PLAIN, BETTER = f"{REACH}-0", f"{REACH}-1", "reach-plain-0", "reach-better-0"
STEPS = (1, 2, 4, 8, 16, 60)
WHOLE = 1 << 30
ANY_PARTS = ("recognition", "imitation")
"""Of every family of manners; the other parts are of `reach-manners` alone."""
PARTS = (*ANY_PARTS, "beyond", "better", "mirror", "told")
PERSONS = "persons"
"""The part that is measured where somebody's episodes are given, and only there."""
STRANGERS = 128  # siblings that stand for somebody else, to who knows all demonstrators
JUDGED = 3  # lineups for the classifier to learn from, per lineup that is asked
Say = Callable[[str], None]


def run(
    folder: Path, models: Path, out: Path, *, family: str = REACH, parts: tuple[str, ...] = (), tasks: int = 500,
    seed: int = 0, people: Mapping[str, Sequence[Episode]] | None = None, say: Say,
) -> None:  # fmt: skip
    """Measure, write `report.json` (`FAMILY.json` for others than reach) after every part, and say the figures.

    Args:
        folder: of the trained runs.
        models: folder of the shipped models, for the part `told`.
        out: of the report.
        family: a family of manners.
        parts: of `PARTS`; all that the family has if not given.
        tasks: held-out tasks of each part.
        seed: of tasks and layouts.
        people: episodes of persons by name, for the part `persons`; then that alone is measured if no part is given.
        say: is given each line.

    Raises:
        InvalidConfig: an unknown part or family, or a bundle is missing; the message has the command that trains it.
    """
    known = PARTS if family == REACH else ANY_PARTS
    parts = parts or ((PERSONS,) if people else known)
    if unknown := set(parts) - set(known) - ({PERSONS} if people else set()):
        raise InvalidConfig(f"unknown part {min(unknown)!r}; known: {', '.join(known)}")
    found = find_family(family)
    if not isinstance(found, MannerFamily):
        raise InvalidConfig(f"family: expected one whose demonstrators differ in manner, got {family!r}")
    header: dict[str, Any] = {"n_tasks": tasks, "seed": seed}
    path = out / ("report.json" if family == REACH else f"{family}.json")
    measure: dict[str, Callable[[], dict[str, Any]]] = {"told": lambda: told(models, tasks, seed)}
    if set(parts) != {"told"}:
        first = _calibrated(folder / f"{family}-0")
        calibration = RecognitionCalibration.of(first)
        measure |= _measures(first, calibration, folder, found, people or {}, tasks, seed)
        header |= {"bundle": first.id, "scale": vars(calibration.scale)}
    report = _kept(path, header)
    for part in parts:
        report[part] = measure[part]()
        write_json(path, report)
        for line in _lines(part, report[part]):
            say(line)
    say(f"report: {path}")


def _measures(
    first: Bundle, known: RecognitionCalibration, folder: Path, family: MannerFamily,
    people: Mapping[str, Sequence[Episode]], tasks: int, seed: int,
) -> dict[str, Callable[[], dict[str, Any]]]:  # fmt: skip
    """How to measure each part that needs a policy which imitates manners."""
    inference = Inference.load(first)

    def imitated() -> dict[str, Any]:
        there = isinstance(family, ReachManners) and run_bundle(folder / PLAIN)
        plain = Inference.load(_bundle(folder / PLAIN)) if there else None
        return imitation(inference, family, n_tasks=tasks, seed=seed, plain=plain)

    def surpassed() -> dict[str, Any]:
        bundle = _bundle(folder / BETTER)
        return {"bundle": bundle.id, **better(Inference.load(bundle), reach_skilled(), n_tasks=tasks, seed=seed)}

    def mirrored() -> dict[str, Any]:
        assert isinstance(family, ReachManners)
        second = _bundle(folder / SECOND)
        skilled = [i for i in tasks_of(family, "test", 4 * tasks, seed) if family.manner(i).skill >= SKILLED]
        asked, others = skilled[: tasks // 2], skilled[tasks // 2 :]
        found = mirror(inference, Inference.load(second), family, asked, others, seed, known)
        return {"bundles": [first.id, second.id], **found}

    return {
        "recognition": lambda: recognition(inference, family, known, tasks, seed),
        "imitation": imitated,
        "beyond": lambda: imitation(inference, reach_beyond(), n_tasks=tasks, seed=seed),
        "better": surpassed,
        "mirror": mirrored,
        PERSONS: lambda: {name: person(inference, family, known, own, seed) for name, own in people.items()},
    }


def _kept(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The parts that are there already, if they are of the same bundle, tasks and seed; and the header."""
    kept = read_json(path)
    same = isinstance(kept, dict) and all(kept.get(name, value) == value for name, value in header.items())
    return (kept if same else {}) | header


def recognition(
    inference: Inference, family: MannerFamily, known: RecognitionCalibration, tasks: int, seed: int
) -> dict[str, Any]:
    """Five demonstrators of one goal, from the first steps of one episode; half of the time it was none of them."""
    found: dict[str, Any] = {}
    indices, units = tasks_of(family, "test", tasks, seed + 7), inference.units
    skilled = [family.skill(index) >= SKILLED for index in indices]
    for n_demos in (1, 2):
        cases = make_cases(family, indices, seed=seed, n_demos=n_demos)
        scored = score(inference, cases, known)
        for n in (*STEPS[:-1], WHOLE) if n_demos == 2 else (WHOLE,):
            steps = "all" if n == WHOLE else n
            found[f"{n_demos} demonstrations, {steps} steps"] = measured(scored, answers(scored, units, known.scale, n))
        name = f"{n_demos} demonstrations, observations alone"
        found[name] = measured(scored, answers(scored, units, known.scale, WHOLE, known))
        sure = [one for one, is_skilled in zip(scored, skilled, strict=True) if is_skilled]
        found[f"{n_demos} demonstrations, skilled"] = measured(sure, answers(sure, units, known.scale))
    found["bound, 2 demonstrations"] = _bound(inference, family, known, scored, skilled, seed)
    if isinstance(family, KnownDemonstrators):
        truth = np.stack([_known_demonstrators(family, one.case, seed) for one in scored])
        found["bound, who knows the demonstrators"] = _measured(scored, truth, skilled)
    return found


@runtime_checkable
class KnownDemonstrators(Protocol):
    """A family of which it is known how probable what somebody did was under a demonstrator."""

    def log_likelihood(self, index: int, episode: Episode) -> Float[np.ndarray, " t"]:
        """log p of each step of an episode under the demonstrator of task `index`."""
        ...


def _bound(
    inference: Inference, family: MannerFamily, known: RecognitionCalibration, scored: list[Scored],
    skilled: list[bool], seed: int,
) -> dict[str, Any]:  # fmt: skip
    """By a classifier with access to everything, which learns from lineups of validation tasks."""
    others = tasks_of(family, "validation", JUDGED * len(scored), seed + 11)
    learnt = score(inference, make_cases(family, others, seed=seed + 1, n_demos=2), known)
    spread, units = spread_of(family, seed), inference.units
    x, y = (features_of(some, family, units, known.scale, spread, WHOLE) for some in (learnt, scored))
    answered = np.array([one.case.answer for one in learnt])
    return {"n_lineups": len(learnt)} | _measured(scored, judge(x, answered, y, seed), skilled)


def _known_demonstrators(family: KnownDemonstrators, case: Case, seed: int) -> Float[np.ndarray, " k"]:
    """The posterior of who knows every demonstrator exactly, and draws others to know how likely a stranger is."""
    assert isinstance(family, MannerFamily)
    rng = np.random.default_rng([seed, case.tasks[0]])
    strangers = [family.sibling(case.tasks[0], rng) for _ in range(STRANGERS)]
    whole = [float(family.log_likelihood(index, case.episode).sum()) for index in (*case.tasks, *strangers)]
    likely, else_likely = np.array(whole[: len(case.tasks)]), np.array(whole[len(case.tasks) :])
    # Under none of those drawn it may be impossible; it cannot be less likely than one of as many more.
    nobody = np.logaddexp.reduce(else_likely) - np.log(STRANGERS)
    posterior: Array = softmax(np.maximum(np.append(likely, max(nobody, -1e6)), -1e7))
    return posterior


def _measured(scored: list[Scored], p: Float[np.ndarray, "n k"], skilled: list[bool]) -> dict[str, Any]:
    found = [Recognition(one, (), one, len(case.case.episode), False) for one, case in zip(p, scored, strict=True)]
    chosen = [i for i, is_skilled in enumerate(skilled) if is_skilled]
    return {
        "all": measured(scored, found),
        "skilled": measured([scored[i] for i in chosen], [found[i] for i in chosen]),
    }


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
        return [f"{'  ' * depth}{part}: {said(value)}"]
    inside = [line for name, one in value.items() for line in _lines(str(name), one, depth + 1)]
    short = all(not isinstance(one, dict) for one in value.values())
    if short and depth:
        return [f"{'  ' * depth}{part}: " + ", ".join(f"{name} {said(one)}" for name, one in value.items())]
    return [f"{'  ' * depth}{part}", *inside]
