"""`wtl train` and `wtl evaluate` without their command-line arguments: the parts, wired together on a console."""

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
from metalearn.evaluation.manifest import Manifest, default_manifest, load_manifest
from metalearn.evaluation.plots import draw_report
from metalearn.evaluation.report import Report
from metalearn.listeners.console import Listen, stop_request, training_progress
from metalearn.listeners.event_log import event_log
from metalearn.listeners.mlflow import mlflow_run
from metalearn.listeners.progress import show_progress
from metalearn.model.export import check_exportable, with_graphs
from metalearn.tasks.family import Family
from metalearn.tasks.registry import FAMILIES, find_family
from metalearn.training.calibrate import calibrate
from metalearn.training.collect import Collector, ProcessCollector, SerialCollector
from metalearn.training.learner import CPU, Compute
from metalearn.training.loop import Event, Stopped, check_trainable, train
from metalearn.training.minutes import Ending
from metalearn.training.recognition import calibrate_recognition
from metalearn.training.recorded import InMemoryData, RecordedData
from metalearn.training.run_store import RunStore, fetch_folder
from wtl.folders import nothing_left_of_a_failure
from wtl.report_page import NOT_BUILT, write_page

Learners = int | tuple[int, int]
"""The number of processes that learn together, or (fewest, most); 0: this process alone."""


@contextmanager
def make_collector(workers: int, ray: bool, ray_address: str | None, learners: Learners = 0) -> Iterator[Collector]:
    """A collector in this process, in worker processes or in Ray actors (beside learners), closed after the block."""
    if ray:
        from metalearn.cluster.workers import RayCollector

        with RayCollector(
            ray_address, workers or None, learners if isinstance(learners, int) else learners[1]
        ) as collector:
            yield collector
    elif workers:
        local = ProcessCollector(workers)
        try:
            yield local
        finally:
            local.close()
    else:
        yield SerialCollector()


@contextmanager
def metric_listeners(experiment: Experiment, out: Path, on_ray: bool, mlflow: str | None) -> Iterator[Sequence[Listen]]:
    """Listeners that send the metrics of a run to the Ray cluster that it runs on, and to MLflow at a URI."""
    listeners: list[Listen] = []
    if on_ray:
        from metalearn.cluster.metrics import RayMetrics

        listeners.append(RayMetrics(experiment.name))
    with ExitStack() as opened:
        if mlflow is not None:
            listeners.append(opened.enter_context(mlflow_run(mlflow, experiment, out)))
        yield listeners


def run_training(
    experiment: Experiment,
    out: Path,
    dataset: str | Path | Dataset | None,
    collector: Collector,
    baselines: Sequence[str],
    console: Console,
    compute: Compute = CPU,
    listeners: Sequence[Listen] = (),
    url: str | None = None,
    learners: Learners = 0,
) -> Bundle:
    """Train, with the progress on a console. The bundle is written to `out / "bundle"`.

    Args:
        experiment: what to train.
        out: folder of the run.
        dataset: recorded episodes to train on, or their folder or URL; None: collect them.
        collector: collects episodes.
        baselines: names of the baselines to train too.
        console: where to show the progress.
        compute: device and precision.
        listeners: called with every event, besides the console and the event log.
        url: keep a copy of the run here, and resume from it.
        learners: the number of learner processes.

    Raises:
        typer.Exit: stopped by a signal, with the code that says so.
    """
    store = RunStore(out, url)
    with nothing_left_of_a_failure(out), stop_request() as request, training_progress(console) as show:
        recorded = _recorded(experiment, store, dataset, learners)
        check_exportable(experiment.model, check_trainable(experiment, recorded))
        try:
            with event_log(out) as log:
                everybody: list[Listen] = [show, log, *listeners]

                def listen(event: Event) -> None:
                    for listener in everybody:
                        listener(event)

                return _train(
                    experiment, store, dataset, recorded, collector, baselines, listen, request.asked, compute, learners
                )
        except Stopped as stopped:
            console.print(str(stopped))
            raise typer.Exit(128 + (request.signal or 0)) from None


def _train(
    experiment: Experiment,
    store: RunStore,
    dataset: str | Path | Dataset | None,
    recorded: RecordedData | None,
    collector: Collector,
    baselines: Sequence[str],
    listen: Listen,
    stopping: Callable[[], bool],
    compute: Compute,
    learners: Learners,
) -> Bundle:
    """Train the policy, its confidence and the baselines. Raises Stopped."""
    ending = Ending(experiment.training.minutes, tuple(baselines))
    if learners:
        bundle = _train_on_learners(experiment, store, dataset, collector, listen, stopping, learners)
    else:
        bundle = train(
            experiment, store, dataset=recorded, collector=collector, listen=listen, stopping=stopping,
            compute=compute, cluster=_cluster_description(collector),
        )  # fmt: skip

    def progress(method: str, done: int, total: int) -> None:
        listen(Event(method, done, total, ends_in_s=ending.in_s(method, done, total)))
        if stopping():
            raise Stopped(f"stopped at {method}; the same command resumes at the start of this part")

    bundle = calibrate(bundle, seed=experiment.seed, collector=collector, progress=progress)
    bundle = calibrate_recognition(bundle, seed=experiment.seed, progress=progress)
    if baselines:
        shown = _load_recorded(store, dataset) if dataset else _load_collected(store)
        bundle = with_baselines(bundle, shown, experiment.seed, progress, baselines)
    bundle = with_graphs(bundle)
    bundle.save(store.folder / "bundle")
    store.publish("bundle")
    return bundle


def _recorded(
    experiment: Experiment, store: RunStore, dataset: str | Path | Dataset | None, learners: Learners
) -> RecordedData | None:
    """The recorded episodes to train on, if there are any, whether this process will learn from them or others do."""
    if dataset is None:
        return None
    if learners:
        from metalearn.cluster.data import StreamedDataOpener

        return StreamedDataOpener(_as_url(dataset), experiment.seed)()
    return InMemoryData(_load_recorded(store, dataset))


def _load_recorded(store: RunStore, dataset: str | Path | Dataset) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    return Dataset.load(fetch_folder(str(dataset), store.folder / "recorded"))


def _load_collected(store: RunStore) -> Dataset:
    store.fetch("dataset")
    return Dataset.load(store.folder / "dataset")


def _as_url(dataset: str | Path | Dataset) -> str:
    if isinstance(dataset, Dataset):
        raise InvalidConfig("learners read recorded episodes from a folder or a URL")
    return str(dataset) if "://" in str(dataset) else str(Path(dataset).absolute())


def _train_on_learners(
    experiment: Experiment,
    store: RunStore,
    dataset: str | Path | Dataset | None,
    collector: Collector,
    listen: Listen,
    stopping: Callable[[], bool],
    learners: Learners,
) -> Bundle:
    """Train on the Ray cluster of the collector; the learners bring their own, and this one stays idle."""
    from metalearn.cluster.data import StreamedDataOpener
    from metalearn.cluster.train import train_on_learners
    from metalearn.cluster.workers import RayCollector

    if not isinstance(collector, RayCollector):
        raise InvalidConfig("--learners needs --ray")
    return train_on_learners(
        experiment,
        store,
        learners=learners,
        n_actors=collector.n_actors,
        recorded=None if dataset is None else StreamedDataOpener(_as_url(dataset), experiment.seed),
        listen=listen,
        stopping=stopping,
    )


def _cluster_description(collector: Collector) -> dict[str, Any]:
    """The cluster that the run uses, for its provenance; empty where it uses this machine alone."""
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
    plot: Path | None,
    save: bool,
    console: Console,
    page: Path | None = None,
) -> Report:
    """Evaluate a bundle, with the progress on a console. Plot and store the report, and write its page, if asked to.

    Raises:
        InvalidConfig: a manifest that the bundle's experiment does not name and that was not given.
    """
    bundle = Bundle.load(folder)
    manifest, family = _measured(bundle, folder, manifest_name, family_name)
    if bundle.spec.to_json() != family.spec.to_json():
        raise InvalidConfig(f"bundle {folder} acts in other spaces than the tasks of manifest {manifest.name}")
    methods = methods_of(bundle) | {"replay": DemoReplay()}
    n_tasks = None if episodes is None else -(-episodes // manifest.episodes_per_task)
    with show_progress(console) as progress:
        report = evaluate(methods, family, manifest, seed=seed, n_tasks=n_tasks, bundle=bundle.id, progress=progress)
    stories = tell_stories(methods["wtl"], family, manifest, seed=seed) if plot or page else []
    if plot:
        console.print(f"plot: {draw_report(report, plot, family, stories)}")
    if page:
        written = write_page(report, stories, page, family)
        console.print(f"page: {written}" if written else NOT_BUILT)
    if save:
        bundle.with_report(report.to_json()).save(folder)
    return report


def _measured(bundle: Bundle, folder: Path, manifest: str | None, family: str | None) -> tuple[Manifest, Family]:
    """What is measured on which tasks: as named, else by the bundle's experiment, else held-out tasks of its family.

    Raises:
        InvalidConfig: neither is named nor known from the training, or they cannot be found.
    """
    recorded = bundle.provenance.get("experiment")
    experiment = recorded if isinstance(recorded, dict) else {}
    name = manifest or (None if family else experiment.get("manifest"))
    if isinstance(name, str) and name:
        found = load_manifest(name)
        return found, find_family(family or _own_family(experiment, found) or found.family)
    own = family or experiment.get("family")
    if not isinstance(own, str) or not own:
        raise InvalidConfig(f"--manifest or --family is needed: {folder} was trained on no family of tasks")
    tasks = find_family(own)
    training = experiment.get("training")
    trials = training.get("trials_per_task") if isinstance(training, dict) else None
    return default_manifest(tasks, trials=trials if isinstance(trials, int) and 0 < trials < 1000 else 1), tasks


def _own_family(experiment: dict[str, Any], manifest: Manifest) -> str | None:
    """The `module:Class` that the bundle was trained on, if the manifest is of a family that is not registered."""
    trained = experiment.get("family")
    return trained if isinstance(trained, str) and ":" in trained and manifest.family not in FAMILIES else None
