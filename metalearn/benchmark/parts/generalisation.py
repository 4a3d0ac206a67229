"""Held-out success of `wtl` against the number of training tasks, and against steps far past a flat training loss.

All sizes get the experiment's gradient steps, and their tasks are the first ones of seed 0's dataset.
"""

from pathlib import Path
from typing import Any

from metalearn.baselines.methods import METHODS
from metalearn.benchmark.benchmark_run import BenchmarkRun, unpacked
from metalearn.benchmark.report import GeneralisationCurves, SizePoint, StepPoint
from metalearn.benchmark.store import cached, digest, file_digest, read_json
from metalearn.bundle import Bundle
from metalearn.config import Experiment
from metalearn.evaluation.evaluate import MAIN_METHOD, method_report
from metalearn.evaluation.manifest import Manifest
from metalearn.evaluation.protocol import Protocol, adapted

LOOKS = 3  # the loss of one batch is noise: the mean over so many last looks


def measure(bench: BenchmarkRun) -> None:
    """Train and measure every size, then the long training."""
    plan = bench.suite.generalisation
    if plan is None:
        return
    experiment = bench.suite.seeded_experiment(0)
    for size in _sizes(bench):
        data = experiment.data.model_copy(update={"n_tasks": size})
        _measure(bench, _size_folder(bench, size), experiment.model_copy(update={"data": data}), f"{size} tasks")
    if plan.long_steps:
        steps = int(experiment.training.total_steps * plan.long_steps)
        _measure(bench, bench.folder / "generalisation" / "long", experiment.with_steps(steps), f"{steps} steps")


def _sizes(bench: BenchmarkRun) -> list[int]:
    """Numbers of training tasks, no more than the experiment has."""
    plan = bench.suite.generalisation
    limit = bench.suite.seeded_experiment(0).data.n_tasks
    return [] if plan is None else [size for size in plan.sizes if size <= limit]


def _size_folder(bench: BenchmarkRun, size: int) -> Path:
    """The folder of the policy of `size` training tasks; the experiment's own number has been trained already."""
    if size == bench.suite.seeded_experiment(0).data.n_tasks:
        return bench.method_folder(MAIN_METHOD, 0)
    return bench.folder / "generalisation" / f"tasks-{size}"


def _held_out(bench: BenchmarkRun) -> Manifest:
    """The first attempts, and the one after a trial, on fewer of the manifest's tasks."""
    plan, manifest = bench.suite.generalisation, bench.manifest
    assert plan is not None
    budget = manifest.budget.model_copy(update={"trials": min(1, manifest.budget.trials)})
    return manifest.model_copy(update={"budget": budget, "n_tasks": min(plan.tasks, manifest.n_tasks)})


def _measure(bench: BenchmarkRun, folder: Path, experiment: Experiment, stage: str) -> None:
    bench.train_in(folder, MAIN_METHOD, experiment, 0, stage)

    def play() -> dict[str, Any]:
        protocol = Protocol.of(bench.family, _held_out(bench))
        player = adapted(METHODS[MAIN_METHOD].load(folder, bench.family.spec))
        history = Bundle.load(folder / "bundle").provenance["history"]
        contexts = protocol.demonstrations(bench.progress)
        played = bench.play(f"{stage}, held out", player, protocol, contexts)
        return {**played, "history": history, "steps": experiment.training.total_steps}

    cached(folder / "held_out.json", digest(_held_out(bench).digest, file_digest(folder / "method.json")), play)


def _measured(folder: Path) -> dict[str, Any] | None:
    """Read the result of one training, if there is one."""
    value = read_json(folder / "held_out.json")
    return value if isinstance(value, dict) else None


def _last_loss(history: list[dict[str, float]]) -> float:
    """Return the training loss at the end; 0 if it was never measured."""
    last = [entry["loss"] for entry in history[-LOOKS:]]
    return sum(last) / max(1, len(last))


def curves(bench: BenchmarkRun) -> GeneralisationCurves | None:
    """The curves of what has been trained and measured so far."""
    if bench.suite.generalisation is None:
        return None
    points = [_size_point(bench, _size_folder(bench, n), n) for n in _sizes(bench)]
    n_tasks, long = bench.suite.seeded_experiment(0).data.n_tasks, bench.folder / "generalisation" / "long"
    history = (_measured(long) or {}).get("history", [])
    return GeneralisationCurves(
        usual_steps=bench.suite.seeded_experiment(0).training.total_steps,
        sizes=tuple(point for point in points if point is not None),
        steps=tuple(
            StepPoint(step=look["step"], train_loss=look["loss"], trial=look["trial"], retrial=look["retrial"])
            for look in history
            if "trial" in look and "retrial" in look
        ),
        after_long=_size_point(bench, long, n_tasks),
    )


def _size_point(bench: BenchmarkRun, folder: Path, n_tasks: int) -> SizePoint | None:
    kept = _measured(folder)
    if kept is None:
        return None
    protocol = Protocol.of(bench.family, _held_out(bench))
    report = method_report(protocol, unpacked(kept)[0])
    loss = _last_loss(kept["history"])
    return SizePoint(tasks=n_tasks, steps=kept["steps"], train_loss=loss, curve=report.curve)
