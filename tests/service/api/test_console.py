"""The console over HTTP: where it is, what may load it, and how a key becomes a session."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from support.api_keys import Make
from support.pointing import PointingRuntime

from service.api.routes.console import BUILT, NOT_BUILT, console_routers
from service.app import create_app
from service.settings import Settings

COOKIE = "wtl_key"  # of a server without a port in its address
built = pytest.mark.skipif(not (BUILT / "index.html").is_file(), reason=NOT_BUILT)


def guarded(settings: Settings, make: Make) -> tuple[TestClient, str]:
    """A server that needs keys, and a key."""
    key = make("lab")["Authorization"].removeprefix("Bearer ")
    return TestClient(create_app(settings, runtime_factory=PointingRuntime)), key


@built
def test_the_page_and_its_files_come_from_the_server_alone(http: TestClient) -> None:
    page = http.get("/console")
    assert (str(page.url).endswith("/console/"), page.status_code) == (True, 200)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<style" not in page.text
    assert page.text.count("<script") == page.text.count('src="./assets/')
    for file in (BUILT / "assets").iterdir():
        answer = http.get(f"/console/assets/{file.name}")
        assert answer.content == file.read_bytes()
        assert "immutable" in answer.headers["cache-control"]
        assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
        if file.suffix == ".js":
            assert answer.headers["content-type"].startswith("text/javascript")
    assert http.get("/console/assets/nothing.js").status_code == 404
    assert '<a class="button" href="console">' in http.get("/").text


def test_without_built_files_it_says_what_to_do(tmp_path: Path) -> None:
    app = FastAPI()
    for router in console_routers(tmp_path):
        app.include_router(router)
    answer = TestClient(app).get("/console/")
    assert (answer.status_code, answer.text.strip()) == (503, NOT_BUILT)


@pytest.mark.parametrize(
    ("host", "said", "there"),
    [("127.0.0.1", None, True), ("0.0.0.0", None, False), ("0.0.0.0", True, True), ("127.0.0.1", False, False)],
)
def test_it_is_there_on_loopback_and_where_the_operator_says_so(
    settings: Settings, host: str, said: bool | None, there: bool
) -> None:
    changed = settings.model_copy(update={"host": host, "console": said, "allow_unauthenticated": True})
    with TestClient(create_app(changed, runtime_factory=PointingRuntime), base_url="http://127.0.0.1") as http:
        assert (http.get("/console", follow_redirects=False).status_code == 307) is there
        assert ('href="console"' in http.get("/").text) is there


def test_a_key_becomes_a_session_that_no_script_reads_and_ends(settings: Settings, make: Make) -> None:
    http, key = guarded(settings, make)
    with http:
        assert http.get("/v1/models").status_code == 401
        answer = http.post("/console/sign-in", headers={"Authorization": f"Bearer {key}"})
        cookie = answer.headers["set-cookie"]
        assert (answer.status_code, cookie) == (204, f"{COOKIE}={key}; Path=/; HttpOnly; SameSite=Strict")
        assert http.get("/v1/models").status_code == 200
        assert http.post("/console/sign-out").status_code == 204
        assert http.get("/v1/models").status_code == 401


def test_two_servers_on_one_host_have_sessions_of_their_own(settings: Settings, make: Make) -> None:
    """A browser sends the cookies of a host to each of its ports."""
    key = make("lab")["Authorization"]
    with TestClient(create_app(settings, runtime_factory=PointingRuntime), base_url="http://127.0.0.1:8000") as http:
        cookie = http.post("/console/sign-in", headers={"Authorization": key}).headers["set-cookie"].split(";")[0]
        http.cookies.clear()
        assert cookie.startswith("wtl_key_8000=")
        for host, status in [("127.0.0.1:8000", 200), ("127.0.0.1:8001", 401)]:
            headers = {"Host": host, "Cookie": f"wtl_key_8001=nothing; {cookie}"}
            assert http.get("/v1/models", headers=headers).status_code == status


@pytest.mark.parametrize("key", ["wtl_" + "x" * 43, "nothing", ""])
def test_a_wrong_key_begins_no_session(settings: Settings, make: Make, key: str) -> None:
    http, _ = guarded(settings, make)
    with http:
        answer = http.post("/console/sign-in", headers={"Authorization": f"Bearer {key}"})
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)]
)
def test_a_session_counts_for_the_servers_own_pages_only(
    settings: Settings, make: Make, site: str, status: int
) -> None:
    http, key = guarded(settings, make)
    with http:
        headers = {"Cookie": f"{COOKIE}={key}", "Sec-Fetch-Site": site}
        assert http.get("/v1/models", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"), [("http://127.0.0.1", 200), ("http://127.0.0.1:3000", 401), ("null", 403)]
)
def test_a_session_does_not_count_for_pages_of_allowed_origins(
    settings: Settings, make: Make, origin: str, status: int
) -> None:
    """Another port of the same machine over plain HTTP: the browser sends the cookie, and no Sec-Fetch-Site."""
    key = make("lab")["Authorization"].removeprefix("Bearer ")
    changed = settings.model_copy(update={"allowed_origins": ("http://127.0.0.1:3000",)})
    app = create_app(changed, runtime_factory=PointingRuntime)
    cookie = {"Cookie": f"{COOKIE}={key}", "Origin": origin}
    with TestClient(app, base_url="http://127.0.0.1") as http:
        example = http.get("/v1/models/point", headers={"Authorization": f"Bearer {key}"}).json()["example"]
        body = {"model": "point", "demos": [example]}
        made = http.post("/v1/adaptations", json=body, headers={"Authorization": f"Bearer {key}"}).json()["id"]
        answer = http.post("/v1/adaptations", json=body, headers=cookie)
        assert answer.status_code == (201 if status == 200 else status)
        stream = f"ws://127.0.0.1/v1/adaptations/{made}/stream"
        if status == 200:
            with http.websocket_connect(stream, headers=cookie) as socket:
                assert socket.receive_bytes()
        else:
            with pytest.raises(WebSocketDenialResponse) as denied, http.websocket_connect(stream, headers=cookie):
                pass
            assert denied.value.status_code == status


def test_what_a_form_of_another_page_sends_is_refused(settings: Settings, make: Make) -> None:
    http, key = guarded(settings, make)
    with http:
        own = {"Cookie": f"{COOKIE}={key}", "Content-Type": "text/plain"}
        body = '{"model": "point"}'
        assert http.post("/v1/adaptations", content=body, headers=own).status_code == 415
        foreign = own | {"Origin": "https://evil.example"}
        assert http.post("/v1/adaptations", content=body, headers=foreign).status_code == 403
        assert http.post("/console/sign-out", headers=foreign).status_code == 403


def test_a_header_goes_before_the_session(settings: Settings, make: Make) -> None:
    http, key = guarded(settings, make)
    other = make("other")
    with http:
        caller = http.get("/v1/caller", headers={"Cookie": f"{COOKIE}={key}", **other}).json()
    assert caller["tenant"] == "other"


def test_behind_a_prefix_the_session_is_for_the_prefix_and_over_tls_for_tls(settings: Settings, make: Make) -> None:
    key = make("lab")["Authorization"]
    changed = settings.model_copy(update={"root_path": "/wtl"})
    app = create_app(changed, runtime_factory=PointingRuntime)
    with TestClient(app, base_url="https://localhost") as http:
        cookie = http.post("/wtl/console/sign-in", headers={"Authorization": key}).headers["set-cookie"]
        place = http.get("/wtl/console", follow_redirects=False).headers["location"]
    assert cookie.endswith("; Path=/wtl/; HttpOnly; SameSite=Strict; Secure")
    assert place == "console/"


def test_a_session_is_for_tls_where_a_proxy_has_taken_tls_off(settings: Settings, make: Make) -> None:
    http, key = guarded(settings, make)
    with http:
        headers = {"Authorization": f"Bearer {key}", "Origin": f"https://{http.base_url.host}"}
        cookie = http.post("/console/sign-in", headers=headers).headers["set-cookie"]
    assert cookie.endswith("; Secure")
