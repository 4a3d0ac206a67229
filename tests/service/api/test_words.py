"""Asks in words over HTTP: any script is taken, what is no sentence is refused, and so is another encoder."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, bundle, settings_in

from metalearn.data.asks import AskOffer, Words
from service.app import create_app

OFFER = Words.offer([Words("go to the red ball"), Words("go to the blue key")], "bag-of-words")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """With `told`, and `foreign`, which was trained with another encoder."""
    chosen = settings_in(tmp_path_factory.mktemp("words"))
    for name, offer in (("told", OFFER), ("foreign", replace(OFFER, encoder="bag-of-words@0"))):
        replace(bundle(name), model=_trained(offer)).save(chosen.models / name)
    with TestClient(create_app(chosen, runtime_factory=PointingRuntime), raise_server_exceptions=False) as client:
        yield client


def _trained(offer: AskOffer) -> dict[str, object]:
    return json.loads(json.dumps({"asks": ["words"], "ask_offers": [asdict(offer)]}))


@pytest.mark.parametrize("sentence", ["go to the ball", "走到红色的球", "اذهب إلى الكرة", "🟥!", "  go\n there "])
def test_a_sentence_of_any_script_is_kept(http: TestClient, sentence: str) -> None:
    made = http.post("/v1/adaptations", json={"model": "told", "demos": [], "ask": {"words": sentence}})
    assert made.status_code == 201, made.text
    assert made.json()["ask"] == {"words": " ".join(sentence.split())}
    assert http.get(f"/v1/adaptations/{made.json()['id']}").json()["ask"] == made.json()["ask"]


@pytest.mark.parametrize(
    ("words", "got"),
    [
        ("", "none but space"),
        (7, "int"),
        (["go"], "list"),
        ("go\u0007", "U+0007"),
        ("x" * 1_000_000, "1000000 characters"),
    ],
)
def test_what_is_no_sentence_is_a_422_and_stored_nowhere(http: TestClient, words: object, got: str) -> None:
    before = len(http.get("/v1/adaptations").json()["items"])
    body = json.dumps({"model": "told", "demos": [], "ask": {"words": words}})
    refused = http.post("/v1/adaptations", content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422, refused.text
    assert (refused.json()["field"], refused.json()["got"]) == ("ask.words", got)
    assert len(refused.text) < 1000
    assert len(http.get("/v1/adaptations").json()["items"]) == before


def test_words_for_another_encoder_are_refused_and_the_model_serves_without_them(http: TestClient) -> None:
    refused = http.post("/v1/adaptations", json={"model": "foreign", "demos": [], "ask": {"words": "go"}})
    assert refused.status_code == 422
    assert refused.json()["got"] == "bag-of-words 1 is installed here"
    assert http.post("/v1/adaptations", json={"model": "foreign", "demos": []}).status_code == 201


def test_the_card_says_what_reads_words_and_has_examples(http: TestClient) -> None:
    [offer] = http.get("/v1/models/told").json()["asks"]
    assert offer["encoder"] == "bag-of-words@1"
    assert offer["examples"] == ["go to the red ball", "go to the blue key"]
    assert offer["accepts"] == "a sentence of 1 to 400 characters, as 'go to the red ball'"
