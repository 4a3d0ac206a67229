"""Figures of a run in MLflow."""

import sys

import pytest

from metalearn.data.errors import InvalidConfig
from metalearn.experiments import find_experiment
from metalearn.listeners.mlflow import mlflow_run
from metalearn.training.events import Event

DARK = find_experiment("dark-room")


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path}/mlflow.sqlite3"


def runs_at(uri):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    group = client.get_experiment_by_name("dark-room")
    return client, client.search_runs([group.experiment_id])


@pytest.mark.slow
def test_a_run_is_logged_with_its_settings_and_goes_on_as_the_same(uri, tmp_path):
    def interrupted() -> None:
        with mlflow_run(uri, DARK, tmp_path / "run") as listen:
            listen(Event("train", 10, 100, loss=2.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    client, (run,) = runs_at(uri)
    assert run.info.status == "KILLED"
    assert run.data.params["training.minutes"] == str(DARK.training.minutes)

    with mlflow_run(uri, DARK, tmp_path / "run") as listen:
        listen(Event("collect", 1, 2))
        listen(Event("train", 20, 100, loss=1.0, success=(0.5, 0.75, 1.0)))
    client, (run,) = runs_at(uri)
    assert run.info.status == "FINISHED"
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(10, 2.0), (20, 1.0)]
    assert run.data.metrics["retrial"] == run.data.metrics["success_after_1"] == 0.75
    assert run.data.metrics["success_after_2"] == 1.0

    with mlflow_run(uri, DARK, tmp_path / "other"):
        pass
    assert len(runs_at(uri)[1]) == 2


@pytest.mark.slow
def test_a_store_that_fails_on_the_way_stops_nothing(uri, tmp_path, caplog):
    with mlflow_run(uri, DARK, tmp_path / "run") as listen:
        client, (run,) = runs_at(uri)
        client.delete_run(run.info.run_id)
        listen(Event("train", 10, 100, loss=2.0))
        listen(Event("train", 20, 100, loss=2.0))
    (said,) = [record.message for record in caplog.records if record.name == "metalearn.listeners.mlflow"]
    assert said.startswith("MLflow does not accept metrics any more")


@pytest.mark.slow
def test_without_mlflow_or_a_place_to_write_it_is_one_sentence(tmp_path, monkeypatch):
    def tried(uri: str) -> None:
        with mlflow_run(uri, DARK, tmp_path):
            pass

    with pytest.raises(InvalidConfig, match="--mlflow sqlite:////proc/nothing/x: "):
        tried("sqlite:////proc/nothing/x")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InvalidConfig, match="pip install"):
        tried("x")
