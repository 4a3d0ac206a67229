"""What can be trained on a server is listed, in pages, to those who may train."""

import asyncio
from pathlib import Path

import httpx
from fastapi.testclient import TestClient
from support.api_keys import ALL, Make
from support.pointing import PointingRuntime, settings_in

from metalearn.experiments import EXPERIMENTS
from service.app import create_app
from service.client import AsyncClient, Client, ExperimentInfo


def test_every_experiment_is_listed_with_its_sizes(http: TestClient) -> None:
    items = http.get("/v1/experiments", params={"limit": 100}).json()["items"]
    assert [item["name"] for item in items] == list(EXPERIMENTS)
    large = EXPERIMENTS["ml10-large"]
    assert next(item for item in items if item["name"] == "ml10-large") == {
        "name": "ml10-large",
        "model": "ml10",
        "family": "ml10",
        "suite": "ml10",
        "n_tasks": large.data.n_tasks,
        "demos_per_task": 1,
        "batch_tasks": large.training.batch_tasks,
        "minutes": None,
        "steps": large.training.total_steps,
        "trials_per_task": 3,
        "rounds": 3,
        "n_hypotheses": 8,
        "latent_dim": 256,
    }


def test_what_a_training_decides_is_not_said_before(http: TestClient) -> None:
    reach = http.get("/v1/experiments", params={"limit": 1}).json()["items"][0]
    assert (reach["name"], reach["model"], reach["minutes"]) == (
        "reach-m2",
        "reach",
        EXPERIMENTS["reach-m2"].training.minutes,
    )
    assert {name for name, value in reach.items() if value is None} == {
        "n_tasks", "steps", "trials_per_task", "rounds", "n_hypotheses", "latent_dim"
    }  # fmt: skip


def test_pages_follow_each_other(http: TestClient) -> None:
    names, cursor = [], None
    while len(names) < len(EXPERIMENTS):
        page = http.get("/v1/experiments", params={"limit": 5} | ({"cursor": cursor} if cursor else {})).json()
        assert 1 <= len(page["items"]) <= 5
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert names == list(EXPERIMENTS)
    assert cursor is None
    assert http.get("/v1/experiments", params={"cursor": "nonsense"}).json()["field"] == "cursor"


def test_a_server_that_trains_nothing_lists_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(update={"training_jobs": 0})
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        assert http.get("/v1/experiments").json() == {"items": [], "next_cursor": None}


def test_it_takes_the_scope_of_training_jobs(http: TestClient, make: Make) -> None:
    assert http.get("/v1/experiments", headers=make("a", ("jobs",))).status_code == 200
    refused = http.get("/v1/experiments", headers=make("a", tuple({*ALL} - {"jobs"})))
    assert (refused.status_code, refused.json()["expected"]) == (403, "a key with the scope jobs")


def test_both_clients_return_all_of_them(http: TestClient, client: Client) -> None:
    found = client.experiments()
    assert [one.name for one in found] == list(EXPERIMENTS)
    assert isinstance(found[0], ExperimentInfo)
    assert (found[0].model, found[0].minutes) == ("reach", EXPERIMENTS["reach-m2"].training.minutes)

    async def ask() -> list[ExperimentInfo]:
        transport = httpx.ASGITransport(http.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as connection:
            return await AsyncClient(http=connection).experiments()

    assert asyncio.run(ask()) == found
