"""A served fake model: a numpy runtime behind the engine's own protocol, and real everything else."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support import postgres as postgres_server
from support.api_keys import ALL, Make
from support.pointing import PointingRuntime, settings_in

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client
from service.security.api_keys import ApiKeys
from service.settings import Settings
from service.storage import migrations
from service.storage.database import Database


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Postgres]:
    """A real PostgreSQL, with a database `ready` that is migrated."""
    try:
        with postgres_server.running() as server:
            server.execute("CREATE DATABASE ready")
            migrations.upgrade(server.url("ready"))
            yield server
    except postgres_server.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'service.sqlite3'}"
    return request.getfixturevalue("postgres").create("ready")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings, runtime_factory=PointingRuntime)


@pytest.fixture
def http(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(http: TestClient) -> Client:
    return Client(http=http, retries=0)


@pytest.fixture
def demo() -> Episode:
    return Episode.of([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[1, 0], [0, 1]], [0, 1], True)


@pytest.fixture
def wire(demo: Episode) -> dict[str, object]:
    """The demo as JSON."""
    assert demo.actions is not None
    assert demo.rewards is not None
    return {
        "observations": demo.observations.tolist(),
        "actions": demo.actions.tolist(),
        "rewards": demo.rewards.tolist(),
        "success": demo.success,
    }


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def keys(settings: Settings) -> Iterator[ApiKeys]:
    settings.data.mkdir(exist_ok=True)
    with closing(Database(settings.database_url)) as database:
        yield ApiKeys(database)


@pytest.fixture
def make(keys: ApiKeys) -> Make:
    """The header of a new key."""

    def make(tenant: str, scopes: tuple[str, ...] = ALL, expires_at: float | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {keys.create(tenant, scopes, time.time(), '', expires_at)[0]}"}

    return make
