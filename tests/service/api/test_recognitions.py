"""`POST /v1/recognitions`: who acted, asked over HTTP of a model small enough to check by hand."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.api_keys import Make
from support.pointing import SPEC, PointingRuntime, bundle, settings_in

from metalearn.adapter import Belief
from metalearn.bundle import Bundle
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.units import Units
from metalearn.recognition import InverseModel, RecognitionCalibration
from service.app import create_app
from service.client import AsyncClient, Client, ClientError
from service.inference import NoHeads
from service.settings import Settings

EAST, NORTH = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def walk(goal: Any, n: int = 12, seed: int = 0) -> Episode:
    """An episode of an agent that goes to `goal` in small, slightly shaky steps, as the model does."""
    rng = np.random.default_rng(seed)
    seen, done = [np.append(rng.uniform(-0.2, 0.2, 2), 0.0)], []
    for _ in range(n):
        action = np.clip(np.asarray(goal) - seen[-1][:2] + rng.normal(0, 0.05, 2), -1, 1)
        done.append(action)
        seen.append(seen[-1] + 0.3 * np.append(action, 0.0))
    return Episode.of(np.array(seen), np.array(done))


def known(source: Bundle) -> Bundle:
    """With a calibration made by hand: what moves is the action, and its experts went east."""
    inverse = InverseModel.fit([walk(EAST, seed=s) for s in range(5)] + [walk(NORTH, seed=9)], Units(SPEC))
    experts = (Belief(EAST.astype(np.float32), np.array([1.0, 0.0], np.float32)),)
    found = RecognitionCalibration(inverse=inverse, population=experts)
    return source.with_recognition(found.to_weights(), {"made": "by hand"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = settings_in(tmp_path)
    known(bundle("known", gain=1.01)).save(tmp_path / "models" / "known")
    return made.model_copy(update={"max_candidates": 5, "max_recognition_rows": 2000})


def test_it_tells_who_acted_and_adds_up_to_one(client: Client) -> None:
    east, north = (client.adapt("point", [walk(goal)]) for goal in (EAST, NORTH))
    found = client.recognise(walk(EAST, seed=3), {"east": east, "north": north, "chance": "random"})
    certain = client.recognise([walk(EAST, seed=s) for s in range(4)], {"east": east, "north": north})
    assert found.best == "east"
    assert found.n_steps == 12
    assert not found.enough_evidence
    assert certain.enough_evidence
    assert certain.n_steps == 48
    assert set(found.probabilities) == {"east", "north", "chance", None}
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert [scores.shape for scores in found.scores["east"]] == [(12,)]
    assert found.scores["east"][0].sum() > found.scores["chance"][0].sum() > found.scores["north"][0].sum()


def test_somebody_else_is_none_of_these(client: Client) -> None:
    east, north = (client.adapt("point", [walk(goal)]) for goal in (EAST, NORTH))
    found = client.recognise([walk([-1.0, -1.0], seed=s) for s in range(3)], {"east": east, "north": north})
    assert found.best is None
    assert found.probabilities[None] > 0.9


def test_one_step_is_too_little_to_tell_two_that_begin_alike(client: Client) -> None:
    near, far = (client.adapt("point", [walk(goal)]) for goal in ([0.5, 0.0], [0.55, 0.0]))
    found = client.recognise(walk([0.5, 0.0], n=1, seed=3), {"near": near, "far": far})
    assert not found.enough_evidence


def test_every_kind_of_candidate_is_told(client: Client) -> None:
    old = client.adapt("known", [walk(NORTH)])
    new = old.add_demos([walk(EAST)])
    candidates = {
        "old": old, "new": new, "model": "known", "examples": ("known", [walk([-1.0, 0.0])]),
        "expert": {"expert": "known@1"},
    }  # fmt: skip
    assert client.recognise(walk(NORTH, seed=3), candidates).best == "old"
    assert client.recognise(walk([-1.0, 0.0], seed=3), candidates).best == "examples"
    east = client.recognise(walk(EAST, seed=3), candidates).probabilities
    assert east["expert"] > east["new"] > east["old"]  # the mirror image is also among what a new demo may mean
    chance = Episode.of(np.zeros((30, 3)), np.random.default_rng(0).uniform(-1, 1, (29, 2)))
    assert client.recognise(chance, {"model": "known", "random": "random"}).best == "random"


def test_without_actions_it_infers_them_and_knows_less(client: Client) -> None:
    candidates = {"east": ("known", [walk(EAST)]), "north": ("known", [walk(NORTH)])}
    seen = walk(EAST, seed=3)
    alone = client.recognise(seen.without_actions(), candidates)
    assert alone.best == "east"
    assert alone.without_actions == 1
    with pytest.raises(ClientError, match=r"episodes\[0\]\.actions") as caught:
        client.recognise(seen.without_actions(), {"east": ("point", [walk(EAST)])})
    assert caught.value.status == 422
    assert "wtl models calibrate" in str(caught.value)


def test_the_async_client_recognises_too(app: FastAPI, http: TestClient) -> None:
    async def ask() -> str | None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as inner:
            client = AsyncClient(http=inner, retries=0)
            east = await client.adapt("point", [walk(EAST)])
            return (await client.recognise(walk(EAST, seed=3), {"east": east, "random": "random"})).best

    assert asyncio.run(ask()) == "east"


@pytest.mark.parametrize(
    ("candidates", "status", "said"),
    [
        ([], 422, "candidates"),
        ([{}], 422, "candidates[0]"),
        ([{"random": True}], 422, "at least one with a model"),
        ([{"random": False, "model": "point"}], 422, "candidates[0].random"),
        ([{"model": "point", "expert": "point"}], 422, "model and expert"),
        ([{"model": "point", "version": 2}], 422, "version only beside"),
        ([{"adaptation": "no-such-thing"}], 404, "adaptation"),
        ([{"model": "nobody"}], 422, "candidates[0].model"),
        ([{"expert": "point"}], 422, "wtl models calibrate"),
        ([{"model": "point", "name": "a"}, {"random": True, "name": "a"}], 422, "candidates[1].name"),
        ([{"model": "point", "episodes": []}], 422, "episodes: at least one"),
        ([{"model": "point", "episodes": [{"observations": [[1]]}]}], 422, "candidates[0].episodes[0].observations"),
        ([{"model": "point", "name": str(i)} for i in range(6)], 422, "at most 5"),
        ([{"model": "point", "more": 1}], 422, "more"),
    ],
)
def test_hostile_candidates_are_refused_by_field(
    http: TestClient, candidates: list[dict[str, Any]], status: int, said: str
) -> None:
    episode = {"observations": [[0, 0, 0], [1, 0, 0]], "actions": [[1, 0]]}
    answer = http.post("/v1/recognitions", json={"episodes": [episode], "candidates": candidates})
    assert answer.status_code == status, answer.text
    assert said in answer.text


def test_far_too_many_candidates_are_refused_without_looking_at_each(http: TestClient) -> None:
    episode = {"observations": [[0, 0, 0], [1, 0, 0]], "actions": [[1, 0]]}
    many = {"episodes": [episode], "candidates": [{}] * 100_000}
    started_s = time.process_time()
    answer = http.post("/v1/recognitions", json=many)
    assert answer.status_code == 422
    assert answer.json()["field"].startswith("candidates")
    assert time.process_time() - started_s < 5


def test_too_much_at_once_is_refused(client: Client) -> None:
    with pytest.raises(ClientError, match="at most 2000"):
        client.recognise([walk(EAST, n=50) for _ in range(30)], ["point"])


def test_models_of_other_spaces_are_no_candidates_beside_each_other(tmp_path: Path, settings: Settings) -> None:
    from dataclasses import replace

    other = replace(
        bundle("other"), spec=replace(SPEC, horizon=40, action_space=type(SPEC.action_space)(-2.0, 2.0, (2,)))
    )
    other.save(tmp_path / "models" / "other")
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        client = Client(http=http, retries=0)
        with pytest.raises(ClientError, match=r"candidates\[1\]: expected a model with the spaces of point@1"):
            client.recognise(walk(EAST), ["point", "other"])


def test_a_tenant_learns_nothing_about_adaptations_of_another(make: Make, http: TestClient) -> None:
    wire = {"observations": [[0, 0, 0], [1, 0, 0]], "actions": [[1, 0]]}
    own = http.post("/v1/adaptations", json={"model": "point", "demos": [wire]}, headers=make("ann")).json()["id"]
    stranger = make("bob")

    def asked(adaptation: str, **more: Any) -> httpx.Response:
        body = {"episodes": [wire], "candidates": [{"adaptation": adaptation, **more}]}
        return http.post("/v1/recognitions", json=body, headers=stranger)

    other, unknown = asked(own), asked(own[:-4] + "zzzz")
    assert other.status_code == unknown.status_code == 404
    assert other.json()["title"] == unknown.json()["title"]
    assert other.json().keys() == unknown.json().keys()
    assert asked(own, version=7).json() | {"detail": "", "got": ""} == other.json() | {"detail": "", "got": ""}
    assert http.post("/v1/recognitions", json={}, headers=make("eve", ("models:read",))).status_code == 403


class Exported(PointingRuntime):
    """Of a bundle that was exported before graphs had heads."""

    def heads(self, *_: Any) -> Any:
        raise NoHeads


def test_an_older_bundle_says_what_to_do(settings: Settings) -> None:
    app = create_app(settings, runtime_factory=Exported)
    with TestClient(app) as http, pytest.raises(ClientError, match="wtl export BUNDLE") as caught:
        Client(http=http, retries=0).recognise(walk(EAST), ["point"])
    assert caught.value.status == 409


def test_a_client_is_told_what_no_candidate_is(client: Client) -> None:
    with pytest.raises(InvalidData, match=r"candidates\[0\]"):
        client.recognise(walk(EAST), [3])
    with pytest.raises(InvalidData, match="candidates"):
        client.recognise(walk(EAST), "point")
