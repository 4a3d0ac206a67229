"""A listener that sends the metrics of a training run to MLflow. Knows no command-line arguments.

A resumed run continues the same MLflow run. If the tracking server fails on the way, one warning is logged and the
training goes on.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metalearn.config import Experiment
from metalearn.data.errors import InvalidConfig
from metalearn.data.extras import missing_library
from metalearn.listeners.console import Listen
from metalearn.training.events import Event

METRICS = ("loss", "trial", "retrial")
_FOLDER = "wtl.folder"
_log = logging.getLogger(__name__)


@contextmanager
def mlflow_run(uri: str, experiment: Experiment, folder: Path) -> Iterator[Listen]:
    """A listener that logs to the MLflow at `uri`: a server, `sqlite:///FILE`, or a folder.

    Raises:
        InvalidConfig: MLflow is not installed, or nothing at `uri` can be written to.
    """
    try:
        import mlflow
    except ImportError as error:
        raise missing_library(error, "--mlflow") from error
    try:
        client: Any = mlflow.MlflowClient(tracking_uri=uri)
        run = _begun(client, experiment, folder)
    except Exception as error:  # of the store behind it: of a database, a file system, HTTP
        raise InvalidConfig(f"--mlflow {uri}: {str(error).splitlines()[0]}") from error
    log = _MlflowListener(client, run)
    try:
        yield log
    except BaseException:
        log.end("KILLED")
        raise
    log.end("FINISHED")


class _MlflowListener:
    """Logs the metrics of events; never raises."""

    def __init__(self, client: Any, run: str) -> None:
        self._client, self._run, self._quiet = client, run, False

    def __call__(self, event: Event) -> None:
        """Log the metrics of an event at its step; `success_after_2` is the success after two trials."""
        after = {f"success_after_{trials}": rate for trials, rate in enumerate(event.success)}
        for name, value in (event.to_json() | after).items():
            if name in after or name in METRICS:
                self._send("log_metric", name, value, step=event.done)

    def end(self, status: str) -> None:
        """Set the final status of the run."""
        self._send("set_terminated", status)

    def _send(self, method: str, *arguments: Any, **more: Any) -> None:
        try:
            getattr(self._client, method)(self._run, *arguments, **more)
        except Exception as error:
            if not self._quiet:
                _log.warning("MLflow does not accept metrics any more: %s", str(error).splitlines()[0])
            self._quiet = True


def _begun(client: Any, experiment: Experiment, folder: Path) -> str:
    """Return the id of the MLflow run of this folder, created now or before."""
    known = client.get_experiment_by_name(experiment.name)
    group = client.create_experiment(experiment.name) if known is None else known.experiment_id
    place = str(folder.absolute())
    for run in client.search_runs([group], order_by=["attributes.start_time DESC"]):
        if run.data.tags.get(_FOLDER) == place and run.info.status != "FINISHED":
            client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
    run = client.create_run(group, tags={_FOLDER: place}, run_name=folder.name)
    for name, value in _flat(experiment.to_json()).items():
        client.log_param(run.info.run_id, name, value)
    return str(run.info.run_id)


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, one in value.items():
        flat |= _flat(one, f"{prefix}{name}.") if isinstance(one, dict) else {prefix + name: one}
    return flat
