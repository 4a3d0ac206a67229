"""What is asked for: changed by new versions, said on cards, refused precisely, and never stored when it is refused."""

import asyncio
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.asks import OFFERS
from support.pointing import PointingRuntime, asked, calibrated, settings_in
from support.serving import served
from websockets.sync.client import connect

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import AsyncClient, Client, ClientError
from service.codecs import decode_msgpack

JSON = {"Content-Type": "application/json"}


def made_in(folder: Path) -> FastAPI:
    """With `point`, which follows no ask, `asked`, and `sure`, which was calibrated without asks."""
    chosen = settings_in(folder)
    asked().save(chosen.models / "asked")
    calibrated(asked("sure")).save(chosen.models / "sure")
    return create_app(chosen, runtime_factory=PointingRuntime)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return made_in(tmp_path_factory.mktemp("asks"))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a running server of its own."""
    with served(made_in(tmp_path_factory.mktemp("outside"))) as url:
        yield url


@pytest.fixture(scope="module")
def http(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def acted(http: TestClient, path: str) -> list[float]:
    return http.post(path, json={"observations": [[0, 0, 0]]}).json()["actions"][0]


def test_another_ask_makes_a_version_and_leaves_those_before_as_they_were(client: Client, http: TestClient) -> None:
    first = client.adapt("asked", ask={"goal": [0.5, 0.25]})
    second = first.ask_for({"goal": np.array([-0.5, 0.0]), "return": np.float32(120.0)})
    third = second.ask_for(None)
    assert [(one.version, one.ask) for one in (first, second, third)] == [
        (1, {"goal": [0.5, 0.25]}),
        (2, {"return": 120.0, "goal": [-0.5, 0.0]}),
        (3, {}),
    ]
    path = f"/v1/adaptations/{first.id}"
    assert [acted(http, f"{path}/act?version={n}") for n in (1, 2, 3)] == [[0.5, 0.25], [-0.5, 0], [0, 0]]
    assert acted(http, f"{path}/act") == [0, 0]
    assert [one["ask"] for one in first.versions()] == [first.ask, second.ask, {}]
    assert client.adaptation(first.id, version=2).ask == second.ask


def test_the_same_post_twice_asks_once(http: TestClient) -> None:
    path = http.post("/v1/adaptations", json={"model": "asked", "demos": []}).headers["location"]
    sent = {"json": {"ask": {"better": True}}, "headers": {"Idempotency-Key": "ask-once"}}
    answers = [http.post(f"{path}/ask", **sent) for _ in range(2)]
    assert [(one.status_code, one.json()["version"]) for one in answers] == [(200, 2)] * 2
    other = http.post(f"{path}/ask", json={"ask": None}, headers=sent["headers"])
    assert other.json()["type"].endswith("idempotency-key-reused")


def test_what_is_added_and_forked_asks_for_the_same_unless_told_otherwise(client: Client, demo: Episode) -> None:
    first = client.adapt("asked", [demo], ask={"better": 0.25})
    assert first.add_demos([demo]).ask == {"better": 0.25}
    assert first.fork().ask == {"better": 0.25}
    assert first.fork(ask={"return": 3}).ask == {"return": 3.0}
    assert first.fork(ask={}).ask == {}
    assert first.fork(ask={"return": 3}).n_demos == 1


def test_an_export_holds_the_ask(client: Client) -> None:
    given = client.adapt("asked", ask={"goal": [0.5, 0.25], "better": True, "return": 7})
    exported = given.export(policy=False)
    assert exported.context.ask.to_json() == exported.manifest["ask"] == given.ask


def test_a_return_out_of_range_is_said_to_count_as_its_nearest_end(client: Client) -> None:
    given = client.adapt("asked", ask={"return": 500})
    assert given.ask_warnings == ("return is 500, and those of training were -20 to 120: it counts as 120",)
    assert client.adaptation(given.id).ask_warnings == given.ask_warnings
    assert given.ask_for({"return": 60}).ask_warnings == ()
    [far] = given.ask_for({"goal": [3, 0.25]}).ask_warnings
    assert far == "goal[0] is 3, and those of training were -1 to 1"


def test_cards_and_versions_say_what_can_be_asked_for(client: Client, http: TestClient) -> None:
    assert client.model("point").asks == ()
    of_return, of_goal, of_better, of_words = client.model("asked").asks
    assert {**of_return} == {
        "kind": "return", "accepts": "a number from -20 to 120", "size": 1, "low": [-20], "high": [120],
        "examples": list(OFFERS[0].examples), "encoder": None,
    }  # fmt: skip
    assert (of_goal["accepts"], of_goal["size"]) == ("a list of 2 numbers from -1 to 1, 0 to 0.5", 2)
    assert of_better["accepts"] == "true, or a number from 0 to 1"
    assert (of_words["size"], of_words["encoder"]) == (0, "bag-of-words@1")
    [version] = http.get("/v1/models/asked/versions").json()["items"]
    assert version["asks"] == http.get("/v1/models/asked/1").json()["asks"]


def test_every_example_of_a_card_can_be_asked_for(client: Client) -> None:
    for offer in client.model("asked").asks:
        for example in offer["examples"]:
            client.adapt("asked", ask={offer["kind"]: example}).delete()


def test_a_confidence_that_was_calibrated_without_asks_says_nothing_of_one(client: Client, demo: Episode) -> None:
    plain = client.adapt("sure", [demo])
    assert plain.confidence == 0.5
    assert plain.ask_for({"return": -20}).confidence is None


def test_a_stream_says_what_can_be_asked_for_and_what_is(url: str) -> None:
    made = Client(url).adapt("asked", ask={"return": 7})
    with connect(f"{url.replace('http', 'ws')}/v1/adaptations/{made.id}/stream") as socket:
        greeting = decode_msgpack(socket.recv(), 1000)
    assert greeting["ask"] == {"return": 7.0}
    offered = [(one["kind"], one["low"]) for one in greeting["asks"]]
    assert offered == [("return", [-20.0]), ("goal", [-1.0, 0.0]), ("better", [0.0]), ("words", [])]


def test_the_async_client_asks_too(url: str) -> None:
    async def asks() -> None:
        async with AsyncClient(url) as client:
            made = await client.adapt("asked", ask={"return": 7})
            assert (await made.ask_for({"better": True})).ask == {"better": True}
            assert (await made.fork(ask={})).ask == {}

    asyncio.run(asks())


KNOWN = "some of return (a number from -20 to 120), goal (a list of 2 numbers from -1 to 1, 0 to 0.5), better"
NUMBER, SENTENCE = "a number from -1e+30 to 1e+30", "a sentence of 1 to 400 characters"
HOSTILE = {
    "a kind that there is not": ('{"retrun": 1}', "ask", KNOWN),
    "no name at all": ('{"": 1}', "ask", KNOWN),
    "a name in another script": ('{"возврат": 1}', "ask", KNOWN),
    "a long name": ('{"' + "r" * 100_000 + '": 1}', "ask", KNOWN),
    "a kind of somebody else": ('{"speed": 3}', "ask", KNOWN),
    "a list": ("[1]", "ask", "an object or null"),
    "text": ('"return"', "ask", "an object or null"),
    "a number": ("1", "ask", "an object or null"),
    "NaN": ('{"return": NaN}', "ask.return", NUMBER),
    "Infinity": ('{"return": -Infinity}', "ask.return", NUMBER),
    "more than a float holds": ('{"return": 1e400}', "ask.return", NUMBER),
    "more than anybody means": ('{"return": 1e31}', "ask.return", NUMBER),
    "a huge integer": ('{"return": 1' + "0" * 400 + "}", "ask.return", NUMBER),
    "a boolean for a number": ('{"return": true}', "ask.return", NUMBER),
    "text for a number": ('{"return": "120"}', "ask.return", NUMBER),
    "null for a number": ('{"return": null}', "ask.return", NUMBER),
    "an object for a number": ('{"return": {"value": 1}}', "ask.return", NUMBER),
    "a goal that is too short": ('{"goal": [1]}', "ask.goal", "2 numbers"),
    "a goal that is too long": ('{"goal": [1, 2, 3]}', "ask.goal", "2 numbers"),
    "a goal without an end": ('{"goal": [' + "1," * 100_000 + "1]}", "ask.goal", "1 to 1024 numbers"),
    "a nested goal": ('{"goal": [[1, 2]]}', "ask.goal[0]", NUMBER),
    "a goal that is nowhere": ('{"goal": [1, NaN]}', "ask.goal[1]", NUMBER),
    "half of it": ('{"better": false}', "ask.better", "true, or a number from 0 to 1"),
    "more than better": ('{"better": 2}', "ask.better", "true, or a number from 0 to 1"),
    "a megabyte for better": ('{"better": "' + "w" * 1_000_000 + '"}', "ask.better", "true, or a number from 0 to 1"),
    "a megabyte of words": ('{"words": "' + "w " * 500_000 + '"}', "ask.words", SENTENCE),
    "no words": ('{"words": " \\n "}', "ask.words", SENTENCE),
    "words that ring a bell": ('{"words": "push\\u0007"}', "ask.words", SENTENCE),
    "a number for words": ('{"words": 3}', "ask.words", SENTENCE),
    "two that contradict": ('{"return": 1, "return": 2}', "return", "each name once"),
    "two of one name, written otherwise": ('{"return": 1, "\\u0072eturn": 2}', "return", "each name once"),
}


@pytest.fixture(scope="module")
def outside(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def stored(http: httpx.Client) -> list[tuple[str, int]]:
    return [(one["id"], one["version"]) for one in http.get("/v1/adaptations?limit=100").json()["items"]]


@pytest.mark.parametrize(("text", "field", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_asks_are_refused_precisely_and_nothing_is_stored(
    outside: httpx.Client, text: str, field: str, expected: str
) -> None:
    made = outside.post("/v1/adaptations", json={"model": "asked", "demos": []}).json()
    at, before = f"/v1/adaptations/{made['id']}", stored(outside)
    for path, more in (("/v1/adaptations", '"model": "asked", "demos": [], '), (f"{at}/ask", ""), (f"{at}/fork", "")):
        answer = outside.post(path, content=f'{{{more}"ask": {text}}}'.encode(), headers=JSON)
        assert answer.status_code in {400, 422}, answer.text
        problem = answer.json()
        assert (problem["field"], problem["expected"][: len(expected)]) == (field, expected)
        assert len(problem["got"]) < 200
        assert len(answer.content) < 2000
    assert stored(outside) == before


@pytest.mark.parametrize(
    "words", ["толкни шайбу", "推冰球", "\u202e\u0627\u062f\u0641\u0639", "push 🏒", "e\u0301tudie"]
)
def test_words_in_other_scripts_come_back_as_they_were_meant(client: Client, words: str) -> None:
    made = client.adapt("asked", ask={"words": words})
    assert made.ask == {"words": unicodedata.normalize("NFC", words)}
    assert made.export(policy=False).context.ask.to_json() == made.ask


def test_a_model_that_was_trained_for_none_says_so(http: TestClient) -> None:
    problem = http.post("/v1/adaptations", json={"model": "point", "demos": [], "ask": {"return": 1}}).json()
    assert (problem["status"], problem["field"], problem["expected"], problem["got"]) == (
        422, "ask", "null: this model was trained for no ask", '"return"',
    )  # fmt: skip
    assert http.post("/v1/adaptations", json={"model": "point", "demos": [], "ask": {}}).status_code == 201


def test_an_ask_has_to_be_said(http: TestClient) -> None:
    path = http.post("/v1/adaptations", json={"model": "asked", "demos": []}).headers["location"]
    assert http.post(f"{path}/ask", json={}).json()["field"] == "ask"
    assert http.post(f"{path}/ask").status_code in {400, 415}
    assert http.post("/v1/adaptations/nonsense/ask", json={"ask": None}).status_code == 404


def test_the_python_client_refuses_what_is_no_mapping(client: Client) -> None:
    made = client.adapt("asked")
    with pytest.raises(ValueError, match="ask: expected a mapping by kind"):
        made.ask_for("better")  # type: ignore[arg-type]
    with pytest.raises(ClientError) as caught:
        made.ask_for({"speed": 3})
    assert (caught.value.status, caught.value.field) == (422, "ask")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ASKS = st.dictionaries(st.sampled_from(["return", "goal", "better", "words", "x"]), ANYTHING, max_size=3) | ANYTHING


@given(ask=ASKS)
@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_for_is_stored_as_it_is_understood_or_refused(http: TestClient, ask: Any) -> None:
    before = len(stored(http))
    answer = http.post("/v1/adaptations", content=json.dumps({"model": "asked", "demos": [], "ask": ask}), headers=JSON)
    if answer.status_code == 201:
        state = answer.json()
        assert set(state["ask"]) == set(ask or {})
        assert http.get(f"/v1/adaptations/{state['id']}").json()["ask"] == state["ask"]
        http.delete(f"/v1/adaptations/{state['id']}")
    else:
        assert answer.status_code == 422, answer.text
        assert re.match(r"ask(\.[a-z]+(\[\d+\])?)?$", answer.json()["field"])
    assert len(stored(http)) == before


def test_the_card_in_a_bundle_has_an_example_that_the_server_takes(tmp_path: Path, http: TestClient) -> None:
    asked().save(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| `return` | a number from -20 to 120 |" in text
    body = json.loads(text.partition("## Ask for it")[2].partition("```json\n")[2].partition("\n```")[0])
    assert body["ask"] == {offer.kind: json.loads(json.dumps(offer.examples[-1])) for offer in OFFERS}
    assert http.post("/v1/adaptations", json=body).json()["ask"] == body["ask"]
