"""Clocks that jump, either way, while a server runs and between two runs: nothing is lost, and everything expires."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client, ClientError
from service.security.api_keys import ApiKeys
from service.settings import Settings
from service.storage.database import Database

DAY_S = 86400.0


@dataclass
class Clocks:
    """A wall clock that can be set, and a monotonic one."""

    wall: float = 1.8e9
    passed: float = 500.0

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@contextmanager
def running(settings: Settings, clocks: Clocks) -> Iterator[tuple[Client, TestClient]]:
    app = create_app(
        settings, runtime_factory=PointingRuntime, now=lambda: clocks.wall, monotonic=lambda: clocks.passed
    )
    with TestClient(app) as http:
        yield Client(http=http, retries=0), http


def sweep(http: TestClient) -> None:
    http.app.state.container.sweep()  # type: ignore[attr-defined]


def exists(settings: Settings) -> bool:
    return any((settings.data / "episodes").iterdir())


@pytest.mark.parametrize("jump_s", [2 * DAY_S, -2 * DAY_S, 56 * 365 * DAY_S, -56 * 365 * DAY_S, 30 * 60.0])
def test_a_jump_expires_nothing_and_keeps_nothing_forever(
    settings: Settings, clocks: Clocks, demo: Episode, jump_s: float
) -> None:
    with running(settings, clocks) as (client, http):
        before = client.adapt("point", demos=[demo])
        clocks.wall += jump_s
        sweep(http)
        assert client.adaptation(before.id).version == 1
        after = client.adapt("point", demos=[Episode.of(demo.observations)])
        assert abs(float(http.app.state.container.clock.to_wall(0.0)) - jump_s) < 1  # type: ignore[attr-defined]
        for _ in range(24):
            clocks.wait(DAY_S / 24)
            sweep(http)
        for one in (before, after):
            with pytest.raises(ClientError, match="expired"):
                client.adaptation(one.id)
        assert not exists(settings)


def test_a_jump_there_and_back_changes_nothing(settings: Settings, clocks: Clocks, demo: Episode) -> None:
    with running(settings, clocks) as (client, http):
        one = client.adapt("point", demos=[demo])
        for jump_s in (2 * DAY_S, -2 * DAY_S, -2 * DAY_S, 2 * DAY_S):
            clocks.wall += jump_s
            sweep(http)
        assert client.adaptation(one.id).expires_at == one.expires_at


def test_a_clock_that_was_ahead_at_the_start_deletes_nothing_if_it_is_put_right_in_time(
    settings: Settings, clocks: Clocks, demo: Episode
) -> None:
    with running(settings, clocks) as (client, http):
        one = client.adapt("point", demos=[demo])
    clocks.wall += 2 * DAY_S
    with running(settings, clocks) as (client, http):
        sweep(http)
        with pytest.raises(ClientError, match="expired"):
            client.adaptation(one.id)
        meanwhile = client.adapt("point", demos=[demo.without_actions()])
        clocks.wait(1800)
        sweep(http)
        clocks.wall -= 2 * DAY_S
        sweep(http)
        assert client.adaptation(one.id).version == 1
        for _ in range(25):
            clocks.wait(3600)
            sweep(http)
        with pytest.raises(ClientError, match="expired"):
            client.adaptation(meanwhile.id)


def test_the_time_in_which_nobody_ran_counts(settings: Settings, clocks: Clocks, demo: Episode) -> None:
    with running(settings, clocks) as (client, _):
        one = client.adapt("point", demos=[demo])
    clocks.wait(2 * DAY_S)
    with running(settings, clocks) as (client, http):
        sweep(http)
        with pytest.raises(ClientError, match="expired"):
            client.adaptation(one.id)
        assert exists(settings)
        clocks.wait(settings.clock_settle_s + 1)
        sweep(http)
        sweep(http)
        assert not exists(settings)


def test_a_machine_without_a_battery_for_its_clock_keeps_what_it_has(
    settings: Settings, clocks: Clocks, demo: Episode
) -> None:
    right, clocks.wall = clocks.wall, 0.0
    with running(settings, clocks) as (client, http):
        one = client.adapt("point", demos=[demo])
        clocks.wait(30)
        clocks.wall = right  # the network is there
        sweep(http)
        assert client.adaptation(one.id).version == 1
    clocks.wall = 0.0
    with running(settings, clocks) as (client, http):
        assert client.adaptation(one.id).version == 1
        clocks.wall = right + 600
        sweep(http)
        assert client.adaptation(one.id).version == 1


def test_two_servers_count_the_same_time(settings: Settings, clocks: Clocks, demo: Episode) -> None:
    wrong = Clocks(clocks.wall - 3 * DAY_S, 7.0)
    with running(settings, clocks) as (client, http), running(settings, wrong) as (other, other_http):
        one = client.adapt("point", demos=[demo])
        assert other.adaptation(one.id).version == 1
        two = other.adapt("point", demos=[demo])
        assert client.adaptation(two.id).version == 1
        for _ in range(25):
            clocks.wait(3600)
            wrong.wait(3600)
            sweep(http)
            sweep(other_http)
        for server in (client, other):
            assert list(server.adaptations()) == []


def test_a_clock_that_is_put_back_revives_no_key_and_keeps_no_revoked_one(settings: Settings, clocks: Clocks) -> None:
    settings.data.mkdir(exist_ok=True)
    with closing(Database(settings.database_url)) as database:
        keys = ApiKeys(database)
        brief, _ = keys.create("a", ["adapt"], clocks.wall, expires_at=clocks.wall + 60)
        lasting, key = keys.create("a", ["adapt"], clocks.wall)
    with running(settings, clocks) as (_, http):

        def status(secret: str) -> int:
            return http.get("/v1/adaptations", headers={"Authorization": f"Bearer {secret}"}).status_code

        assert (status(brief), status(lasting)) == (200, 200)
        clocks.wait(61)
        assert status(brief) == 401
        with closing(Database(settings.database_url)) as database:
            ApiKeys(database).revoke(key.prefix, clocks.wall)
        assert status(lasting) in {200, 401}
        clocks.wall -= 2 * DAY_S
        clocks.passed += settings.key_cache_s + 1
        assert (status(brief), status(lasting)) == (401, 401)
