"""What is run, step by step, each step once: methods, references, controls, the K x L grid, direct optimisers.

Leaves outcomes per row and learning curves as files; what they mean is worked out in `assemble`.
"""

import time
from dataclasses import asdict
from functools import partial
from typing import Any

from metalearn.baselines.methods import METHODS
from metalearn.baselines.optimisers import OPTIMISERS
from metalearn.benchmark.benchmark_run import BenchmarkRun
from metalearn.benchmark.store import bits, cached, digest, note_failure, read_json, write_json
from metalearn.benchmark.suites import Grid
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.controls import run_controls
from metalearn.evaluation.evaluate import MAIN_METHOD
from metalearn.evaluation.manifest import Manifest, load_manifest
from metalearn.evaluation.protocol import Player, Protocol, adapted, expert_player, has_expert, random_player
from metalearn.tasks.registry import find_family
from metalearn.training.loop import Stopped

REFERENCES = ("random", "expert")


def measure_method(bench: BenchmarkRun, name: str, seed: int) -> None:
    """Train and evaluate one method with one seed; what cannot be done is noted and does not end the benchmark.

    Raises:
        Stopped: the user asked for it.
    """
    folder = bench.method_folder(name, seed)
    reason = left_out(bench, name)
    if reason is None:
        try:
            bench.train(name, seed)
            player = adapted(bench.load(name, seed))
            cached(
                folder / "outcome.json",
                bench.made_from(name, seed),
                lambda: bench.play(f"{name} seed {seed}", player, bench.protocol, bench.contexts),
            )
            if name == MAIN_METHOD and seed == 0:
                cached(folder / "controls.json", bench.made_from(name, seed), lambda: _controls(bench, player))
        except Stopped:
            raise
        except Exception as error:  # hours of other methods are not to be lost
            reason = note_failure(folder, error)
        else:
            (folder / "left_out.json").unlink(missing_ok=True)
            return
    write_json(folder / "left_out.json", {"reason": reason})


def left_out(bench: BenchmarkRun, name: str) -> str | None:
    """Why a method has nothing to go by in this suite; None if it has."""
    if name not in METHODS:
        return "nobody knows such a method"
    method, budget = METHODS[name], bench.manifest.budget
    if method.needs_demo and not budget.demos:
        return "needs a demonstration, and there is none"
    if method.needs_demo_actions and not (budget.demos and budget.demo_actions):
        return "needs the actions of a demonstration, and there are none"
    return None


def measure_references(bench: BenchmarkRun) -> None:
    """Random actions, and the expert if there is one."""
    players: dict[str, Player] = {"random": random_player}
    if has_expert(bench.family, bench.protocol.indices[0]):
        players["expert"] = expert_player
    for name, player in players.items():
        cached(
            bench.folder / "references" / f"{name}.json",
            bench.manifest.digest,
            lambda name=name, player=player: bench.play(name, player, bench.protocol, bench.contexts),  # type: ignore[misc]
        )


def _controls(bench: BenchmarkRun, player: Player) -> dict[str, Any]:
    first = bench.protocol.attempt(player, bench.contexts, 0)
    outcomes = run_controls(bench.protocol, player, bench.contexts, first, bench.progress)
    kept = {
        name: {
            "success": bits(outcome.success),
            "counted": bits(outcome.counted),
            "returns": [] if outcome.returns is None else [float(value) for value in outcome.returns],
        }
        for name, outcome in outcomes.items()
    }
    return {"controls": kept}


def measure_grid(bench: BenchmarkRun, grid: Grid) -> None:
    """Seed 0's `wtl`, shown 0 .. K demonstrations, in its attempts after 0 .. L own trials."""
    player = adapted(bench.load(MAIN_METHOD, 0))
    for demos in range(grid.max_demos + 1):
        protocol = Protocol.of(bench.family, grid_manifest(bench.manifest, grid, demos))

        def play(demos: int = demos, protocol: Protocol = protocol) -> dict[str, Any]:
            contexts = protocol.watch(bench.progress)
            return bench.play(f"grid, {demos} demos", player, protocol, contexts)

        made_from = bench.made_from(MAIN_METHOD, 0, protocol.manifest.digest)
        cached(bench.folder / "grid" / f"demos{demos}.json", made_from, play)


def grid_manifest(manifest: Manifest, grid: Grid, demos: int) -> Manifest:
    """The manifest with so many demonstrations and the grid's number of trials, on about `grid.tasks` episodes."""
    n_tasks = min(grid.tasks, manifest.n_tasks)
    budget = manifest.budget.model_copy(update={"demos": demos, "trials": grid.max_trials})
    repeats = max(1, min(manifest.episodes_per_task, grid.tasks // n_tasks))
    return manifest.model_copy(update={"budget": budget, "n_tasks": n_tasks, "episodes_per_task": repeats})


def measure_tracks(bench: BenchmarkRun) -> None:
    """Seed 0's `wtl` on the suite's other manifests: without demonstrations, with a stricter rule, ..."""
    for name in bench.suite.tracks:
        protocol = track_protocol(bench, name)
        player = adapted(METHODS[MAIN_METHOD].load(bench.method_folder(MAIN_METHOD, 0), protocol.family.spec))
        play = partial(_play_track, bench, name, protocol, player)
        made_from = bench.made_from(MAIN_METHOD, 0, protocol.manifest.digest)
        cached(bench.folder / "tracks" / f"{name}.json", made_from, play)


def _play_track(bench: BenchmarkRun, name: str, protocol: Protocol, player: Player) -> dict[str, Any]:
    return bench.play(f"track {name}", player, protocol, protocol.watch(bench.progress))


def track_protocol(bench: BenchmarkRun, name: str) -> Protocol:
    """The rows of another manifest, as few as the suite's own."""
    manifest = load_manifest(name)
    return Protocol.of(find_family(manifest.family), manifest, n_tasks=bench.suite.test_tasks)


def measure_optimisers(bench: BenchmarkRun) -> None:
    """Every optimiser on the first tasks of the manifest, one at a time."""
    direct = bench.suite.direct
    if direct is None:
        return
    indices = bench.protocol.indices[: direct.tasks]
    for name in direct.names:
        for done, index in enumerate(indices):
            bench.progress(name, done, len(indices))
            folder = bench.folder / "optimisers" / name
            try:
                made_from = digest(bench.manifest.family, bench.manifest.family_version, direct.episodes)
                cached(folder / f"{index}.json", made_from, partial(_optimise, bench, name, index))
            except Stopped:
                raise
            except Exception as error:
                write_json(folder / "left_out.json", {"reason": note_failure(folder, error)})
                break
        else:
            (folder / "left_out.json").unlink(missing_ok=True)
        bench.progress(name, len(indices), len(indices))


def _optimise(bench: BenchmarkRun, name: str, index: int) -> dict[str, Any]:
    direct = bench.suite.direct
    assert direct is not None
    if name not in OPTIMISERS:
        raise InvalidConfig(f"unknown optimiser {name!r}; known: {', '.join(OPTIMISERS)}")
    start = bench.train("bc", 0) if name.endswith("-from-bc") else None
    started, started_cpu = time.monotonic(), time.process_time()
    curve = OPTIMISERS[name].optimise(bench.manifest.family, index, direct.episodes, 0, start)
    wall_s, cpu_s = time.monotonic() - started, time.process_time() - started_cpu
    return {**asdict(curve), "wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2)}


def optimised(bench: BenchmarkRun, name: str) -> list[dict[str, Any]]:
    """The learning curves of an optimiser that there are, in the order of the manifest's tasks."""
    assert bench.suite.direct is not None
    indices = bench.protocol.indices[: bench.suite.direct.tasks]
    read = (read_json(bench.folder / "optimisers" / name / f"{index}.json") for index in indices)
    return [curve for curve in read if isinstance(curve, dict)]
