"""Collection on Ray against the bare simulator loop and RLlib's EnvRunners, and where it ends: ratios in one run.

    python benchmarks/scale.py
    python benchmarks/scale.py --chunks push:50:2 --chunks push:100:1 --workers 2 --no-learning --out ...

Every subject steps the same environments in 1 and in 2 processes; they take turns, and a ratio is that of one round,
averaged over rounds with its 95% interval. `bare` does the very episodes of `actors` over again from their seeds and
actions, so that nothing can be faster; `labelled` also asks the expert in every state, as training does. Prints a
table. About 8 minutes on 2 idle cores.
"""

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from scaling.learning import learning, one_round
from scaling.subjects import Setting, Trials, n_steps, subjects, take_turns
from scipy.stats import t as students_t

from metalearn.benchmark.by_hand import benchmarked_experiment
from metalearn.cluster.workers import RayCollector

CHUNKS = ["reach-m2:512:8", "push:50:1", "push:10:4"]
"""As many tasks side by side as their experiments have, and on Meta-World also fewer; a turn takes about 2 seconds."""
ACTORS = (8, 64, 512)
NETWORK = 1.25e9
"""Bytes a second of the driver's network card in the estimate: 10 Gbit."""


def setting(text: str, n_workers: int) -> Setting:
    """Parse FAMILY:TASKS:CHUNKS."""
    family, n_tasks, chunks = text.split(":")
    return Setting(family, int(n_tasks), n_workers, int(chunks))


def interval(ratios: Sequence[float]) -> dict[str, float]:
    """Geometric mean of ratios, and its 95% interval by Student's t of their logarithms."""
    logs = np.log(ratios)
    half = students_t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0
    return {
        name: round(float(np.exp(logs.mean() + shift)), 3)
        for name, shift in {"ratio": 0.0, "low": -half, "high": half}.items()
    }


def over(rates: dict[str, list[float]], above: str, below: str) -> dict[str, float]:
    return interval([ours / theirs for ours, theirs in zip(rates[above], rates[below], strict=True)])


def collection(setting: Setting, rounds: int, scratch: Path) -> dict[str, Any]:
    """Rates, ratios, and what each chunk costs the driver and the network."""
    trials = Trials(setting)
    with RayCollector(n_actors=setting.n_workers) as collector, subjects(setting, trials, collector, scratch) as found:
        rates = take_turns(found, rounds)
        collector.counts.clear()
        began = time.process_time()
        done = trials.collect(collector)
        driver_s, counts = time.process_time() - began, collector.counts
    taken = n_steps(done)
    return {
        "family": setting.family,
        "workers": setting.n_workers,
        "tasks_per_chunk": setting.n_tasks,
        "chunks_per_turn": setting.n_chunks,
        "steps_in_chunk": round(taken / setting.n_chunks),
        "steps_per_s": {name: round(statistics.median(of)) for name, of in rates.items()},
        "actors_over": {name: over(rates, "actors", name) for name in rates if name not in ("actors", "labelled")},
        "labelled_over_bare": over(rates, "labelled", "bare"),
        "rounds": {name: [round(rate) for rate in of] for name, of in rates.items()},
        "chunk": {
            "bytes_out": len(ray.cloudpickle.dumps(trials.chunks[0])),
            "bytes_back": round(statistics.fmean(len(ray.cloudpickle.dumps(chunk)) for chunk in done)),
            "driver_ms": round(1000 * driver_s / counts["chunks"], 2),
        },
        "weights_bytes": sum(value.nbytes for value in trials.policy.weights.values()),
    }


def learners(name: str, rounds: int) -> dict[str, Any]:
    found = learning(name, rounds)
    two_over_one = [two[1] / one[1] for one, two in zip(found[1], found[2], strict=True)]
    return {
        "step_ms": {size: round(statistics.median(ms for ms, _ in of), 2) for size, of in found.items()},
        "samples_per_s": {size: round(statistics.median(rate for _, rate in of)) for size, of in found.items()},
        "two_over_one": interval(two_over_one),
    }


def estimate(row: dict[str, Any], round_s: dict[str, Any]) -> list[dict[str, Any]]:
    """Of N actors: chunks a second that they make, and that one driver and one network card could take in.

    Arithmetic on the figures of one actor, no measurement. Actors beyond the chunks of a round have nothing to do.
    """
    experiment, steps_per_chunk = benchmarked_experiment(row["family"]), row["steps_in_chunk"]
    chunk_s = steps_per_chunk / row["steps_per_s"]["actors"]
    n_chunks = -(-experiment.data.n_tasks // row["tasks_per_chunk"])
    driver, network = 1000 / row["chunk"]["driver_ms"], NETWORK / row["chunk"]["bytes_back"]
    found = []
    for n in ACTORS:
        made = n / chunk_s
        limits = {"actors": made, "driver": driver, "network": network}
        rounds_s = max(math.ceil(n_chunks / n) * chunk_s, n_chunks / driver, n_chunks / network)
        kept_s = round_s["keeping_s"] * experiment.data.n_tasks / round_s["tasks"]
        found.append(
            {
                "actors": n,
                "chunks_made_per_s": round(made, 1),
                "driver_takes_per_s": round(driver, 1),
                "network_takes_per_s": round(network, 1),
                "steps_per_s": round(min(limits.values()) * steps_per_chunk),
                "bottleneck": min(limits, key=lambda name: limits[name]),
                "round": {
                    "chunks": n_chunks,
                    "collecting_s": round(rounds_s, 1),
                    "keeping_s": round(kept_s, 1),
                    "learning_s": round(experiment.training.round_steps * round_s["step_ms"] / 1000, 1),
                },
            }
        )
    return found


def table(report: dict[str, Any]) -> str:
    lines = [
        "family    tasks workers   bare/s  actors/s  runners/s   actors/bare        with labels   actors/EnvRunners"
    ]
    for row in report["collection"]:
        rate, ratio = row["steps_per_s"], row["actors_over"]
        shown = {name: f"{r['ratio']:.2f} ({r['low']:.2f}..{r['high']:.2f})" for name, r in ratio.items()}
        lines.append(
            f"{row['family']:<9}{row['tasks_per_chunk']:>6}{row['workers']:>8}{rate['bare']:>9,}{rate['actors']:>10,}"
            f"{rate['env_runners']:>11,}   {shown['bare']:<22} "
            f"{row['labelled_over_bare']['ratio']:.2f}   {shown['env_runners']}"
            + (f"   x{ratio['meta_world']['ratio']} Meta-World's own loop" if "meta_world" in ratio else "")
        )
    for row in report["collection"]:
        chunk = row["chunk"]
        lines.append(
            f"messages {row['family']} {row['tasks_per_chunk']} x{row['workers']}: chunk {chunk['bytes_out']:,} B out, "
            f"{chunk['bytes_back']:,} B back, {chunk['driver_ms']} ms of the driver; weights {row['weights_bytes']:,} B"
        )
    for name, row in report["learning"].items():
        lines.append(
            f"learning {name}: step {row['step_ms']} ms, samples/s {row['samples_per_s']}, {row['two_over_one']}"
        )
    for name, row in report["round"].items():
        lines.append(f"round {name}: {row}")
    for name, rows in report["estimate"].items():
        lines += [f"estimate {name}: {row}" for row in rows]
    return "\n".join(lines)


def measure(given: argparse.Namespace, save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The report, which is saved as far as it is after each part."""
    began, rounds = time.perf_counter(), 2 if given.quick else given.rounds
    settings = [setting(text, n) for text in given.chunks or CHUNKS for n in given.workers or (1, 2)]
    report: dict[str, Any] = {
        "schema": 2,
        "rounds": rounds,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    report |= {"ray": ray.__version__, "collection": [], "learning": {}, "round": {}, "estimate": {}}
    with RayCollector("local", n_actors=4), tempfile.TemporaryDirectory() as scratch:
        for one in settings:
            report["collection"].append(collection(one, rounds, Path(scratch)))
            print(f"{time.perf_counter() - began:.0f} s: {report['collection'][-1]['actors_over']}", flush=True)
            save(report)
        for name in dict.fromkeys(one.family for one in settings if given.learning):
            chunk_tasks = benchmarked_experiment(name).data.chunk_tasks
            report["learning"][name] = learners(name, rounds)
            with RayCollector(n_actors=2) as collector:
                report["round"][name] = one_round(name, collector, 4, chunk_tasks).to_json()
            row = next(r for r in report["collection"] if r["family"] == name and r["workers"] == 1)
            report["estimate"][name] = estimate(row, report["round"][name])
            save(report)
    return report | {"load_at_end": os.getloadavg()[0], "wall_s": round(time.perf_counter() - began, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--chunks", action="append", metavar="FAMILY:TASKS:N", help="N chunks of TASKS a worker and turn"
    )
    parser.add_argument("--workers", action="append", type=int, help="so many; default: 1, and 2")
    parser.add_argument("--no-learning", dest="learning", action="store_false")
    parser.add_argument("--quick", action="store_true", help="two rounds: to see that it works")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "scale.json")
    given = parser.parse_args()

    def save(report: dict[str, Any]) -> None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n")

    report = measure(given, save)
    save(report)
    print(table(report))


if __name__ == "__main__":
    main()
