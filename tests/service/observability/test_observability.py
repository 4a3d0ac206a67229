"""Request ids, metrics by stage, traces, readiness: what an operator can see from outside."""

import re
import sqlite3

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.pointing import PointingRuntime

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client
from service.observability.stage_timings import STAGES
from service.settings import Settings

ACT = "/v1/adaptations/{adaptation_id}/act"


def reasons(app: FastAPI, http: TestClient) -> dict[str, str]:
    """Of a server that is not ready, without waiting for the next probe."""
    app.state.readiness._found = (-1e9, {})
    answer = http.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["reasons"]


def test_an_answer_carries_the_id_of_its_request(http: TestClient) -> None:
    assert http.get("/livez", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    for unfit in ("", "with space", "x" * 129, 'quote"'):
        assert re.fullmatch(
            r"[0-9a-f]{24}", http.get("/livez", headers={"X-Request-ID": unfit}).headers["x-request-id"]
        )
    assert http.get("/nothing", headers={"X-Request-ID": "abc-2"}).headers["x-request-id"] == "abc-2"


def test_a_failure_of_ours_carries_the_id_too(app: FastAPI) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret of the server")

    with TestClient(app, raise_server_exceptions=False) as http:
        answer = http.get("/broken", headers={"X-Request-ID": "abc-3"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "abc-3")
    assert "secret" not in answer.text


def test_latency_is_split_by_stage_and_route(http: TestClient, client: Client, demo: Episode) -> None:
    client.adapt("point", demos=[demo]).act([[0, 0, 0]])
    text = http.get("/metrics").text
    for stage in STAGES:
        assert f'wtl_stage_seconds_count{{route="{ACT}",stage="{stage}"}} 1.0' in text
    for figure in (
        "wtl_requests_in_flight 1.0",  # this one
        "wtl_adaptations 1.0",
        "wtl_models 1.0",
        'wtl_beliefs_total{found="no"} 1.0',
        'wtl_build_info{python="',
    ):
        assert figure in text
    assert float(re.search(r'wtl_storage_bytes\{kind="episodes"\} (\S+)', text)[1]) > 0  # type: ignore[index]


def test_a_path_that_does_not_exist_makes_no_new_series(http: TestClient) -> None:
    for i in range(3):
        http.get(f"/nothing/{i}")
    text = http.get("/metrics").text
    assert 'wtl_requests_total{method="any",route="unmatched",status="404"} 3.0' in text
    assert "/nothing" not in text


def test_the_spans_of_a_request_hang_together(settings: Settings, demo: Episode) -> None:
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    with TestClient(create_app(settings, runtime_factory=PointingRuntime, traces=provider)) as http:
        adaptation = Client(http=http).adapt("point", demos=[demo])
        memory.clear()
        adaptation.act([[0, 0, 0]])
        spans = memory.get_finished_spans()
    (request,) = [span for span in spans if span.parent is None]
    assert request.name == f"POST {ACT}"
    assert {span.name for span in spans} >= set(STAGES)
    assert {span.context.trace_id for span in spans} == {request.context.trace_id}
    for span in spans:
        assert request.start_time <= span.start_time <= span.end_time <= request.end_time


def test_without_the_option_nothing_is_traced(app: FastAPI) -> None:
    assert not app._native_telemetry.enabled()


def test_ready_is_said_with_reasons_when_it_is_not_true(settings: Settings) -> None:
    app = create_app(settings, runtime_factory=PointingRuntime)
    with TestClient(app) as http:
        assert http.get("/readyz").json() == {"status": "ready", "unusable": {}}
        with sqlite3.connect(settings.data / "service.sqlite3") as database:
            database.execute("ALTER TABLE leases RENAME TO gone")
        assert reasons(app, http) == {"database": "the database takes no writes"}
        app.state.container.engine.close()
        assert set(reasons(app, http)) == {"database", "engine"}
        app.state.shutdown.draining.set()
        assert set(reasons(app, http)) == {"shutdown"}
        assert http.get("/livez").status_code == 200


@pytest.mark.parametrize(("change", "reason"), [({"min_free_bytes": 2**62}, "disk"), ({"models": None}, "models")])
def test_a_server_that_could_not_serve_is_not_ready(settings: Settings, change: dict[str, object], reason: str) -> None:
    if "models" in change:
        empty = settings.data.parent / "none"
        empty.mkdir()
        change = {"models": empty}
    app = create_app(settings.model_copy(update=change), runtime_factory=PointingRuntime)
    with TestClient(app) as http:
        assert set(reasons(app, http)) == {reason}
