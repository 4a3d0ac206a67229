"""What people look at: episodes with few steps, families of forks, lists by search, keys and the audit log."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.api_keys import Make
from support.bundles import made
from support.pointing import PointingRuntime

from metalearn.data.episode import Episode
from metalearn.data.pictures import decode_picture, from_data_uri, thumbnail
from service.app import create_app
from service.client import Client
from service.client.responses import Origin
from service.settings import Settings

V1 = "/v1/adaptations"
CAMERA = "observation/camera"


def test_episodes_are_read_with_their_quality_and_the_version_that_added_them(
    http: TestClient, client: Client, demo: Episode
) -> None:
    adaptation = client.adapt("point", demos=[demo])
    adaptation.add_trials([Episode.of(demo.observations, demo.actions, [0, 0.1], success=False)])
    first, second = http.get(f"{V1}/{adaptation.id}/episodes").json()["items"]
    assert (first["role"], first["index"], first["since"], first["success"]) == ("demo", 0, 1, True)
    assert (first["length"], first["steps"], first["picture_steps"]) == (2, [0, 1, 2], [])
    assert (first["observations"], first["actions"]) == ([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[1, 0], [0, 1]])
    assert (second["role"], second["index"], second["since"]) == ("trial", 0, 2)
    assert second["rewards"] == [0, 0.1]  # and not 0.10000000149
    assert [warning["code"] for warning in first["quality"]["warnings"]] == ["short", "clipped-actions"]
    [only] = http.get(f"{V1}/{adaptation.id}/episodes?version=1").json()["items"]
    assert only == first


def test_a_long_episode_comes_with_evenly_many_steps(http: TestClient, client: Client) -> None:
    seen = np.stack([np.arange(51), np.zeros(51), np.zeros(51)], axis=1)
    adaptation = client.adapt("point", demos=[Episode.of(seen, np.zeros((50, 2)), np.arange(50.0))])
    [episode] = http.get(f"{V1}/{adaptation.id}/episodes?steps=6").json()["items"]
    assert (episode["length"], episode["steps"]) == (50, [0, 10, 20, 30, 40, 50])
    assert [row[0] for row in episode["observations"]] == episode["steps"]
    assert episode["rewards"] == [0, 10, 20, 30, 40]
    assert len(episode["actions"]) == 5
    answer = http.get(f"{V1}/{adaptation.id}/episodes?steps=1")
    assert (answer.status_code, answer.json()["field"]) == (400, "steps")


def test_episodes_come_in_pages_in_their_order(http: TestClient, client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo, demo])
    adaptation.add_trials([Episode.of(demo.observations, success=False)])
    adaptation.add_demos([demo])
    read, cursor = [], None
    while cursor is not None or not read:
        page = http.get(
            f"{V1}/{adaptation.id}/episodes", params={"limit": 3, "cursor": cursor} if cursor else {"limit": 3}
        )
        read += page.json()["items"]
        cursor = page.json()["next_cursor"]
    assert [(one["role"], one["index"]) for one in read] == [("demo", 0), ("demo", 1), ("trial", 0), ("demo", 2)]


def test_pictures_come_as_files_and_are_what_was_seen(tmp_path: Path, rng: np.random.Generator) -> None:
    made("watched").save(tmp_path / "models" / "watched")
    demo = made("watched").spec.example_episode(rng, 8)
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models", runtime="onnx")
    with TestClient(create_app(settings)) as http:
        adaptation = Client(http=http, retries=0).adapt("watched", demos=[demo])
        [episode] = http.get(f"{V1}/{adaptation.id}/episodes?pictures=3").json()["items"]
    camera = demo.observations["observation/camera"]
    assert episode["picture_steps"] == [0, 4, 8]
    for step, uri in zip([0, 4, 8], episode["observations"]["observation/camera"], strict=True):
        assert (decode_picture("it", from_data_uri("it", uri), camera.shape[1:]) == camera[step]).all()
    assert len(episode["observations"]["arm"]) == 9


@pytest.mark.parametrize("kind", ["watched", "frames in a stack"])
def test_large_pictures_come_as_thumbnails_and_of_frames_in_a_stack_the_last_one(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("service.api.routes.stored_episodes.MOST_PIXELS", 8)
    bundle = replace(made(kind), name="seeing")
    bundle.save(tmp_path / "models" / "seeing")
    demo = bundle.spec.example_episode(rng, 8)
    with TestClient(create_app(Settings(data=tmp_path / "data", models=tmp_path / "models", runtime="onnx"))) as http:
        adaptation = Client(http=http, retries=0).adapt("seeing", demos=[demo])
        [episode] = http.get(f"{V1}/{adaptation.id}/episodes?pictures=3").json()["items"]
        assert adaptation.episodes().demos == (demo,)
    seen = episode["observations"]
    uris, camera = (seen, demo.observations) if isinstance(seen, list) else (seen[CAMERA], demo.observations[CAMERA])
    for step, uri in zip([0, 4, 8], uris, strict=True):
        shrunk = decode_picture("it", from_data_uri("it", uri), (8, 8, 3))
        assert (shrunk == thumbnail(camera[step][..., -3:], 8)).all()


def test_a_family_has_forks_and_forks_of_forks_and_ends_at_what_was_deleted(
    http: TestClient, client: Client, demo: Episode
) -> None:
    client.adapt("point", demos=[demo])  # another family
    first = client.adapt("point", demos=[demo])
    first.add_trials([Episode.of(demo.observations, success=False)])
    child, other = first.fork(1), first.fork(2)
    grandchild = child.fork()
    assert (child.forked_from, first.forked_from) == (Origin(id=first.id, version=1), None)

    def family(of: str) -> list[tuple[str, Any, list[int]]]:
        items = http.get(f"{V1}/{of}/family").json()["items"]
        return [(one["id"], one["forked_from"], [v["version"] for v in one["versions"]]) for one in items]

    whole = [
        (first.id, None, [1, 2]),
        (child.id, {"id": first.id, "version": 1}, [1]),
        (other.id, {"id": first.id, "version": 2}, [1]),
        (grandchild.id, {"id": child.id, "version": 1}, [1]),
    ]
    assert [family(one[0]) for one in whole] == [whole] * 4
    child.delete()
    assert family(first.id) == [whole[0], whole[2]]
    assert family(grandchild.id) == [whole[3]]


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_a_family_is_found_on_every_database(settings: Settings, database_url: str, demo: Episode) -> None:
    settings = settings.model_copy(update={"database": database_url})
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        first = Client(http=http, retries=0).adapt("point", demos=[demo])
        fork = first.fork().fork()
        items = http.get(f"{V1}/{fork.id}/family").json()["items"]
        newest = http.get(f"{V1}?order=newest&limit=1&search={fork.id[:6]}").json()["items"]
    assert [one["id"] for one in items][::2] == [first.id, fork.id]
    assert [one["id"] for one in newest] == [fork.id]


def test_lists_are_searched_and_read_from_either_end(http: TestClient, client: Client, demo: Episode) -> None:
    made = [client.adapt("point", demos=[demo]).id for _ in range(5)]

    def listed(**params: Any) -> list[str]:
        found, cursor = [], None
        while cursor is not None or not found:
            page = http.get(V1, params={"limit": 2, **params, **({"cursor": cursor} if cursor else {})}).json()
            found += [one["id"] for one in page["items"]]
            cursor = page["next_cursor"]
            if not page["items"]:
                break
        return found

    assert listed() == made
    assert listed(order="newest") == made[::-1]
    assert listed(search=made[2][:10]) == [made[2]]
    assert listed(search="oin", model="point", order="newest") == made[::-1]
    assert listed(search="%") == listed(search="_") == listed(model="poin") == listed(search=made[2][1:9]) == []
    assert http.get(V1, params={"order": "best"}).json()["field"] == "order"


def test_a_list_without_confidence_reads_no_episode(http: TestClient, client: Client, demo: Episode) -> None:
    client.adapt("point", demos=[demo])
    for file in http.app.state.container.settings.data.glob("episodes/**/*"):  # type: ignore[attr-defined]
        if file.is_file():
            file.unlink()
    [one] = http.get(f"{V1}?confidence=false").json()["items"]
    assert (one["confidence"], one["n_demos"]) == (None, 1)


def test_training_jobs_are_listed_newest_first_where_that_is_asked_for(http: TestClient) -> None:
    body = {"experiment": "reach-m2", "steps": 10}  # a training outlives its server
    names = [http.post("/v1/training-jobs", json=body | {"id": f"j{i}"}).json()["id"] for i in (1, 2)]
    page = http.get("/v1/training-jobs?order=newest&limit=1").json()
    rest = http.get("/v1/training-jobs", params={"order": "newest", "cursor": page["next_cursor"]}).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == names[::-1]
    for name in names:
        http.delete(f"/v1/training-jobs/{name}")


def test_a_caller_is_told_who_it_is(settings: Settings, http: TestClient, make: Make) -> None:
    assert http.get("/v1/caller").json()["key"] is None
    headers = make("lab", ("jobs",))
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as guarded:
        assert guarded.get("/v1/caller").status_code == 401
        caller = guarded.get("/v1/caller", headers=headers).json()
    assert (caller["tenant"], caller["scopes"]) == ("lab", ["jobs"])
    assert headers["Authorization"].removeprefix("Bearer ").startswith(caller["key"])


def test_keys_and_the_audit_log_are_those_of_the_tenant(settings: Settings, make: Make) -> None:
    lab, other = make("lab"), make("other")
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        http.delete(f"{V1}/nothing", headers=lab)
        http.delete(f"{V1}/secret", headers=other)
        [key] = http.get("/v1/keys", headers=lab).json()["items"]
        audit = http.get("/v1/audit", headers=lab).json()["items"]
        refused = http.get("/v1/audit", headers=make("lab", ("adapt",)))
        first = http.get("/v1/audit?limit=1", headers=lab).json()
        http.delete(f"{V1}/later", headers=lab)
        rest = http.get(
            "/v1/audit", headers=lab, params={"cursor": first["next_cursor"]} if first["next_cursor"] else {}
        )
    assert lab["Authorization"].startswith(f"Bearer {key['prefix']}")
    assert (key["state"], "hash" in key, len(key["prefix"]) < 20) == ("usable", False, True)
    assert [(one["subject"], one["outcome"]) for one in audit] == [(f"{V1}/nothing", "404")]
    assert (refused.status_code, refused.json()["expected"]) == (403, "a key with the scope admin")
    assert [one["subject"] for one in first["items"]] == ["/v1/audit"]
    assert [one["subject"] for one in rest.json()["items"]] == [f"{V1}/nothing"]
