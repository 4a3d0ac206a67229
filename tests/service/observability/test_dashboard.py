"""The dashboard and the alerts ask for what the server exposes, and the dashboard shows what matters."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from metalearn.data.episode import Episode
from service.client import Client

DOCKER = Path(__file__).parents[3] / "docker"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "watch-try-learn.json"
SERIES = re.compile(r"\b((?:wtl|process|python)_[a-z0-9_]+)(\{[^}]*\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
BY_PROMETHEUS = {"job", "instance", "le"}


def queries_of(dashboard: dict) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


@pytest.fixture
def shared_state_gauges(http: TestClient, client: Client, demo: Episode) -> dict[str, set[str]]:
    """Every series that a server exposes that was used a little, with the names of its labels."""
    adaptation = client.adapt("point", demos=[demo])
    adaptation.act(np.zeros((1, 3)))
    http.get("/nothing")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(http.get("/metrics").text):
        for kind in {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",)):
            found.setdefault(family.name + kind, set())  # one that has not been counted yet has no samples
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def asked(expression: str) -> list[tuple[str, set[str]]]:
    return [(name, set(LABEL.findall(labels))) for name, labels in SERIES.findall(expression)]


def test_every_series_of_the_dashboard_is_exposed_with_its_labels(shared_state_gauges: dict[str, set[str]]) -> None:
    queries = queries_of(json.loads(DASHBOARD.read_text()))
    assert len(queries) > 20
    for query in queries:
        series = asked(query)
        assert series, query
        for name, labels in series:
            assert name in shared_state_gauges, f"{name} of {query}"
            assert labels - BY_PROMETHEUS <= shared_state_gauges[name], (
                f"{query}: {name} has {shared_state_gauges[name]}"
            )


def test_every_series_of_the_alerts_is_exposed(shared_state_gauges: dict[str, set[str]]) -> None:
    alerts = (DOCKER / "prometheus" / "alerts.yml").read_text()
    expressions = "\n".join(
        line for line in alerts.splitlines() if not re.match(r"\s*(#|-? ?alert:|summary|desc)", line)
    )
    names = {name for name, _ in asked(expressions)}
    assert names
    assert names <= set(shared_state_gauges)


def test_the_dashboard_shows_every_figure_of_ours(shared_state_gauges: dict[str, set[str]]) -> None:
    shown = {name for query in queries_of(json.loads(DASHBOARD.read_text())) for name, _ in asked(query)}
    families = {
        re.sub(r"_(total|bucket|count|sum|created)$", "", name)
        for name in shared_state_gauges
        if name.startswith("wtl_")
    }
    left_out = {family for family in families if not any(name.startswith(family) for name in shown)}
    assert left_out == set()


def test_the_test_sees_a_series_that_nobody_exposes(shared_state_gauges: dict[str, set[str]]) -> None:
    ((name, labels),) = asked('sum(wtl_requests_lost_total{route="x", colour!="y"})')
    assert name not in shared_state_gauges
    assert labels == {"route", "colour"}


def test_panels_do_not_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own
