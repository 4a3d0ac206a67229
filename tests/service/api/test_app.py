"""The application as a whole: health, metrics, documentation, imports, and where it refuses to start."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import service.server
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from service.client import Client, ClientError
from service.errors import ServiceError
from service.settings import Settings


def test_health_metrics_and_docs(http: TestClient, client: Client, demo: Episode) -> None:
    client.adapt("point", demos=[demo]).act([[0, 0, 0]])
    assert http.get("/livez").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready", "unusable": {}}
    assert http.get("/docs").status_code == 200
    text = http.get("/metrics").text
    assert 'wtl_requests_total{method="POST",route="/v1/adaptations/{adaptation_id}/act",status="200"} 1.0' in text
    assert "wtl_batch_rows_sum 1.0" in text


def test_openapi_describes_bodies_and_has_no_dangling_reference(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    body = document["paths"]["/v1/adaptations"]["post"]["requestBody"]["content"]
    assert set(body) >= {"application/json", "application/msgpack"}
    names = set(document["components"]["schemas"])

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"].rpartition("/")[2]} if "$ref" in value else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    assert references(document) <= names


def test_answers_come_in_the_format_that_is_accepted(http: TestClient) -> None:
    for accept, media_type in {
        "application/json;q=0.1, application/msgpack;q=0.9": "application/msgpack",
        "application/msgpack;q=0": "application/json",
        "*/*": "application/json",
        "text/html, application/xhtml+xml, */*;q=0.8": "application/json",
        "application/msgpack": "application/msgpack",
        "application/x-msgpack, application/json": "application/msgpack",
        "application/json, application/msgpack": "application/json",
    }.items():
        assert http.get("/v1/models", headers={"Accept": accept}).headers["content-type"] == media_type


def test_importing_the_service_loads_no_torch_and_no_ray() -> None:
    script = "import service.app, service.client, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "fastapi" in loaded
    assert not {"torch", "ray", "mujoco", "learn2learn"} & set(loaded)


def test_other_machines_are_let_in_explicitly(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="without a key"):
        service.server.serve(Settings(host="0.0.0.0", data=tmp_path))
    assert Settings(host="127.0.0.2").loopback
    assert not Settings(host="example.org").loopback


def test_models_that_cannot_be_used_are_named_before_the_start(settings: Settings) -> None:
    (settings.models / "point" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(InvalidConfig, match="does not match the digest"):
        service.server.serve(settings)
    with pytest.raises(InvalidConfig, match="no folder of models"):
        service.server.serve(settings.model_copy(update={"models": settings.models / "none"}))


def test_settings_come_from_the_environment_and_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTL_PORT", "9000")
    assert Settings().port == 9000
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="Extra inputs"):
        Settings(prot=1)


def test_every_error_has_its_own_type_and_a_status() -> None:
    def leaves(kind: type[ServiceError]) -> list[type[ServiceError]]:
        return [kind, *(leaf for below in kind.__subclasses__() for leaf in leaves(below))]

    kinds = leaves(ServiceError)[1:]
    assert len({kind.type for kind in kinds}) == len(kinds)
    assert all(400 <= kind.status < 600 and kind.title for kind in kinds)


def test_the_client_says_when_nobody_answers() -> None:
    with pytest.raises(ClientError, match="cannot be reached"), Client("http://127.0.0.1:1", retries=0) as client:
        client.models()


def test_the_client_repeats_what_was_lost_and_nothing_happens_twice(http: TestClient, demo: Episode) -> None:
    lost = [True]

    def flaky(request: httpx.Request) -> httpx.Response:
        answer = http.request(request.method, str(request.url.path), content=request.content, headers=request.headers)
        if lost:
            lost.pop()
            raise httpx.ReadError("connection lost", request=request)
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    client = Client(http=httpx.Client(base_url="http://test", transport=httpx.MockTransport(flaky)))
    client.adapt("point", demos=[demo])
    assert len(http.get("/v1/adaptations").json()["items"]) == 1


@given(junk=st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=8))
@hypothesis_settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_in_a_body_makes_the_server_fail(http: TestClient, junk: object) -> None:
    rows = np.zeros((3, 3)).tolist()
    for body in (
        {"model": junk, "demos": []},
        {"model": "point", "demos": junk},
        {"model": "point", "demos": [], "trials": [junk]},
        {"model": "point", "demos": [{"observations": junk}]},
        {"model": "point", "demos": [{"observations": rows, "actions": junk, "rewards": junk, "success": junk}]},
    ):
        # Python's own encoder, since it lets NaN, infinities and huge integers through.
        answer = http.post("/v1/adaptations", content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code == 201 or 400 <= answer.status_code < 500, answer.text
