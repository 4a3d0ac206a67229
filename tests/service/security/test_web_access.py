"""What a web page may ask of a server on the same machine: nothing that changes it, under no name but the server's."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from support.pointing import PointingRuntime
from support.serving import served
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from metalearn.data.errors import InvalidConfig
from service.app import create_app
from service.security.web_access import WebAccess
from service.settings import Settings

OWN = ("localhost", "LOCALHOST:8000", "localhost.:1", "127.0.0.1", "127.0.0.1:80", "127.8.9.1", "[::1]", "[::1]:8000",
       "[0:0:0:0:0:0:0:1]:8000", "[::ffff:127.0.0.1]:8000")  # fmt: skip
FOREIGN = (
    "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", "evil-localhost", "10.0.0.1",
    "0.0.0.0:8000", "[::]:8000", "[fe80::1]", "", " ", ".", "localhost:99999", "localhost:80:80", "localhost/evil",
    "me@localhost", "localhost,evil.example", "localhost evil.example", "[::1", "::1", "2130706433", "0x7f.1",
)  # fmt: skip
CHANGES = (
    ("POST", "/v1/adaptations"),
    ("POST", "/v1/training-jobs"),
    ("POST", f"/v1/adaptations/{'0' * 24}/act"),
    ("PUT", "/v1/models/point/aliases/stable"),
    ("POST", "/v1/models/point/aliases/stable/rollback"),
    ("DELETE", f"/v1/adaptations/{'0' * 24}"),
    ("DELETE", "/v1/models/point/aliases/current"),
)
FOREIGN_PAGES = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "file://"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "chrome-extension://abcdefgh"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "Same-Site"},
)


@pytest.fixture
def page() -> WebAccess:
    return WebAccess((), (), "127.0.0.1")


@pytest.fixture
def local(settings: Settings) -> Iterator[TestClient]:
    strict = settings.model_copy(update={"allowed_hosts": ()})
    with TestClient(create_app(strict, runtime_factory=PointingRuntime), base_url="http://localhost:8000") as http:
        yield http


@pytest.mark.parametrize("host", OWN)
def test_a_server_answers_under_every_spelling_of_loopback(page: WebAccess, local: TestClient, host: str) -> None:
    assert page.answers_as(host)
    assert local.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_was_bound_to_loopback_is_refused(page: WebAccess, local: TestClient, host: str) -> None:
    assert not page.answers_as(host)
    answer = local.get("/v1/models", headers={"Host": host})
    assert (answer.status_code, answer.json()["field"]) == (421, "Host")
    assert "WTL_ALLOWED_HOSTS" in answer.json()["detail"]
    assert local.post("/v1/training-jobs", json={"experiment": "reach"}, headers={"Host": host}).status_code == 421


def test_several_hosts_are_refused(local: TestClient) -> None:
    twice = [("Host", "localhost"), ("Host", "localhost")]
    assert local.get("/v1/models", headers=twice).status_code == 421


def test_only_probes_may_name_no_host(app: FastAPI, settings: Settings) -> None:
    def status(url: str, path: str) -> int:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return int(connection.recv(1000).split()[1])

    with served(app, settings) as url:
        assert {path: status(url, path) for path in ("/livez", "/readyz", "/v1/models", "/metrics")} == {
            "/livez": 200,
            "/readyz": 200,
            "/v1/models": 421,
            "/metrics": 421,
        }


def test_names_of_the_settings_are_answered_and_addresses_when_others_can_connect(settings: Settings) -> None:
    access = WebAccess(("Robots.example.org.", "*.lab", "[2001:DB8::1]"), (), "0.0.0.0")
    for host in ("robots.example.org:443", "a.b.lab", "10.1.2.3:8000", "[2001:db8::1]", "[fe80::1]:80", "localhost"):
        assert access.answers_as(host)
    for host in ("lab", "evil.example", "robots.example.org.evil.example", "notlab"):
        assert not access.answers_as(host)
    assert WebAccess(("*",), (), "0.0.0.0").answers_as("anything")
    assert WebAccess((), (), "robots.local").answers_as("robots.local:8000")


def test_entries_that_mean_nothing_are_refused(settings: Settings) -> None:
    for hosts in ("http://robots", "robots:8000", "robots/x", "*robots"):
        with pytest.raises(InvalidConfig, match="allowed_hosts: expected"):
            create_app(settings.model_copy(update={"allowed_hosts": (hosts,)}), runtime_factory=PointingRuntime)
    for origin in ("*", "null", "robots", "https://robots/console", "ftp://robots"):
        with pytest.raises(InvalidConfig, match="allowed_origins: expected"):
            create_app(settings.model_copy(update={"allowed_origins": (origin,)}), runtime_factory=PointingRuntime)


def test_lists_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTL_ALLOWED_HOSTS", "a.example, b.example\n")
    monkeypatch.setenv("WTL_ALLOWED_ORIGINS", "")
    assert Settings().allowed_hosts == ("a.example", "b.example")
    assert Settings().allowed_origins == ()


@pytest.mark.parametrize("headers", FOREIGN_PAGES, ids=str)
@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_page_of_another_site_changes_nothing(
    local: TestClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = local.request(method, path, json={"model": "point"}, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:problem-type:wtl:foreign-origin")
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origin", ["http://localhost:8000", "HTTP://LOCALHOST:8000", "http://localhost.:8000"])
def test_the_server_s_own_pages_may_change_something(local: TestClient, wire: dict[str, Any], origin: str) -> None:
    body = {"model": "point", "demos": [wire]}
    made = local.post("/v1/adaptations", json=body, headers={"Origin": origin, "Sec-Fetch-Site": "same-origin"})
    assert made.status_code == 201
    at = made.headers["Location"] + "/act"
    for _ in range(2):
        observations = {"observations": [wire["observations"][0]]}
        assert local.post(at, json=observations, headers={"Origin": origin}).status_code == 200
        assert local.post(at, json=observations, headers={"Origin": "http://evil.example"}).status_code == 403
        assert local.post(at, json=observations, headers={"Host": "evil.example"}).status_code == 421


def test_a_page_behind_a_proxy_that_takes_tls_off_is_the_server_s_own(settings: Settings) -> None:
    access = WebAccess(("robots.example.org",), (), "0.0.0.0")
    access.check_origin(["https://robots.example.org"], ["robots.example.org"], "same-origin")
    access.check_origin(["https://robots.example.org"], ["robots.example.org:443"], None)


def test_pages_of_the_settings_may_use_the_server_and_no_others(settings: Settings) -> None:
    friends = settings.model_copy(update={"allowed_origins": ("https://Console.example.org/",)})
    with TestClient(create_app(friends, runtime_factory=PointingRuntime)) as http:
        friend, enemy = {"Origin": "https://console.example.org"}, {"Origin": "https://evil.example"}
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        before = http.options("/v1/adaptations", headers=friend | asked)
        assert before.status_code == 200
        assert before.headers["Access-Control-Allow-Origin"] == friend["Origin"]
        assert "Access-Control-Allow-Credentials" not in before.headers
        answer = http.post("/v1/adaptations", json={}, headers=friend | {"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 422
        assert answer.headers["Access-Control-Allow-Origin"] == friend["Origin"]
        assert "Access-Control-Allow-Origin" not in http.options("/v1/adaptations", headers=enemy | asked).headers
        assert http.post("/v1/adaptations", json={}, headers=enemy).status_code == 403
        assert "Access-Control-Allow-Origin" not in http.get("/v1/models", headers=enemy).headers


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain", "Text/Plain; charset=utf-8", "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x", "text/plain;application/json", "application/json, text/plain", "text/html",
        "",
        None,
    ],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [change for change in CHANGES if change[0] != "DELETE"])
def test_what_a_form_can_send_is_refused_whatever_the_route(
    local: TestClient, method: str, path: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = local.request(method, path, content=json.dumps({"model": "point"}), headers=headers)
    assert answer.status_code == 415
    pieces = local.request(method, path, content=iter([b"{}"]), headers=headers)  # chunked, without a length
    assert pieces.status_code == 415


def test_a_post_without_a_body_needs_no_content_type(local: TestClient) -> None:
    assert local.post("/v1/models").status_code == 200
    assert local.post("/v1/models", headers={"Content-Type": "text/plain"}).status_code == 415


@pytest.mark.parametrize("headers", [*FOREIGN_PAGES, {"Host": "evil.example"}], ids=str)
def test_a_page_of_another_site_opens_no_stream(
    local: TestClient, wire: dict[str, Any], headers: dict[str, str]
) -> None:
    made = local.post("/v1/adaptations", json={"model": "point", "demos": [wire]}).headers["Location"]
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        local.websocket_connect(f"{made}/stream", headers={"Host": "localhost:8000"} | headers),
    ):
        pass
    assert denied.value.status_code == (421 if "Host" in headers else 403)
    own = {"Host": "localhost:8000", "Origin": "http://localhost:8000"}
    with local.websocket_connect(f"{made}/stream", headers=own) as stream:
        assert stream.receive_bytes()


def test_a_real_handshake_of_a_foreign_page_is_refused(settings: Settings, wire: dict[str, Any]) -> None:
    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as url:
        made = httpx.post(f"{url}/v1/adaptations", json={"model": "point", "demos": [wire]}).headers["Location"]
        address = url.replace("http", "ws") + made + "/stream"
        with pytest.raises(InvalidStatus, match="403"):
            connect(address, origin="https://evil.example", proxy=None)
        with connect(address, origin=url, proxy=None) as stream:
            assert stream.recv()
