"""What `wtl train` and `wtl evaluate` do, wired for a person who watches. Knows no command-line arguments."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from metalearn.baselines.bundled import methods_of, with_baselines
from metalearn.baselines.demo_replay import DemoReplay
from metalearn.bundle import Bundle
from metalearn.config import Experiment
from metalearn.data.dataset import Dataset
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.evaluate import evaluate, tell_stories
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.plots import draw_report
from metalearn.evaluation.report import Report
from metalearn.listeners.console import Listen, stop_request, training_progress
from metalearn.listeners.event_log import event_log
from metalearn.listeners.mlflow import mlflow_run
from metalearn.listeners.progress import show_progress
from metalearn.model.export import with_graphs
from metalearn.tasks.registry import find_family
from metalearn.training.calibrate import calibrate
from metalearn.training.collect import Collector, ProcessCollector, SerialCollector
from metalearn.training.learner import CPU, Compute
from metalearn.training.loop import Event, Stopped, train
from metalearn.training.run_store import RunStore, fetch_folder

Learners = int | tuple[int, int]
"""So many processes that learn together, or (fewest, most); 0: this process alone."""


@contextmanager
def where_to_collect(workers: int, ray: bool, ray_address: str | None, learners: Learners = 0) -> Iterator[Collector]:
    """In this process, in worker processes, or in Ray actors (beside learners); ended with the block."""
    if ray:
        from metalearn.cluster.workers import RayCollector

        with RayCollector(
            ray_address, workers or None, learners if isinstance(learners, int) else learners[1]
        ) as there:
            yield there
    elif workers:
        local = ProcessCollector(workers)
        try:
            yield local
        finally:
            local.close()
    else:
        yield SerialCollector()


@contextmanager
def figures_to(experiment: Experiment, out: Path, on_ray: bool, mlflow: str | None) -> Iterator[Sequence[Listen]]:
    """Listeners that send the figures of a run to the metrics of the Ray cluster, and to MLflow at a URI."""
    told: list[Listen] = []
    if on_ray:
        from metalearn.cluster.metrics import RayMetrics

        told.append(RayMetrics(experiment.name))
    with ExitStack() as opened:
        if mlflow is not None:
            told.append(opened.enter_context(mlflow_run(mlflow, experiment, out)))
        yield told


def run_training(
    experiment: Experiment,
    out: Path,
    episodes: str | Path | None,
    collector: Collector,
    baselines: Sequence[str],
    console: Console,
    compute: Compute = CPU,
    listeners: Sequence[Listen] = (),
    url: str | None = None,
    learners: Learners = 0,
) -> Bundle:
    """Train in sight of the user; the bundle is in `out / "bundle"`, and all that the run needs to go on at `url`.

    `listeners` are told too what happens.

    Raises:
        typer.Exit: stopped by a signal, with the code that says so.
    """
    store = RunStore(out, url)
    with stop_request() as request, training_progress(console) as show:
        try:
            with event_log(out) as note:
                everybody: list[Listen] = [show, note, *listeners]

                def listen(event: Event) -> None:
                    for told in everybody:
                        told(event)

                return _train(
                    experiment, store, episodes, collector, baselines, listen, request.asked, compute, learners
                )
        except Stopped as stopped:
            console.print(str(stopped))
            raise typer.Exit(128 + (request.signal or 0)) from None


def _train(
    experiment: Experiment,
    store: RunStore,
    episodes: str | Path | None,
    collector: Collector,
    baselines: Sequence[str],
    listen: Listen,
    stopping: Callable[[], bool],
    compute: Compute,
    learners: Learners,
) -> Bundle:
    """Policy, confidence, baselines. Raises Stopped."""
    recorded: Dataset | None = None
    if learners:
        bundle = _train_on_learners(experiment, store, episodes, collector, listen, stopping, learners)
    else:
        recorded = Dataset.load(fetch_folder(str(episodes), store.folder / "recorded")) if episodes else None
        bundle = train(
            experiment, store, dataset=recorded, collector=collector, listen=listen, stopping=stopping,
            compute=compute, cluster=_cluster_description(collector),
        )  # fmt: skip

    def progress(method: str, done: int, total: int) -> None:
        listen(Event(method, done, total))
        if stopping():
            raise Stopped(f"stopped at {method}; the same command does this part, and what follows, again")

    bundle = calibrate(bundle, seed=experiment.seed, collector=collector, progress=progress)
    if baselines:
        if recorded is None and not episodes:
            store.fetch("dataset")
            recorded = Dataset.load(store.folder / "dataset")
        elif recorded is None:
            recorded = Dataset.load(fetch_folder(str(episodes), store.folder / "recorded"))
        bundle = with_baselines(bundle, recorded, experiment.seed, progress, baselines)
    bundle = with_graphs(bundle)
    bundle.save(store.folder / "bundle")
    store.publish("bundle")
    return bundle


def _train_on_learners(
    experiment: Experiment,
    store: RunStore,
    episodes: str | Path | None,
    collector: Collector,
    listen: Listen,
    stopping: Callable[[], bool],
    learners: Learners,
) -> Bundle:
    """On the cluster of the collector, which collects nothing meanwhile: the learners have one of their own."""
    from metalearn.cluster.data import StreamedDataOpener
    from metalearn.cluster.train import train_on_learners
    from metalearn.cluster.workers import RayCollector

    if not isinstance(collector, RayCollector):
        raise InvalidConfig("--learners: learners in processes of their own are on a cluster: give --ray too")
    url = None if episodes is None else str(episodes) if "://" in str(episodes) else str(Path(episodes).absolute())
    return train_on_learners(
        experiment,
        store,
        learners=learners,
        n_actors=collector.n_actors,
        recorded=None if url is None else StreamedDataOpener(url, experiment.seed),
        listen=listen,
        stopping=stopping,
    )


def _cluster_description(collector: Collector) -> dict[str, Any]:
    """What a run runs on; nothing to say of this machine alone."""
    if isinstance(collector, SerialCollector | ProcessCollector):
        return {}
    from metalearn.cluster.connection import describe_cluster

    return describe_cluster() | {"actors": getattr(collector, "n_actors", 0)}


def run_evaluation(
    folder: Path,
    manifest_name: str | None,
    family_name: str | None,
    seed: int | None,
    episodes: int | None,
    picture: Path | None,
    save: bool,
    console: Console,
) -> Report:
    """Evaluate a bundle in sight of the user; draw and keep the report where that was asked for.

    Raises:
        InvalidConfig: a manifest that the bundle's experiment does not name and that was not given.
    """
    bundle = Bundle.load(folder)
    experiment = bundle.provenance.get("experiment")
    name = manifest_name or (experiment.get("manifest") if isinstance(experiment, dict) else None)
    if not isinstance(name, str) or not name:
        raise InvalidConfig(f"--manifest is needed: the experiment of {folder} names none")
    manifest = load_manifest(name)
    family = find_family(family_name or manifest.family)
    if bundle.spec.to_json() != family.spec.to_json():
        raise InvalidConfig(f"bundle {folder} acts in other spaces than the tasks of manifest {manifest.name}")
    methods = methods_of(bundle) | {"replay": DemoReplay()}
    n_tasks = None if episodes is None else -(-episodes // manifest.episodes_per_task)
    with show_progress(console) as progress:
        report = evaluate(methods, family, manifest, seed=seed, n_tasks=n_tasks, bundle=bundle.id, progress=progress)
    if picture:
        stories = tell_stories(methods["wtl"], family, manifest, seed=seed)
        console.print(f"picture: {draw_report(report, picture, family, stories)}")
    if save:
        bundle.with_report(report.to_json()).save(folder)
    return report
