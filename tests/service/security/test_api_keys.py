"""Who is let in: keys, scopes, tenants that do not see one another, rates, the audit log, and headers."""

import json
import time

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.testclient import WebSocketDenialResponse
from support.api_keys import ALL, Make
from support.pointing import PointingRuntime

import service.server
from metalearn.data.errors import InvalidConfig
from service.api.middleware.auth import SECURITY_HEADERS
from service.api.scopes import PUBLIC, all_routes, public_paths, requires, scope_of
from service.app import create_app
from service.security.api_keys import ApiKeys, hash_secret
from service.settings import Settings, parse_rate
from wtl.cli import main


def served(settings: Settings, **changed: object) -> TestClient:
    app = create_app(settings.model_copy(update=changed), runtime_factory=PointingRuntime)
    return TestClient(app, raise_server_exceptions=False)


def routes(app: FastAPI) -> list[tuple[str, str, str | None]]:
    """Method (WS for WebSockets), path and scope of every route."""
    return [
        (method, getattr(route, "path", ""), scope_of(route))
        for route in all_routes(app.routes)
        for method in getattr(route, "methods", None) or ("WS",)
    ]


def test_without_a_key_nothing_but_health_and_documentation(settings: Settings, make: Make) -> None:
    make("a")
    with served(settings) as http:
        found = routes(http.app)  # type: ignore[arg-type]
        assert ("POST", "/v1/adaptations/{adaptation_id}/act", "adapt") in found
        public = http.app.state.public_paths  # type: ignore[attr-defined]
        files = {
            f"/docs/{name}" for name in ("swagger-ui.js", "swagger-ui.css", "start.js", "landing.css", "favicon.png")
        }
        pages = {path for path in public if path.startswith("/console")}  # the files that `make console` built
        assert pages >= {"/console", "/console/", "/console/sign-out"} and "/console/sign-in" not in pages
        assert public - pages == {"/", "/livez", "/readyz", "/openapi.json", "/docs", *files}
        for method, path, _ in found:
            answer = http.request("GET" if method == "WS" else method, path.replace("{", "").replace("}", ""))
            if path in public:
                assert answer.status_code in {200, 204, 503}, path  # 503: pages that are not built
            else:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"] == 'Bearer realm="wtl"'
                assert answer.json()["type"] == "urn:problem-type:wtl:unauthenticated"
        assert http.get("/anything/else").status_code == 401


def test_a_key_without_the_scope_is_refused_and_told_which(settings: Settings, make: Make) -> None:
    none_of = {scope: make("a", tuple(set(ALL) - {scope})) for scope in ALL}
    with served(settings) as http:
        asked = set()
        for method, path, scope in routes(http.app):  # type: ignore[arg-type]
            if scope in {None, "any"} or method == "WS":
                continue
            asked.add(scope)
            answer = http.request(method, path, headers=none_of[scope])
            assert answer.status_code == 403, (method, path)
            assert scope in answer.headers["www-authenticate"]
            if method != "HEAD":
                assert answer.json()["expected"] == f"a key with the scope {scope}"
        assert asked == set(ALL)


@pytest.mark.parametrize("declared", [[], [requires("adapt"), requires("jobs")], [PUBLIC, requires("adapt")]])
def test_a_route_that_does_not_declare_one_scope_stops_the_application_at_its_start(declared: list[object]) -> None:
    router = APIRouter(prefix="/v1/forgotten", dependencies=declared)
    router.get("")(lambda: None)
    router.websocket("/stream")(lambda: None)
    app = FastAPI()
    app.include_router(router)
    with pytest.raises(RuntimeError, match=f"/v1/forgotten: its router declares {len(declared)} scopes, and needs one"):
        public_paths(app.routes)


@pytest.mark.parametrize(("path", "other"), [("/status", "/status"), ("/status/{name}", "/other")])
def test_a_public_path_is_known_before_its_route_and_public_for_every_method(path: str, other: str) -> None:
    app = FastAPI()
    app.get(path, dependencies=[PUBLIC])(lambda: None)
    app.post(other, dependencies=[requires("adapt")])(lambda: None)
    with pytest.raises(RuntimeError, match="a public path has no parameters"):
        public_paths(app.routes)


def test_a_key_without_the_scope_opens_no_websocket(settings: Settings, make: Make, wire: dict[str, object]) -> None:
    with served(settings) as http:
        made = http.post("/v1/adaptations", json={"model": "point", "demos": [wire]}, headers=make("a"))
        address = made.headers["location"] + "/stream"
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            http.websocket_connect(address, headers=make("a", ("models:read",))),
        ):
            pass
        assert (refused.value.status_code, refused.value.json()["expected"]) == (403, "a key with the scope adapt")
        with http.websocket_connect(address, headers=make("a", ("adapt",))) as socket:
            assert socket.receive_bytes()


def test_another_tenants_things_are_not_there(settings: Settings, make: Make, wire: dict[str, object]) -> None:
    mine, theirs = make("mine"), make("theirs")
    with served(settings) as http:
        body = {"model": "point", "demos": [wire]}
        same_key = {"Idempotency-Key": "one"}
        made = http.post("/v1/adaptations", json=body, headers=mine | same_key)
        episode = http.post(made.headers["location"] + "/episodes", headers=mine).json()
        version = http.get(made.headers["location"] + "/versions", headers=mine).json()
        assert [item["version"] for item in version["items"]] == [1]
        bodies = {
            "demos": {"demos": [wire]},
            "trials": {"trials": [wire]},
            "act": {"observations": [[0, 0, 0]], "observation": [0, 0, 0]},
            "finish": {"observation": [0, 0, 0]},
            "ask": {"ask": {}},
        }
        tried = 0
        for method, path, _ in routes(http.app):  # type: ignore[arg-type]
            if "{adaptation_id}" not in path or method == "WS":
                continue
            body_of = dict(bodies.get(path.rpartition("/")[2], {}))
            if path.endswith("/act"):
                del body_of["observation" if "{episode_id}" not in path else "observations"]
            real = path.replace("{adaptation_id}", made.json()["id"]).replace("{episode_id}", episode["id"])
            sent = {"json": body_of} if method == "POST" and body_of else {}
            answer = http.request(method, real, headers=theirs, **sent)
            assert answer.status_code == 404, (method, path, answer.text)
            assert method == "HEAD" or answer.json()["type"] == "urn:problem-type:wtl:adaptation-not-found"
            tried += 1
        assert tried >= 10
        assert http.get("/v1/adaptations", headers=theirs).json()["items"] == []
        own = http.post("/v1/adaptations", json=body, headers=theirs | same_key)
        assert (own.status_code, own.json()["id"] != made.json()["id"]) == (201, True)
        other = http.get(f"/v1/adaptations/{own.json()['id']}/episodes/{episode['id']}/act", headers=theirs)
        assert other.status_code == 405
        crossed = f"/v1/adaptations/{own.json()['id']}/episodes/{episode['id']}/act"
        assert http.post(crossed, json={"observation": [0, 0, 0]}, headers=theirs).status_code == 404
        assert http.get(made.headers["location"], headers=mine).json()["version"] == 1
        assert len(http.get("/v1/adaptations", headers=mine).json()["items"]) == 1


def test_another_tenants_trainings_and_streams_are_not_there(
    settings: Settings, make: Make, wire: dict[str, object]
) -> None:
    mine, theirs = make("mine"), make("theirs")
    with served(settings, train_command="/bin/false", training_poll_s=0.05) as http:
        jobs = "/v1/training-jobs"
        body = {"experiment": "reach-m2", "id": "one"}
        same_key = {"Idempotency-Key": "one"}
        made = http.post(jobs, json=body, headers=mine | same_key)
        assert made.status_code == 201
        tried = []
        for method, path, _ in routes(http.app):  # type: ignore[arg-type]
            if "{job_id}" in path:
                answer = http.request(method, path.replace("{job_id}", "one"), headers=theirs)
                assert answer.status_code == 404, (method, path, answer.text)
                assert method == "HEAD" or answer.json()["type"] == "urn:problem-type:wtl:job-not-found"
                tried += [f"{method} {path.rpartition('}')[2]}"]
        assert set(tried) >= {"GET ", "DELETE ", "GET /logs", "GET /events"}
        assert http.get(jobs, headers=theirs).json()["items"] == []
        own = http.post(jobs, json=body | {"seed": 1}, headers=theirs | same_key)  # no conflict, no replay
        assert (own.status_code, own.json()["seed"]) == (201, 1)
        assert [job["seed"] for job in http.get(jobs, headers=mine).json()["items"]] == [None]
        assert not http.get(f"{jobs}/one", headers=mine).json()["stop_requested"]

        adaptation = http.post("/v1/adaptations", json={"model": "point", "demos": [wire]}, headers=mine).json()["id"]
        stream = f"/v1/adaptations/{adaptation}/stream"
        with pytest.raises(WebSocketDenialResponse) as refused, http.websocket_connect(stream, headers=theirs):
            pass
        assert refused.value.status_code == 404
        assert json.loads(refused.value.content)["type"] == "urn:problem-type:wtl:adaptation-not-found"
        with http.websocket_connect(stream, headers=mine) as socket:
            assert adaptation.encode() in socket.receive_bytes()
            assert http.delete(f"/v1/adaptations/{adaptation}", headers=theirs).status_code == 404


def test_a_key_ends_when_it_is_revoked_or_expired(settings: Settings, keys: ApiKeys, make: Make) -> None:
    clock = [time.time()]
    header = make("a")
    brief = make("a", ("adapt",), expires_at=clock[0] + 60)
    with TestClient(create_app(settings, runtime_factory=PointingRuntime, now=lambda: clock[0])) as http:
        assert [http.get("/v1/adaptations", headers=given).status_code for given in (header, brief)] == [200, 200]
        [key] = [key for key in keys.all() if header["Authorization"].split()[1].startswith(key.prefix)]
        keys.revoke(key.prefix, clock[0])
        clock[0] += settings.key_cache_s + 0.1
        refused = http.get("/v1/adaptations", headers=header)
        assert (refused.status_code, refused.json()["detail"]) == (401, "the API key is revoked or expired")
        assert http.get("/v1/adaptations", headers=brief).status_code == 200
        clock[0] += 60
        assert http.get("/v1/adaptations", headers=brief).status_code == 401
        for nonsense in ("Bearer wtl_" + "x" * 43, "Basic abc", "Bearer ", "wtl_abc", "Bearer wtl_short"):
            assert http.get("/v1/adaptations", headers={"Authorization": nonsense}).status_code == 401


def test_openpis_way_of_sending_a_key_works(settings: Settings, make: Make) -> None:
    header = make("a")["Authorization"].replace("Bearer", "Api-Key")
    with served(settings) as http:
        assert http.get("/v1/adaptations", headers={"Authorization": header}).status_code == 200


def test_the_first_key_closes_a_server_that_runs(settings: Settings, keys: ApiKeys) -> None:
    with served(settings, key_cache_s=0) as http:
        assert http.get("/v1/adaptations").status_code == 200
        secret, key = keys.create("default", ALL, time.time())
        assert http.get("/v1/adaptations").status_code == 401
        keys.revoke(key.prefix, time.time())
        assert http.get("/v1/adaptations").status_code == 401
        assert http.get("/v1/adaptations", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_a_server_that_others_reach_wants_a_key_to_exist(settings: Settings, keys: ApiKeys) -> None:
    exposed = settings.model_copy(update={"host": "0.0.0.0"})
    with pytest.raises(InvalidConfig, match="wtl keys create"):
        service.server.serve(exposed, runtime_factory=PointingRuntime)
    keys.create("a", ALL, time.time(), expires_at=1.0)
    with pytest.raises(InvalidConfig, match="wtl keys create"):
        service.server.serve(exposed, runtime_factory=PointingRuntime)
    with served(exposed) as http:
        assert http.get("/v1/adaptations").status_code == 401


@pytest.mark.parametrize(
    ("rate", "parsed"), [("100/second", (100, 1)), ("5000/minute", (5000, 60)), ("1/day", (1, 86_400))]
)
def test_rates_are_a_number_and_a_window(rate: str, parsed: tuple[int, int]) -> None:
    assert parse_rate(rate) == parsed


@pytest.mark.parametrize(
    "rate", ["fast", "", "0/second", "-1/minute", "1.5/minute", "5/minutes ", "5 / minute", "5/year"]
)
def test_what_is_no_rate_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match=r"expected a rate, as in 100/second .*; got .*second, minute, hour, day"):
        parse_rate(rate)
    with pytest.raises(ValidationError, match="expected a rate"):
        Settings(rate=rate)


def test_too_many_requests_are_told_when_to_come_back(settings: Settings, make: Make) -> None:
    busy, other = make("a"), make("a")
    with served(settings, rate="3/minute") as http:
        answers = [http.get("/v1/adaptations", headers=busy) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"requests";q=3;w=60'
        assert answers[0].headers["ratelimit"].startswith('"requests";r=2;t=')
        assert 1 <= int(answers[3].headers["retry-after"]) <= 60
        problem = answers[3].json()
        assert (problem["type"], problem["expected"], problem["got"]) == (
            "urn:problem-type:wtl:too-many-requests",
            "at most 3 in 60 s",
            "more than 3",
        )
        assert http.get("/v1/adaptations", headers=other).status_code == 200
        assert http.get("/livez").status_code == 200


def test_guessing_keys_is_slow(settings: Settings, make: Make) -> None:
    good = make("a")
    with served(settings) as http:
        statuses = [
            http.get("/v1/models", headers={"Authorization": f"Bearer wtl_{i:043}"}).status_code for i in range(62)
        ]
        assert (statuses[0], statuses[-1]) == (401, 429)
        assert http.get("/v1/models", headers=good).status_code == 200


def test_the_audit_log_says_who_changed_what_and_never_how(
    settings: Settings, make: Make, wire: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    header = make("robots")
    with served(settings) as http:
        made = http.post(
            "/v1/adaptations", json={"model": "point", "demos": [wire]}, headers=header | {"X-Request-ID": "r1"}
        )
        path = made.headers["location"]
        http.post(path + "/act", json={"observations": [[0, 0, 0]]}, headers=header)
        http.get(path, headers=header)
        http.post(path + "/trials", json={"trials": "secret"}, headers=header)
        http.delete(path, headers=header)
        http.get("/v1/models", headers={"Authorization": "Bearer nothing"})
        assert [http.post(public).status_code for public in ("/livez", "/openapi.json")] == [
            405,
            405,
        ]  # no line of these
    capsys.readouterr()  # a log that nobody has configured goes there
    assert main(["audit", "--data", str(settings.data)]) == 0
    text = capsys.readouterr().out
    lines = [json.loads(line) for line in text.splitlines()][::-1]
    secret = header["Authorization"].split()[1]
    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("POST /v1/adaptations", "201"),
        ("POST /v1/adaptations/{adaptation_id}/trials", "422"),
        ("DELETE /v1/adaptations/{adaptation_id}", "204"),
        ("GET ?", "401"),
    ]
    assert {(line["tenant"], line["key"]) for line in lines[:3]} == {("robots", secret[:12])}
    assert (lines[0]["request"], lines[2]["subject"]) == ("r1", path)
    assert secret not in text
    assert '"secret"' not in text


def test_every_answer_has_security_headers(settings: Settings, make: Make) -> None:
    header = make("a")
    with served(settings) as http:
        for answer in (
            http.get("/livez"),
            http.get("/v1/models", headers=header),
            http.get("/v1/models"),
            http.get("/nothing", headers=header),
        ):
            assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == dict(SECURITY_HEADERS)
        assert "script-src 'self';" in http.get("/docs").headers["content-security-policy"]


def test_keys_by_the_command_line(settings: Settings, keys: ApiKeys, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data", str(settings.data)]
    assert main(["keys", "create", "--tenant", "lab", "--days", "1", "--label", "arm", *where]) == 0
    secret = capsys.readouterr().out.strip()
    assert len(secret) == 47
    found = keys.find(hash_secret(secret))
    assert found is not None
    assert (found.tenant, found.label, found.scopes) == ("lab", "arm", {"adapt", "models:read"})
    raw = (settings.data / "service.sqlite3").read_bytes() + (settings.data / "service.sqlite3-wal").read_bytes()
    assert secret[:12].encode() in raw
    assert secret[12:].encode() not in raw
    main(["keys", "list", *where])
    assert "usable" in capsys.readouterr().out
    assert main(["keys", "revoke", secret[:12] + "...", *where]) == 0
    main(["keys", "list", *where])
    assert "revoked" in capsys.readouterr().out
    for wrong, said in (
        (["create", "--scopes", "all"], "got all"),
        (["create", "--tenant", "A b"], "tenant: expected"),
        (["revoke", "wtl_nothing"], "there is no key"),
    ):
        assert main(["keys", *wrong, *where]) == 2
        assert said in capsys.readouterr().err


def test_settings_come_from_a_folder_of_secrets_too(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wtl_database").write_text("postgresql+psycopg://somewhere/wtl\n")
    monkeypatch.setenv("WTL_SECRETS_DIR", str(tmp_path))
    assert Settings().database_url == "postgresql+psycopg://somewhere/wtl"
    assert "somewhere" not in repr(Settings())
    monkeypatch.setenv("WTL_DATABASE", "sqlite:///elsewhere")
    assert Settings().database_url == "sqlite:///elsewhere"
    with pytest.raises(ValueError, match="a rate, as in"):
        Settings(rate="fast")
