"""Versions and aliases of models: registered, moved and rolled back while the server runs, and seen by all servers."""

import asyncio
import gc
import json
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, bundle, calibrated
from support.serving import served as socket_served

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from service.app import create_app
from service.client import AsyncClient, Client, ClientError
from service.container import Container
from service.registry.bundle_store import BundleStore
from service.registry.model_cache import Model, ModelCache
from service.settings import Settings
from wtl.cli import main

GAINS = {1: 1.0, 2: 0.5, 3: 0.25}
ORIGIN = [[0.0, 0.0, 0.0]]


@contextmanager
def served(settings: Settings) -> Iterator[Client]:
    with TestClient(create_app(settings, runtime_factory=PointingRuntime), raise_server_exceptions=False) as http:
        yield Client(http=http, retries=0)


def service_of(client: Client) -> Container:
    return client._http.app.state.container  # type: ignore[attr-defined]


def put(settings: Settings, version: int, name: str = "point") -> None:
    """Lay the bundle that is to become this version into the models folder."""
    bundle(name, GAINS[version]).save(settings.models / name)


@pytest.fixture
def three(settings: Settings, client: Client) -> Client:
    """A server with `point` in versions 1, 2 and 3."""
    for version in (2, 3):
        put(settings, version)
        assert [row.version for row in client.register("point")] == [version]
    return client


def test_an_alias_names_a_version_and_an_adaptation_keeps_it(three: Client, demo: Episode) -> None:
    assert three.set_alias("point", "stable", 1).version == 1
    old = three.adapt("point@stable", demos=[demo])
    three.set_alias("point", "stable", 2)
    new = three.adapt("point@stable", demos=[demo])
    assert (old.model_version, new.model_version) == (1, 2)
    assert three.adaptation(old.id).model_version == three.adaptation(old.id).fork().model_version == 1
    np.testing.assert_array_equal(three.adaptation(old.id).act(ORIGIN), [[1, 1]])
    np.testing.assert_array_equal(new.act(ORIGIN), [[0.5, 0.5]])
    assert three.adapt("point", demos=[demo]).model_version == three.adapt("point@current").model_version == 3
    assert three.model("point", 2).aliases == ("stable",)
    assert three.model("point").aliases == ("current",)
    assert three.models()[0].runtime == "PointingRuntime"


def test_one_call_goes_back_and_one_more_goes_further_back(three: Client) -> None:
    for version in (1, 1, 2, 3):  # the same again is no move
        three.set_alias("point", "stable", version)
    assert [three.rollback("point", "stable").version for _ in range(2)] == [2, 1]
    with pytest.raises(ClientError) as refused:
        three.rollback("point", "stable")
    assert refused.value.type == "urn:problem-type:wtl:nothing-before"
    three.delete_alias("point", "stable")
    assert "stable" not in three.aliases("point").current
    assert three.rollback("point", "stable").version == 1
    known = three.aliases("point")
    assert known.current == {"current": 3, "stable": 1}
    assert [(move.action, move.version) for move in known.history if move.alias == "stable"] == [
        ("rollback", 1), ("delete", None), ("rollback", 1), ("rollback", 2), ("set", 3), ("set", 2), ("set", 1),
    ]  # fmt: skip
    page = three.request("GET", "/v1/models/point/aliases", limit=3)
    rest = three.request("GET", "/v1/models/point/aliases", limit=100, cursor=page["next_cursor"])
    assert len(page["items"]) == 3
    assert len(page["items"] + rest["items"]) == len(known.history)


def test_a_rollback_that_is_repeated_happens_once(three: Client) -> None:
    for version in (1, 2, 3):
        three.set_alias("point", "stable", version)
    http, path = three._http, "/v1/models/point/aliases/stable/rollback"
    first, second = (http.post(path, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json()["version"] == 2
    assert first.json() == second.json()
    assert three.aliases("point").current["stable"] == 2


def test_what_a_name_alone_means_can_be_moved_and_taken_off_offer(three: Client, demo: Episode) -> None:
    made = three.adapt("point", demos=[demo])
    assert three.rollback("point", "current").version == 2
    assert three.adapt("point").model_version == 2
    three.delete_alias("point", "current")
    assert three.models() == []
    with pytest.raises(ClientError, match="no models"):
        three.adapt("point")
    np.testing.assert_array_equal(three.adaptation(made.id).act(ORIGIN), [[0.25, 0.25]])
    assert three._http.get("/readyz").status_code == 503
    assert [row.version for row in three.register()] == [3]
    assert three.adapt("point").model_version == 3


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/point/aliases/3", {"version": 1}, 400),
        ("PUT", "/point/aliases/Stable", {"version": 1}, 400),
        ("PUT", "/point/aliases/a_b", {"version": 1}, 400),
        ("PUT", "/point/aliases/" + "a" * 64, {"version": 1}, 400),
        ("PUT", "/point/aliases/stable", {"version": 9}, 422),
        ("PUT", "/point/aliases/stable", {"version": "1"}, 422),
        ("PUT", "/point/aliases/stable", {"version": 0}, 422),
        ("PUT", "/point/aliases/stable", {}, 422),
        ("PUT", "/nothing/aliases/stable", {"version": 1}, 404),
        ("GET", "/nothing/aliases", None, 404),
        ("GET", "/nothing/versions", None, 404),
        ("DELETE", "/point/aliases/stable", None, 404),
        ("POST", "/point/aliases/stable/rollback", None, 404),
        ("POST", "/point/aliases/current/rollback", None, 409),
        ("POST", "", {"name": "nothing"}, 422),
        ("POST", "", {"name": ".."}, 422),
        ("POST", "", {"name": "../outside"}, 422),
        ("POST", "", {"name": "point/../../outside"}, 422),
        ("POST", "", {"name": "/etc"}, 422),
        ("POST", "", {"name": "point\u0000"}, 422),
        ("POST", "", {"name": ""}, 422),
        ("POST", "", {"folder": "point"}, 422),
    ],
)
def test_bad_requests_change_nothing(
    settings: Settings, http: TestClient, method: str, path: str, body: object, status: int
) -> None:
    bundle("outside").save(settings.models.parent / "outside")
    before = http.get("/v1/models/point/aliases").json()
    answer = http.request(method, f"/v1/models{path}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert str(settings.models.parent) not in answer.text
    assert http.get("/v1/models/point/aliases").json() == before
    assert [card["name"] for card in http.get("/v1/models").json()["items"]] == ["point"]


@pytest.mark.parametrize("reference", ["point@stable", "point@0", "point@", "point@01", "point@9", "@stable", "../x@y"])
def test_unknown_references_are_refused(client: Client, reference: str) -> None:
    with pytest.raises(ClientError) as refused:
        client.adapt(reference)
    assert (refused.value.status, refused.value.field) == (422, "model")


def test_registering_is_idempotent_and_a_rescan_finds_what_is_new(settings: Settings, client: Client) -> None:
    assert client.register() == client.register()
    put(settings, 2)
    put(settings, 1, "other")
    assert [(row.name, row.version) for row in client.register()] == [("other", 1), ("point", 2)]
    assert [(row.name, row.version) for row in client.register("point")] == [("point", 2)]
    assert [model.name for model in client.models()] == ["other", "point"]
    client.rollback("point", "current")
    client.register()  # the folder has not changed since: it moves nothing
    assert client.model("point").version == 1
    client.register("point")  # by name it does
    assert client.model("point").version == 2
    listed = client.request("GET", "/v1/models/point/versions")["items"]
    assert [(row["version"], row["aliases"], row["bundle"]) for row in listed] == [
        (1, [], bundle(gain=1.0).id),
        (2, ["current"], bundle(gain=0.5).id),
    ]


def test_a_damaged_bundle_is_refused_and_changes_nothing(settings: Settings, client: Client, demo: Episode) -> None:
    put(settings, 2)
    put(settings, 1, "broken")
    weights = settings.models / "broken" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    for name in (None, "broken"):
        with pytest.raises(ClientError) as refused:
            client.register(name)
        assert (refused.value.status, refused.value.type) == (409, "urn:problem-type:wtl:bundle-unusable")
        assert str(settings.models) not in refused.value.detail
    assert [(model.name, model.version) for model in client.models()] == [("point", 1)]
    assert client.adapt("point", demos=[demo]).model_version == 1
    with pytest.raises(ClientError):
        client.request("GET", "/v1/models/broken/versions")


def test_a_training_that_finished_stays_current_after_a_restart(settings: Settings) -> None:
    with served(settings) as client:
        made = service_of(client).registry.register(bundle(gain=0.5), "point")
        assert (made.version, client.model("point").version) == (2, 2)
        assert service_of(client).registry.register(bundle(gain=0.5), "point").version == 2
    with served(settings) as client:
        assert client.model("point").version == 2
    put(settings, 3)
    with served(settings) as client:  # a folder that has changed is news
        assert client.model("point").version == 3


def test_a_restart_undoes_no_roll_back(settings: Settings) -> None:
    with served(settings) as client:
        put(settings, 2)
        assert client.register("point") == client.register("point")
        client.rollback("point", "current")
        put(settings, 1, "fresh")
        client.register()
        service_of(client).registry.register(bundle(gain=0.5), "fresh")
    with served(settings) as client:
        assert [(model.name, model.version) for model in client.models()] == [("fresh", 2), ("point", 1)]
        assert [move.version for move in client.aliases("point").history] == [1, 2, 1]


@pytest.mark.slow
def test_nobody_notices_a_swap(settings: Settings, demo: Episode) -> None:
    """Requests go on while an alias moves back and forth and versions are registered, loaded and let go."""
    with served(settings.model_copy(update={"cached_model_versions": 0})) as client:
        put(settings, 2)
        client.register()
        client.set_alias("point", "stable", 1)
        stop, failures, seen = threading.Event(), [], []
        kept = client.adapt("point@1", demos=[demo])

        def use() -> None:
            try:
                while not stop.is_set():
                    adaptation = client.adapt("point@stable", demos=[demo])
                    seen.append(adaptation.model_version)
                    np.testing.assert_array_equal(adaptation.act(ORIGIN), [[GAINS[adaptation.model_version]] * 2])
                    assert client.adaptation(adaptation.id).model_version == adaptation.model_version
                    np.testing.assert_array_equal(kept.act(ORIGIN), [[1, 1]])
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for i in range(6):
                client.set_alias("point", "stable", 2)
                if i == 3:
                    put(settings, 3)
                    client.register("point")
                    client.set_alias("point", "stable", 3)
                    client.rollback("point", "stable")
                used = len(seen)
                while len(seen) < used + 4 and not failures:
                    time.sleep(0.002)
                client.rollback("point", "stable")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failures == []
        assert set(seen) >= {1, 2}
        assert client.model("point").version == 3


def test_servers_on_one_database_agree_at_once(
    settings: Settings, tmp_path: Path, database_url: str, demo: Episode
) -> None:
    shared = settings.model_copy(update={"database": database_url})
    with served(shared) as here, served(shared) as there:
        put(settings, 2)
        here.register("point")
        assert there.model("point").version == there.adapt("point", demos=[demo]).model_version == 2
        here.set_alias("point", "stable", 1)
        made = there.adapt("point@stable", demos=[demo])
        np.testing.assert_array_equal(made.act(ORIGIN), [[1, 1]])
        there.set_alias("point", "stable", 2)
        assert here.adapt("point@stable").model_version == 2
        assert here.rollback("point", "stable").version == 1
        assert there.aliases("point").current == {"current": 2, "stable": 1}
        service_of(here).registry.register(bundle(gain=0.25), "fresh")
        assert [model.name for model in there.models()] == ["fresh", "point"]
        np.testing.assert_array_equal(there.adapt("fresh", demos=[demo]).act(ORIGIN), [[0.25, 0.25]])
        there.delete_alias("point", "stable")
        with pytest.raises(ClientError, match="NAME@ALIAS"):
            here.adapt("point@stable")


def test_versions_are_loaded_when_wanted_and_let_go_when_not(settings: Settings, demo: Episode) -> None:
    with served(settings) as client:
        for version in (2, 3):
            put(settings, version)
            client.register()
    with served(settings.model_copy(update={"cached_model_versions": 1})) as client:

        def runtimes() -> list[bool]:
            rows = client.request("GET", "/v1/models/point/versions")["items"]
            return [row["runtime"] is not None for row in rows]

        assert runtimes() == [False, False, True]
        assert client.model("point", 1).runtime is None  # to read a card loads nothing
        first = client.adapt("point@1", demos=[demo])
        assert runtimes() == [True, False, True]
        client.adapt("point@2", demos=[demo])
        assert runtimes() == [False, True, True]
        np.testing.assert_array_equal(first.act(ORIGIN), [[1, 1]])
        assert runtimes() == [True, False, True]


def test_an_episode_that_is_never_finished_keeps_no_model_in_memory(settings: Settings, demo: Episode) -> None:
    with served(settings) as client:
        put(settings, 2)
        client.register()
    with served(settings.model_copy(update={"cached_model_versions": 0})) as client:
        client.adapt("point@1", demos=[demo]).episode().act(ORIGIN[0])
        runtime = weakref.ref(service_of(client).registry.get("point", 1).runtime)
        client.adapt("point@2", demos=[demo])
        gc.collect()
        assert runtime() is None


def test_what_is_in_use_is_not_let_go() -> None:
    def model(version: int) -> Model:
        source = bundle(gain=float(version))
        return Model("point", version, source, PointingRuntime(source))

    loaded = ModelCache(1)
    loaded.note("point", 9)
    used = loaded.load(("point", 1), lambda: model(1))
    for version in (2, 9, 3):
        loaded.load(("point", version), lambda version=version: model(version))
    assert loaded.get(("point", 1)) is used
    assert loaded.load(("point", 1), lambda: pytest.fail("it is in memory")) is used
    assert [loaded.get(("point", version)) is None for version in (2, 3, 9)] == [True, True, False]


def test_whoever_wants_the_same_version_waits_for_one_loading() -> None:
    source, made, loaded = bundle(), [], ModelCache(1)
    barrier = threading.Barrier(4)

    def make() -> Model:
        made.append(Model("point", 1, source, PointingRuntime(source)))
        return made[-1]

    found: list[Model] = []

    def load() -> None:
        barrier.wait()
        found.append(loaded.load(("point", 1), make))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found == made * 4


@pytest.mark.parametrize("kind", ["folder", "file", "memory"])
def test_bundles_are_kept_anywhere_and_checked_when_read(kind: str, tmp_path: Path) -> None:
    place = {"folder": str(tmp_path / "kept"), "file": f"file://{tmp_path / 'kept'}", "memory": f"memory://{tmp_path}"}
    bundles, source = BundleStore(place[kind]), calibrated(bundle())
    with pytest.raises(InvalidConfig, match="is stored"):
        bundles.read(source.id)
    bundles.keep(source.id, bundle())
    assert bundles.read(source.id).confidence is None
    bundles.keep(source.id, source)  # the same weights, with more beside them
    found = bundles.read(source.id)
    assert (found.id, found.report, found.confidence is None) == (source.id, source.report, False)
    other = bundle(gain=0.5)
    bundles.keep("0" * 64, other)
    with pytest.raises(InvalidConfig, match="stored as"):
        bundles.read("0" * 64)
    name = f"{source.id}.zip"
    content = bundles._store.get(name)
    for broken in (content[:-9], b"", content.replace(np.float32(1).tobytes(), np.float32(2).tobytes(), 1)):
        bundles._store.put({name: broken})
        with pytest.raises(InvalidConfig):
            bundles.read(source.id)


def test_a_version_is_read_from_a_url_and_one_that_is_gone_is_a_problem(settings: Settings, tmp_path: Path) -> None:
    kept = settings.model_copy(update={"bundles": f"memory://{tmp_path}/kept"})
    with served(kept) as client:
        put(settings, 2)
        client.register()
    with served(kept) as client:
        assert client.adapt("point@1").model_version == 1
        assert client.set_alias("point", "stable", 1).version == 1
    with served(kept) as client:
        store = service_of(client).registry._bundles._store
        store.delete(f"{bundle().id}.zip")
        for ask in (lambda: client.adapt("point@stable"), lambda: client.set_alias("point", "canary", 1)):
            with pytest.raises(ClientError) as refused:
                ask()
            assert refused.value.type == "urn:problem-type:wtl:model-unavailable"
        assert client.aliases("point").current == {"current": 2, "stable": 1}


def test_a_repeated_post_is_about_the_same_version(three: Client, wire: dict[str, object]) -> None:
    three.set_alias("point", "stable", 1)
    body = {"model": "point@stable", "demos": [wire]}
    first = three._http.post("/v1/adaptations", json=body, headers={"Idempotency-Key": "same"})
    three.set_alias("point", "stable", 2)
    again = three._http.post("/v1/adaptations", json=body, headers={"Idempotency-Key": "same"})
    assert (first.status_code, again.json()["model_version"]) == (201, 1)
    assert again.json() == first.json()


async def _asked(url: str) -> None:
    async with AsyncClient(url) as client:
        assert [row.version for row in await client.register("point")] == [2]
        assert (await client.set_alias("point", "stable", 1)).version == 1
        assert (await client.set_alias("point", "stable", 2)).version == 2
        assert (await client.rollback("point", "stable")).version == 1
        assert (await client.aliases("point")).current == {"current": 2, "stable": 1}
        await client.delete_alias("point", "stable")
        assert [row.version for row in await client.model_versions("point")] == [1, 2]


def test_the_command_line_and_the_awaiting_client_do_it_too(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket_served(create_app(settings, runtime_factory=PointingRuntime)) as url:
        put(settings, 2)
        asyncio.run(_asked(url))
        at = ["--url", url]
        assert main(["models", "register", "point", *at]) == 0
        assert main(["models", "register", *at]) == 0
        assert "point@2" in capsys.readouterr().out
        assert main(["models", "alias", "point", "canary", "1", *at]) == 0
        assert main(["models", "alias", "point", "canary", "2", *at]) == 0
        assert main(["models", "rollback", "point", "canary", *at]) == 0
        act_response = [line for line in capsys.readouterr().out.splitlines() if line.startswith("point@")]
        assert act_response == [f"point@canary is version {n} now" for n in (1, 2, 1)]
        assert main(["models", "aliases", "point", "--json", *at]) == 0
        printed = capsys.readouterr().out
        assert json.loads(printed[printed.index("{\n") :])["current"] == {"canary": 1, "current": 2}
        assert main(["models", "aliases", "point", *at]) == 0
        assert "canary" in capsys.readouterr().out
        assert main(["models", "alias", "point", "canary", "9", *at]) == 2
        assert "one of 1, 2" in capsys.readouterr().err
    assert main(["models", str(settings.models)]) == 0
    assert "point" in capsys.readouterr().out
