"""The OpenAPI document describes everything, and its examples work when they are sent as they are."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, bundle, settings_in

from metalearn.data.episode import Episode
from service.app import create_app
from service.settings import SHIPPED_MODELS, Settings

METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}
UNLIKE = "unlike-training"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server of the shipped models, whose training jobs train nothing."""
    settings = Settings(
        data=tmp_path_factory.mktemp("data"), models=SHIPPED_MODELS, train_command=f"{sys.executable} -c ''"
    )
    with TestClient(create_app(settings)) as http:
        yield http


@pytest.fixture(scope="module")
def document(shipped: TestClient) -> dict[str, Any]:
    return shipped.get("/openapi.json").json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield method, path, operation


def undescribed(value: Any, at: str) -> Iterator[str]:
    """Every property of any schema in `value`, however deep, that has no description of its own."""
    if isinstance(value, dict):
        for name, field in value.get("properties", {}).items() if isinstance(value.get("properties"), dict) else ():
            if not field.get("description", "").strip():
                yield f"{at}.{name}"
        for name, part in value.items():
            yield from undescribed(part, f"{at}.{name}") if name not in {"example", "examples", "default"} else ()
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from undescribed(part, f"{at}[{i}]")


def is_sentence(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Z`].{9,}[.]", text, re.DOTALL))


def test_every_field_of_every_schema_is_described(document: dict[str, Any]) -> None:
    assert list(undescribed(document, "")) == []
    assert [n for n, s in document["components"]["schemas"].items() if not is_sentence(s.get("description", ""))] == []


def test_the_test_sees_a_field_that_is_not_described() -> None:
    assert list(undescribed({"a": [{"properties": {"b": {"description": "B."}, "c": {"type": "object"}}}]}, "")) == [
        ".a[0].c"
    ]


def test_every_operation_parameter_body_and_response_is_described_in_sentences(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        at = f"{method} {path}"
        derived = operation["operationId"].split("_", 1)[1].replace("_", " ")
        assert is_sentence(operation["summary"]), at
        assert operation["summary"].lower().strip(".") != derived.lower(), at
        assert is_sentence(operation["description"]), at
        for parameter in operation.get("parameters", ()):
            assert is_sentence(parameter["description"]), (at, parameter["name"])
        if "requestBody" in operation:
            assert is_sentence(operation["requestBody"]["description"]), at
        for status, response in operation["responses"].items():
            assert is_sentence(response["description"]), (at, status)
            assert response["description"] != "Successful Response", (at, status)


def test_every_tag_is_described_and_used(document: dict[str, Any]) -> None:
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    used = {tag for *_, operation in operations(document) for tag in operation["tags"]}
    assert set(described) == used
    assert all(map(is_sentence, described.values()))


def test_every_json_body_has_an_example(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        if "requestBody" in operation:
            assert "example" in operation["requestBody"]["content"]["application/json"], f"{method} {path}"


def send_every_example(http: TestClient, document: dict[str, Any]) -> dict[str, Any]:
    """Send each example, those that need an id after those that make it; return the answers."""
    ids: dict[str, str] = {"alias": "stable", "part": "1"}
    todo = [one for one in operations(document) if "requestBody" in one[2]]
    answers = {}
    # An episode acts before it is finished, and a model is adapted before anything else happens to the adaptation.
    order = {"adaptations_create": 0, "episodes_start": 1, "episodes_act": 2, "episodes_finish": 3, "datasets_put": 4}
    for method, path, operation in sorted(todo, key=lambda one: order.get(one[2]["operationId"], 5)):
        example = operation["requestBody"]["content"]["application/json"]["example"]
        answer = http.request(method, path.format(**ids), json=example)
        assert answer.is_success, (method, path, answer.text)
        made = answers[operation["operationId"]] = answer.json()
        if operation["operationId"] == "adaptations_create":
            ids |= {"adaptation_id": made["id"], "name": made["model"]}
        elif operation["operationId"] == "episodes_start":
            ids["episode_id"] = made["id"]
    return answers


def test_every_example_succeeds_as_it_is_and_is_like_the_training(
    shipped: TestClient, document: dict[str, Any]
) -> None:
    answers = send_every_example(shipped, document)
    assert len(answers) == 15
    warned = {
        name: [w["code"] for q in answer.get("quality", ()) for w in q["warnings"]] for name, answer in answers.items()
    }
    assert warned["adaptations_create"] == []
    assert not any(UNLIKE in codes for codes in warned.values())
    assert answers["training_jobs_create"]["state"] == "queued"


def test_on_a_server_of_other_models_the_examples_are_for_those(tmp_path: Path) -> None:
    demo = Episode.of([[0, 0, 0.25], [1, 0, 0.5], [1, 1, 0.5]], [[1, 0], [0, 1]])
    settings = settings_in(tmp_path).model_copy(update={"train_command": f"{sys.executable} -c ''"})
    bundle("mine").with_example(demo).save(tmp_path / "models" / "mine")
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        document = http.get("/openapi.json").json()
        answers = send_every_example(http, document)
    body = document["paths"]["/v1/adaptations"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert body["model"] == "mine"  # and not `point`, which has no demonstration
    assert Episode.of(**body["demos"][0]) == demo
    assert answers["adaptations_create"]["model"] == "mine"


def test_a_model_without_a_demonstration_has_examples_too(tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(update={"train_command": f"{sys.executable} -c ''"})
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        send_every_example(http, http.get("/openapi.json").json())


@pytest.mark.parametrize("name", sorted(path.parent.name for path in SHIPPED_MODELS.glob("*/bundle.json")))
def test_the_example_of_a_shipped_model_is_a_demonstration_of_its_tasks(shipped: TestClient, name: str) -> None:
    example = shipped.get(f"/v1/models/{name}").json()["example"]
    [quality] = shipped.post("/v1/adaptations", json={"model": name, "demos": [example]}).json()["quality"]
    assert {warning["code"] for warning in quality["warnings"]} <= {"duplicate-stored"}  # by the tests before
    assert quality["success"] is True
