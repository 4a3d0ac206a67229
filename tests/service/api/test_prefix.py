"""The server behind a proxy that adds a prefix, whether it takes the prefix off again or leaves it."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from support.pointing import PointingRuntime

from service.app import create_app
from service.client import Client
from service.settings import Settings


@pytest.fixture(params=["", "/robots/wtl"], ids=["stripped", "left"])
def behind(request: pytest.FixtureRequest, settings: Settings) -> Iterator[tuple[TestClient, str]]:
    app = create_app(settings.model_copy(update={"root_path": "/robots/wtl"}), runtime_factory=PointingRuntime)
    with TestClient(app) as http:
        yield http, request.param


def test_what_is_created_is_found_where_the_client_looks(behind: tuple[TestClient, str], wire: dict[str, Any]) -> None:
    http, prefix = behind
    made = http.post(f"{prefix}/v1/adaptations", json={"model": "point", "demos": [wire]})
    location = made.headers["Location"]
    assert location == f"/robots/wtl/v1/adaptations/{made.json()['id']}"
    inside = location.removeprefix("/robots/wtl")
    forked = http.post(f"{prefix}{inside}/fork")
    assert forked.headers["Location"] == f"/robots/wtl/v1/adaptations/{forked.json()['id']}"
    assert http.get(prefix + inside).status_code == 200
    for _ in range(2):
        acted = http.post(f"{prefix}{inside}/act", json={"observations": [wire["observations"][0]]})
        assert acted.status_code == 200
    with http.websocket_connect(f"{prefix}{inside}/stream") as stream:
        assert stream.receive_bytes()
    key = {"Idempotency-Key": "once"}
    assert http.delete(prefix + inside, headers=key).status_code == 204


def test_documents_name_the_prefix_and_probes_are_public(behind: tuple[TestClient, str]) -> None:
    http, prefix = behind
    assert http.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/robots/wtl"}]
    page = http.get(f"{prefix}/docs").text
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert http.get(urljoin(f"http://testserver{prefix}/docs", address)).status_code == 200
    assert [http.get(prefix + path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
    assert http.get(f"{prefix}/v1/nothing").json()["detail"] == "there is nothing at '/v1/nothing'"
    assert http.get("/robots/wtlx/livez").status_code == 404


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_links_of_the_landing_page_are_found(behind: tuple[TestClient, str], slash: str) -> None:
    http, prefix = behind
    page = http.get(prefix + slash).text
    base = re.findall(r'<base href="([^"]+)"', page)
    seen_at = urljoin(f"http://testserver/robots/wtl{slash}", base[0] if base else "")
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        path = urljoin(seen_at, address).removeprefix("http://testserver")
        assert path.startswith("/robots/wtl/")
        assert http.get(prefix + path.removeprefix("/robots/wtl")).status_code == 200


def test_the_client_takes_the_address_with_its_prefix(behind: tuple[TestClient, str], demo: Any) -> None:
    http, prefix = behind
    http.base_url = f"http://testserver{prefix}/"
    client = Client(http=http, retries=0)
    adaptation = client.adapt("point", [demo])
    assert client.adaptation(adaptation.id).id == adaptation.id
    assert len(list(client.adaptations())) == 1


@pytest.mark.parametrize("prefix", ["wtl", "/v1", "/v1/x", "/docs", "/a//b", "/a b", "/../x", "/a?b", "https://x/y"])
def test_a_prefix_that_cannot_work_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError):
        Settings(root_path=prefix)


def test_a_trailing_slash_is_no_difference() -> None:
    assert Settings(root_path="/wtl/").root_path == "/wtl"
    assert Settings(root_path="/").root_path == ""
