"""The short way to an action says what the long way says, and only what it is sure of."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, settings_in

from metalearn.data.episode import Episode
from service.api.middleware import fast_act
from service.app import create_app
from service.client import Client
from service.codecs import JSON, MSGPACK, decode_msgpack, encode_json, encode_msgpack

VARYING = {"server-timing", "x-request-id", "ratelimit", "date"}
GOOD = {"observations": [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]}
Request = dict[str, Any]


def request(content: bytes, content_type: str = JSON, **headers: str) -> Request:
    return {"content": content, "headers": {"content-type": content_type, **headers}}


REQUESTS: dict[str, Request] = {
    "json": request(encode_json(GOOD)),
    "msgpack": request(encode_msgpack({"observations": np.array(GOOD["observations"], np.float32)}), MSGPACK),
    "integers": request(b'{"observations": [[0, 1, 0]]}'),
    "doubles": request(encode_msgpack({"observations": np.array(GOOD["observations"])}), MSGPACK),
    "big endian": request(encode_msgpack({"observations": np.array(GOOD["observations"], ">f4")}), MSGPACK),
    "charset": request(encode_json(GOOD), JSON + "; charset=utf-8"),
    "other answer": request(encode_json(GOOD), accept=MSGPACK),
    "no answer fits": request(encode_json(GOOD), accept="text/html"),
    "no json": request(b"{"),
    "no body": request(b""),
    "other type": request(b"observations=1", "application/x-www-form-urlencoded"),
    "more fields": request(encode_json({**GOOD, "reward": 1.0})),
    "no field": request(b"{}"),
    "a list": request(b"[]"),
    "a number": request(b'{"observations": 3}'),
    "text": request(b'{"observations": [["a", "b", "c"]]}'),
    "booleans": request(b'{"observations": [[true, 0.5, 0.5]]}'),
    "null": request(b'{"observations": null}'),
    "ragged": request(b'{"observations": [[1, 2, 3], [1]]}'),
    "nothing": request(b'{"observations": []}'),
    "too short": request(b'{"observations": [[1, 2]]}'),
    "huge": request(b'{"observations": [[1e30, 0, 0]]}'),
    "beyond": request(b'{"observations": [[1e999, 0, 0]]}'),
    "not a number": request(encode_msgpack({"observations": np.array([[np.nan, 0, 0]], np.float32)}), MSGPACK),
    "no dtype": request(encode_msgpack({"observations": {b"__ndarray__": True, b"data": b"", b"dtype": []}}), MSGPACK),
    "cross": request(encode_json(GOOD), authorization="Bearer nothing"),
}  # fmt: skip
SHORT = {"json", "msgpack", "integers", "doubles", "big endian"}


@pytest.fixture
def http(tmp_path: Any) -> Iterator[TestClient]:
    with TestClient(create_app(settings_in(tmp_path), runtime_factory=PointingRuntime)) as http:
        yield http


def answer(response: httpx.Response) -> tuple[int, dict[str, str], Any]:
    """Without what differs from request to request."""
    headers = {name: value for name, value in response.headers.items() if name not in VARYING}
    packed = response.headers["content-type"] == MSGPACK
    body = decode_msgpack(response.content, 1000) if packed else json.loads(response.content)
    if response.status_code == 200:
        assert set(body.pop("server_timing")) == {"decode_ms", "queue_ms", "infer_ms", "total_ms"}
        body["actions"] = np.asarray(body["actions"]).tolist()
        headers.pop("content-length")
    return response.status_code, headers, body


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_give_the_same_answer(
    http: TestClient, demo: Episode, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"/v1/adaptations/{Client(http=http).adapt('point', demos=[demo]).id}/act"
    http.post(url, json=GOOD).raise_for_status()  # now everything is in memory
    asked = REQUESTS[name]
    counted = http.app.state.container.rate_limiter  # type: ignore[attr-defined]
    took: list[bool] = []
    plainly = fast_act.FastActMiddleware._answer

    async def watch(*args: Any) -> None:
        took.append(True)
        await plainly(*args)

    monkeypatch.setattr(fast_act.FastActMiddleware, "_answer", watch)
    before = counted.count("testclient").left
    short = http.post(url, **asked)
    assert before - counted.count("testclient").left == 2 - (short.status_code == 401)  # once, and by this line
    assert bool(took) == (name in SHORT)
    monkeypatch.setattr(fast_act, "_plain_request", lambda scope: None)
    long = http.post(url, **asked)
    assert answer(short) == answer(long)
    assert set(short.headers) - {"x-request-id"} == set(long.headers) - {"x-request-id"}
    if name in SHORT:
        assert short.status_code == 200
        assert [one.partition(";")[0] for one in short.headers["server-timing"].split(", ")] == [
            one.partition(";")[0] for one in long.headers["server-timing"].split(", ")
        ]


def test_what_is_not_in_memory_goes_the_long_way_and_then_it_is(http: TestClient, demo: Episode) -> None:
    made = Client(http=http).adapt("point", demos=[demo])
    container = http.app.state.container  # type: ignore[attr-defined]
    container.engine.evict(made.id)
    for _ in range(2):
        np.testing.assert_allclose(made.act([[0.5, 0.5, 0]]), [[0.5, 0.5]])
    made.delete()
    assert http.post(f"/v1/adaptations/{made.id}/act", json=GOOD).status_code == 404


def test_a_request_that_the_model_has_no_room_for_is_counted_once(
    http: TestClient, demo: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Client(http=http).adapt("point", demos=[demo])
    made.act([[0.5, 0.5, 0]])
    container = http.app.state.container  # type: ignore[attr-defined]
    before = container.rate_limiter.count("testclient").left
    monkeypatch.setattr(container.engine, "_queue_size", 0)
    answer = http.post(f"/v1/adaptations/{made.id}/act", json=GOOD)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert before - container.rate_limiter.count("testclient").left == 2
