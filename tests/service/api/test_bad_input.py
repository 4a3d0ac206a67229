"""Whatever a client sends, it gets a precise 4xx problem, and nothing is stored."""

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, settings_in

from metalearn.data.episode import Episode
from service.api.scopes import all_routes, scope_of
from service.app import create_app
from service.client import Client
from service.codecs import encode_msgpack
from service.settings import Settings

ROWS = [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
GOOD = {"observations": ROWS, "actions": [[1, 0], [0, 1]], "rewards": [0, 1], "success": True}
JSON = {"Content-Type": "application/json"}
MSGPACK = {"Content-Type": "application/msgpack"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def http(settings: Settings) -> Iterator[TestClient]:
    """One server for all: whatever it is sent must leave it as it was."""
    with TestClient(create_app(settings, runtime_factory=PointingRuntime), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_stored(http: TestClient, settings: Settings) -> Iterator[None]:
    yield
    assert http.get("/v1/adaptations").json()["items"] == []
    assert list((settings.data / "episodes").glob("*")) == []


def refused(response: Any, status: int, **expected: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:problem-type:wtl:")
    assert "Traceback" not in response.text
    assert problem == {**problem, **expected}


EPISODES = {
    "wrong shape": ({"observations": [[0, 0], [1, 0]]}, "observations"),
    "ragged": ({"observations": [[0, 0, 0], [1, 0]]}, "observations"),
    "ragged by a number": ({"observations": [[0, 0, 0], 1]}, "observations"),
    "NaN": ({"observations": [[0, 0, float("nan")], [1, 0, 0]]}, "observations"),
    "infinity": ({"observations": [[0, 0, 0], [1, float("-inf"), 0]]}, "observations"),
    "too large for float32": ({"observations": [[0, 0, 1e300], [1, 0, 0]]}, "observations"),
    "more than a model can bear": ({"observations": [[0, 0, -1e10], [1, 0, 0]]}, "observations"),
    "rewards beyond bearing": ({"observations": ROWS, "rewards": [0, 1e30]}, "rewards"),
    "an integer of 400 digits": ({"observations": [[0, 0, 10**400], [1, 0, 0]]}, "observations"),
    "a huge integer among floats": ({"observations": [[0, 0.5, 10**400], [1, 0, 0]]}, "observations"),
    "a boolean among numbers": ({"observations": [[0, 0, True], [1, 0, 0]]}, "observations"),
    "strings": ({"observations": [["0", "0", "0"], ["1", "0", "0"]]}, "observations"),
    "null among numbers": ({"observations": [[0, 0, None], [1, 0, 0]]}, "observations"),
    "objects": ({"observations": [{}, {}]}, "observations"),
    "one string": ({"observations": "0,0,0"}, "observations"),
    "no observations": ({"observations": []}, "observations"),
    "empty observations": ({"observations": [[], []]}, "observations"),
    "no steps": ({"observations": [[0, 0, 0]]}, "observations"),
    "flat": ({"observations": [0, 0, 0]}, "observations"),
    "longer than the horizon": ({"observations": [[0, 0, 0]] * 52}, "observations"),
    "too few actions": ({"observations": ROWS, "actions": [[1, 0]]}, "actions"),
    "too wide actions": ({"observations": ROWS, "actions": [[1, 0, 0], [0, 1, 0]]}, "actions"),
    "actions out of bounds": ({"observations": ROWS, "actions": [[2, 0], [0, 1]]}, "actions"),
    "too many rewards": ({"observations": ROWS, "rewards": [0, 0, 0]}, "rewards"),
    "rewards in two columns": ({"observations": ROWS, "rewards": [[0, 1], [0, 1]]}, "rewards"),
    "boolean actions": ({"observations": ROWS, "actions": [[True, False], [True, True]]}, "actions"),
    "a boolean reward": ({"observations": ROWS, "rewards": [0, True]}, "rewards"),
    "success as a share": ({"observations": ROWS, "success": 0.5}, "success"),
    "success as another number": ({"observations": ROWS, "success": 2}, "success"),
    "success per step": ({"observations": ROWS, "success": [False, True]}, "success"),
    "success as a string": ({"observations": ROWS, "success": "true"}, "success"),
    "an unknown field": ({"observations": ROWS, "done": True}, "done"),
    "no observations at all": ({}, "observations"),
}


PLAIN = {
    "booleans alone": {"observations": [[True, False, True], [True, True, True], [False, False, True]]},
    "rewards as a column": {"observations": ROWS, "rewards": [[0], [1]]},
    "boolean rewards": {"observations": ROWS, "rewards": [False, True]},
    "success as 1": {"observations": ROWS, "success": 1},
    "success as 0.0": {"observations": ROWS, "success": 0.0},
    "success in an array": {"observations": ROWS, "success": [True]},
    "success that is not a number": {"observations": ROWS, "success": float("nan")},
}


@pytest.mark.parametrize("episode", PLAIN.values(), ids=PLAIN.keys())
def test_what_has_a_plain_meaning_is_taken_as_files_are(client: Client, http: TestClient, episode: Any) -> None:
    body = {"model": "point", "demos": [], "trials": [episode]}
    made = http.post("/v1/adaptations", content=json.dumps(body), headers=JSON)
    assert made.status_code == 201, made.text
    adaptation = client.adaptation(made.json()["id"])
    [stored] = adaptation.episodes().trials
    assert stored == Episode.of(**episode)
    adaptation.delete()


@pytest.mark.parametrize("role", ["demos", "trials"])
@pytest.mark.parametrize(("episode", "field"), EPISODES.values(), ids=EPISODES.keys())
def test_episodes(http: TestClient, episode: dict[str, Any], field: str, role: str) -> None:
    body = {"model": "point", "demos": [], "trials": []} | {role: [GOOD, episode]}
    answer = http.post("/v1/adaptations", content=json.dumps(body), headers=JSON)
    refused(answer, 422, field=f"{role}[1].{field}")


@pytest.mark.parametrize(
    ("cell", "got"),
    [
        ("null", "null at [1, 2]"),
        ('"1"', "a string at [1, 2]"),
        ("{}", "an object at [1, 2]"),
        ("1" * 400, "an integer beyond 64 bits at [1, 2]"),
        ("1e400", "inf at [1, 2]"),
        ("1e10", "1e+10 at [1, 2]"),
    ],
)
def test_what_is_no_number_is_shown(http: TestClient, cell: str, got: str) -> None:
    body = '{"model": "point", "demos": [{"observations": [[0, 0, 0], [0, 0, ' + cell + "]]}]}"
    answer = http.post("/v1/adaptations", content=body, headers=JSON)
    refused(answer, 422, field="demos[0].observations", got=got)


def test_the_first_of_a_million_mistakes_is_enough(http: TestClient) -> None:
    wrong = b'{"model": "point", "demos": [' + b"1," * 900_000 + b"1]}"
    tracemalloc.start()
    refused(http.post("/v1/adaptations", content=wrong, headers=JSON), 422, field="demos[0]")
    fields = b",".join(b'"k%d":1' % i for i in range(100_000))
    answer = http.post("/v1/adaptations", content=b"{" + fields + b"}", headers=JSON)
    refused(answer, 422, field="body", expected="no fields but model, demos, trials, ask, rate_hz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000


def test_a_million_steps(http: TestClient) -> None:
    steps = "[0,0,0]," * 240_000 + "[0,0,0]"
    body = '{"model":"point","demos":[{"observations":[' + steps + "]}]}"
    refused(http.post("/v1/adaptations", content=body, headers=JSON), 422, got="240000 steps")
    million = encode_msgpack({"model": "point", "demos": [{"observations": np.zeros((1_000_001, 3), np.uint8)}]})
    refused(http.post("/v1/adaptations", content=million, headers=MSGPACK), 413)


BODIES = {
    "empty": (b"", 400),
    "truncated": (b'{"model": "point", "demos": [', 400),
    "junk": (b"\x00\xff\xfe", 400),
    "two values": (b"{} {}", 400),
    "deeply nested": (b"[" * 100_000 + b"]" * 100_000, 400),
    "deeply nested observations": (
        b'{"model":"point","demos":[{"observations":' + b"[" * 150 + b"]" * 150 + b"}]}",
        422,
    ),
    "many empty lists": (b"[" + b"[]," * 600_000 + b"[]]", 413),
    "an escaped lone surrogate": (b'{"model": "\\ud800", "demos": []}', 400),
    "an encoded lone surrogate": (b'{"model": "\xed\xa0\x80", "demos": []}', 400),
    "no object": (b"[]", 422),
    "null": (b"null", 422),
    "a number": (b"1e400", 422),
    "an integer beyond parsing": (b'{"model": ' + b"1" * 5000 + b', "demos": []}', 400),
    "unknown model": (b'{"model": "no", "demos": []}', 422),
    "unknown version": (b'{"model": "point@7", "demos": []}', 422),
    "no version": (b'{"model": "point@", "demos": []}', 422),
    "version beyond all": (b'{"model": "point@99999999999999999999", "demos": []}', 422),
    "a path as model": (b'{"model": "../point", "demos": []}', 422),
    "a null byte as model": (b'{"model": "point\\u0000", "demos": []}', 422),
    "model as a list": (b'{"model": ["point"], "demos": []}', 422),
    "no demos": (b'{"model": "point"}', 422),
    "demos as an object": (b'{"model": "point", "demos": {}}', 422),
    "an ask": (b'{"model": "point", "demos": [], "ask": {"return": 1}}', 422),
    "an unknown field": (b'{"model": "point", "demos": [], "demo": []}', 422),
    "a gzip bomb": (gzip.compress(bytes(50_000_000)), 413),
    "a body too large": (b'"' + b"a" * 3_000_000 + b'"', 413),
    "truncated gzip": (gzip.compress(b'{"model": "point", "demos": []}')[:-6], 400),
    "gzip and more": (gzip.compress(b"{}") + b"more", 400),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES.keys())
def test_json_bodies(http: TestClient, body: bytes, status: int) -> None:
    encoding = {"Content-Encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
    refused(http.post("/v1/adaptations", content=body, headers=JSON | encoding), status)


def array(**changes: Any) -> bytes:
    fields = {"data": np.zeros((2, 3), "<f4").tobytes(), "dtype": "<f4", "shape": [2, 3]} | changes
    packed = {b"__ndarray__": True} | {key.encode(): value for key, value in fields.items()}
    return bytes(msgpack.packb({"model": "point", "demos": [{"observations": packed}]}))


PACKED = {
    "empty": (b"", 400),
    "junk": (b"\xc1\xc1", 400),
    "truncated": (array()[:-5], 400),
    "and more": (array() + b"\x01", 400),
    "deeply nested": (b"\x91" * 100_000 + b"\x01", 400),
    "many empty lists": (b"\xdd\x00\x1e\x00\x00" + b"\x90" * (0x1E0000), 413),
    "a list said to be long": (b"\xdd\xff\xff\xff\xff", 400),
    "an extension type": (msgpack.packb(msgpack.ExtType(5, b"x")), 422),
    "a timestamp": (msgpack.packb(msgpack.Timestamp(0)), 422),
    "an object dtype": (array(dtype="|O"), 400),
    "a structured dtype": (array(dtype="<f4,<f4"), 400),
    "a time dtype": (array(dtype="<M8[s]"), 400),
    "a dtype that is none": (array(dtype=7), 400),
    "more shape than data": (array(shape=[2, 4]), 400),
    "a negative shape": (array(shape=[-2, -3]), 400),
    "a shape of booleans": (array(shape=[True, 6]), 400),
    "a huge shape of nothing": (array(shape=[2**31 - 1] * 20 + [0], data=b""), 400),
    "too many axes": (array(shape=[1] * 60 + [6]), 400),
    "data as text": (array(data="zeros"), 400),
    "NaN": (array(data=np.full((2, 3), np.nan, "<f4").tobytes()), 422),
    "no axes": (array(shape=[], data=bytes(4)), 422),
    "broken text": (b"\x81\xa5model\xa2\xff\xfe", 400),
    "bytes for names": (msgpack.packb({b"model": "point"}), 422),
    "numbers for names": (b"\x81\x01\x01", 400),
    "two values of one name": (b"\x82\xa5model\xa5point\xa5model\xa4none", 400),
}


@pytest.mark.parametrize(("body", "status"), PACKED.values(), ids=PACKED.keys())
def test_msgpack_bodies(http: TestClient, body: bytes, status: int) -> None:
    refused(http.post("/v1/adaptations", content=body, headers=MSGPACK), status)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/octet-stream"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
    ],
)
def test_media_types(http: TestClient, headers: dict[str, str]) -> None:
    body = json.dumps({"model": "point", "demos": [GOOD]}).encode()
    refused(http.post("/v1/adaptations", content=body, headers=headers), 415)


def test_a_parameter_that_a_route_does_not_know_is_refused_and_what_it_knows_is_named(http: TestClient) -> None:
    path = f"/v1/adaptations/{'0' * 24}"
    answer = http.post(f"{path}/ask?version=1", json={"ask": None})
    refused(answer, 400, field="version", expected="no parameters", got="the string '1'")
    refused(http.get(f"{path}?verison=1"), 400, field="verison", expected="no parameters but version")
    refused(
        http.get(f"{path}/versions?limit=1&Cursor="), 400, expected="no parameters but limit, cursor", field="Cursor"
    )
    refused(http.get("/v1/models?" + "x" * 5000), 400, field="x" * 77 + "...")


def test_a_parameter_that_is_there_twice_is_refused(http: TestClient) -> None:
    refused(http.get("/v1/adaptations?limit=1&limit=2"), 400, field="limit", expected="one value", got="2 of them")
    refused(http.get("/v1/adaptations?limit=2&model=&limit=2"), 400, field="limit")


def test_every_route_that_needs_a_key_refuses_a_parameter_that_it_does_not_know(http: TestClient) -> None:
    app: Any = http.app
    tried = 0
    for route in all_routes(app.routes):
        if isinstance(route, APIRoute) and scope_of(route) is not None:
            for method in route.methods:
                refused(http.request(method, f"{route.path}?nobody=1"), 400, field="nobody")
                tried += 1
    assert tried > 30


@pytest.mark.parametrize("path", ["/", "/docs", "/livez", "/readyz", "/openapi.json"])
def test_public_pages_and_probes_take_what_links_and_load_balancers_add(http: TestClient, path: str) -> None:
    assert http.get(f"{path}?utm_source=letter").status_code == 200


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=abc", "limit=1.5", "limit=", "limit=" + "9" * 5000])
def test_page_limits(http: TestClient, query: str) -> None:
    refused(http.get(f"/v1/adaptations?{query}"), 400, field="limit")


@pytest.mark.parametrize(
    "cursor",
    ["x", "", "%00", "%ED%A0%80", "YWZ0ZXI6", "YWZ0ZXI6LTE", "YWZ0ZXI6wrI", "a" * 500, "..%2F..", "YWZ0ZXI6MQ==="],
)
def test_cursors(http: TestClient, cursor: str) -> None:
    refused(http.get(f"/v1/adaptations?cursor={cursor}"), 400, field="cursor")


@pytest.mark.parametrize("name", ["..%00", "x", "%00", "%ED%A0%80", "a" * 24, "A" * 24, "0" * 3000, "'; drop table"])
def test_ids_that_are_none(http: TestClient, name: str) -> None:
    path = f"/v1/adaptations/{name}"
    act, step = {"observations": [[0, 0, 0]]}, {"observation": [0, 0, 0]}
    for answer in (
        http.get(path),
        http.delete(path),
        http.post(path + "/act", json=act),
        http.post(path + "/trials", json={"trials": [GOOD]}),
        http.post(path + "/episodes"),
        http.post(path + "/episodes/x/act", json=step),
    ):
        refused(answer, 404, type="urn:problem-type:wtl:adaptation-not-found")
    for path in (f"/v1/models/{name}", "/v1/models/point/2"):
        refused(http.get(path), 404, type="urn:problem-type:wtl:model-not-found")


@pytest.mark.parametrize("path", ["/v1/adaptations/..%2f..%2fetc", "/v1/", "/v1/adaptations/", "/%00", "/v2"])
def test_addresses_that_are_none(http: TestClient, path: str) -> None:
    refused(http.get(path), 404)


def test_methods_and_parameters(http: TestClient) -> None:
    answer = http.put("/v1/adaptations")
    refused(answer, 405)
    assert "POST" in answer.headers["allow"] or "GET" in answer.headers["allow"]
    refused(http.get("/v1/models/point/one"), 400, field="version")
    refused(http.get("/v1/models/point/0"), 400, field="version")
    body = {"model": "point", "demos": []}
    refused(http.post("/v1/adaptations", json=body, headers={"Idempotency-Key": "a" * 201}), 400)
    refused(http.get(f"/v1/adaptations/{'0' * 24}?version=abc"), 400, field="version")


def test_every_method_of_an_address_is_named(http: TestClient) -> None:
    assert http.put("/v1/adaptations").headers["allow"] == "GET, HEAD, POST"
    assert http.put("/v1/adaptations/x").headers["allow"] == "DELETE, GET, HEAD"


def test_actions_and_steps(client: Client, http: TestClient, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    path = f"/v1/adaptations/{adaptation.id}"
    for rows in ([], [[0, 0]], [0, 0, 0], [[0, 0, "0"]], [[0, 0, float("inf")]], [[[0, 0, 0]]], [[0, 0, 0]] * 5000):
        body = json.dumps({"observations": rows})
        refused(http.post(path + "/act", content=body, headers=JSON), 422, field="observations")
    episode = adaptation.episode()
    step = f"{path}/episodes/{episode.id}/act"
    for observation in ([], [0, 0], [[0, 0, 0]], [0, 0, True], 0, None):
        refused(http.post(step, json={"observation": observation}), 422, field="observation")
    for reward in ("1", [1, 1], [], float("nan"), 1e39, 1e10, -1e10, 10**400):
        body = json.dumps({"observation": [0, 0, 0], "reward": reward})
        refused(http.post(step, content=body, headers=JSON), 422, field="reward")
    refused(http.post(f"{path}/episodes/{'0' * 24}/act", json={"observation": [0, 0, 0]}), 404)
    refused(http.post(f"{path}/episodes", json={"explore": 1}), 422, field="explore")
    refused(http.post(f"{path}/demos", json={"demos": []}), 422, field="demos")
    assert client.adaptation(adaptation.id).version == 1
    adaptation.delete()


def test_failures_of_ours_show_no_traceback(
    http: TestClient, client: Client, demo: Episode, settings: Settings
) -> None:
    adaptation = client.adapt("point", demos=[demo])
    [blob] = (settings.data / "episodes").glob("*")
    Path(blob).write_bytes(b"rotten")
    http.app.state.container.engine.evict(adaptation.id)  # type: ignore[attr-defined]  # as if it had been restarted
    answer = http.post(f"/v1/adaptations/{adaptation.id}/act", json={"observations": [[0, 0, 0]]})
    refused(answer, 500, type="urn:problem-type:wtl:internal-error")
    assert "rotten" not in answer.text
    adaptation.delete()
