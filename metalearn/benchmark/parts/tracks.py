"""`wtl` of seed 0 on the other manifests of a suite: without demonstrations, with a stricter rule, ..."""

from functools import partial
from typing import Any

from metalearn.baselines.methods import METHODS
from metalearn.benchmark.benchmark_run import BenchmarkRun, unpacked
from metalearn.benchmark.store import cached, read_json
from metalearn.evaluation.evaluate import MAIN_METHOD, method_report
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.protocol import Player, Protocol, adapted
from metalearn.evaluation.report import MethodReport
from metalearn.tasks.registry import find_family


def measure(bench: BenchmarkRun) -> None:
    """Train the policy, if it is not trained, and play the attempts of every manifest."""
    for name in bench.suite.tracks:
        folder, protocol = bench.train(MAIN_METHOD, 0), track_protocol(bench, name)
        player = adapted(METHODS[MAIN_METHOD].load(folder, protocol.family.spec))
        made_from = bench.made_from(MAIN_METHOD, 0, protocol.manifest.digest)
        cached(bench.folder / "tracks" / f"{name}.json", made_from, partial(_play, bench, name, protocol, player))


def _play(bench: BenchmarkRun, name: str, protocol: Protocol, player: Player) -> dict[str, Any]:
    return bench.play(f"track {name}", player, protocol, protocol.demonstrations(bench.progress))


def track_protocol(bench: BenchmarkRun, name: str) -> Protocol:
    """The rows of another manifest, as few as the suite's own."""
    manifest = load_manifest(name)
    return Protocol.of(find_family(manifest.family), manifest, n_tasks=bench.suite.test_tasks)


def reports(bench: BenchmarkRun) -> dict[str, MethodReport]:
    """The reports of the manifests that have been measured."""
    found = {}
    for name in bench.suite.tracks:
        kept = read_json(bench.folder / "tracks" / f"{name}.json")
        if not isinstance(kept, dict):
            continue
        protocol = track_protocol(bench, name)
        if kept["made_from"] == bench.made_from(MAIN_METHOD, 0, protocol.manifest.digest):
            success, returns = unpacked(kept)
            measured = returns if protocol.manifest.measure == "return" else None
            found[name] = method_report(protocol, success, measured)
    return found
