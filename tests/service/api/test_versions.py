"""Old versions are read, acted from and forked; limits name what they are."""

import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Adaptation, Client
from service.settings import Settings


@pytest.fixture
def path(client: Client, demo: Episode) -> str:
    """Of an adaptation in three versions: sure of nothing, of hypothesis 1, of hypothesis 0."""
    adaptation: Adaptation = client.adapt("point", demos=[demo])
    adaptation.add_trials([Episode.of(demo.observations, success=False)])
    adaptation.add_trials([Episode.of(demo.observations, success=True)])
    return f"/v1/adaptations/{adaptation.id}"


def acted(http: TestClient, path: str) -> list[float]:
    return http.post(path, json={"observations": [[0, 0, 0]]}).json()["actions"][0]


def test_versions_come_in_pages(http: TestClient, path: str) -> None:
    first = http.get(path + "/versions?limit=2").json()
    rest = http.get(path + "/versions", params={"cursor": first["next_cursor"]}).json()
    items = first["items"] + rest["items"]
    assert [(item["version"], item["n_demos"], item["n_trials"], item["scored"]) for item in items] == [
        (1, 1, 0, False),
        (2, 1, 1, True),
        (3, 1, 2, True),
    ]
    assert rest["next_cursor"] is None
    assert all(item["created_at"].endswith("Z") for item in items)


def test_one_can_act_from_an_old_version(http: TestClient, path: str) -> None:
    assert [acted(http, f"{path}/act?version={version}") for version in (1, 2, 3)] == [[1, 1], [-1, -1], [1, 1]]
    assert http.post(f"{path}/act?version=4", json={"observations": [[0, 0, 0]]}).status_code == 404
    assert http.post(f"{path}/act?version=one", json={"observations": [[0, 0, 0]]}).status_code == 400
    episode = http.post(f"{path}/episodes?version=2", json={"explore": False}).json()
    assert episode["version"] == 2
    step = http.post(f"{path}/episodes/{episode['id']}/act", json={"observation": [0, 0, 0]}).json()
    assert step["action"] == [-1, -1]


def test_a_fork_begins_where_a_version_was(http: TestClient, path: str) -> None:
    sent = {"json": {"version": 2}, "headers": {"Idempotency-Key": "fork"}}
    made, again = (http.post(path + "/fork", **sent) for _ in range(2))
    assert (made.status_code, made.json()) == (again.status_code, again.json())
    fork = made.headers["location"]
    assert made.status_code == 201
    assert (fork != path, made.json()["version"], made.json()["n_trials"]) == (True, 1, 1)
    assert acted(http, fork + "/act") == [-1, -1]
    assert http.post(path + "/fork").json()["n_trials"] == 2
    assert http.post(path + "/fork", json={"version": 9}).status_code == 404
    http.delete(path)
    assert acted(http, fork + "/act") == [-1, -1]
    assert len(http.get("/v1/adaptations").json()["items"]) == 2


def test_limits_say_what_they_are_and_what_they_got(settings: Settings, wire: dict[str, object]) -> None:
    changed = settings.model_copy(
        update={"max_episodes": 2, "max_steps": 2, "max_adaptations": 2, "max_storage_bytes": 100}
    )
    longer = {"observations": [[0, 0, 0]] * 4}
    with TestClient(create_app(changed, runtime_factory=PointingRuntime)) as http:

        def refused(path: str, body: object) -> tuple[object, ...]:
            answer = http.post(path, json=body)
            problem = answer.json()
            assert "retry-after" in answer.headers or not problem["type"].endswith("quota-exceeded")
            return answer.status_code, problem["type"].rpartition(":")[2], problem["expected"], problem["got"]

        full = http.post("/v1/adaptations", json={"model": "point", "demos": [wire, wire]}).headers["location"]
        assert refused(full + "/demos", {"demos": [wire]}) == (409, "too-many-episodes", "at most 2", "3")
        create = "/v1/adaptations"
        assert refused(create, {"model": "point", "demos": [longer]}) == (
            422,
            "invalid-payload",
            "at most 2 steps",
            "3 steps",
        )
        room = http.post(create, json={"model": "point", "demos": []}).headers["location"]
        assert refused(create, {"model": "point", "demos": []}) == (409, "quota-exceeded", "at most 2", "3")
        trials = [{"trials": [{"observations": [[n, 0, 0], [n, 1, 1]], "success": True}]} for n in range(2)]
        assert http.post(room + "/trials", json=trials[0]).status_code == 200  # 60 bytes of demo, and 24
        assert refused(room + "/trials", trials[1]) == (409, "quota-exceeded", "at most 100", "108")
        assert http.delete(full).status_code == 204
        assert http.post(create, json={"model": "point", "demos": [wire]}).status_code == 201
