"""Rows in memory are as fresh as the database, whichever server wrote last."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, settings_in

from metalearn.data.episode import Episode
from service.adaptations.row_cache import AdaptationCache
from service.app import create_app
from service.client import Client, ClientError


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Client, Client]]:
    """Two servers on one database."""
    with ExitStack() as stack:
        apps = [create_app(settings_in(tmp_path), runtime_factory=PointingRuntime) for _ in range(2)]
        first, second = (Client(http=stack.enter_context(TestClient(app))) for app in apps)
        yield first, second


def test_an_act_sees_what_any_server_has_acknowledged(servers: tuple[Client, Client], demo: Episode) -> None:
    first, second = servers
    made = first.adapt("point", demos=[demo])
    there = second.adaptation(made.id)
    for i in range(5):
        before = there.act([[0.5, 0.5, 0]]).tolist()
        assert before == made.act([[0.5, 0.5, 0]]).tolist()
        made = made.add_trials([Episode.of([[0, 0, 0], [1, 0, 0]], [[1, 0]], None, bool(i % 2))])
        assert there.act([[0.5, 0.5, 0]]).tolist() == made.act([[0.5, 0.5, 0]]).tolist() != before
    made.delete()
    with pytest.raises(ClientError, match="unknown, deleted or expired"):
        there.act([[0.5, 0.5, 0]])


def test_a_row_is_the_tenants_own_and_the_memory_is_bounded(servers: tuple[Client, Client], tmp_path: Path) -> None:
    ids = [servers[0].adapt("point").id for _ in range(5)]

    async def poll() -> None:
        with closing(AdaptationCache(tmp_path / "data" / "service.sqlite3", capacity=2)) as recall:
            for adaptation_id in ids:
                row = recall.get("default", adaptation_id)
                assert row is not None
                assert (row.id, row.version, row.scored) == (adaptation_id, 1, False)
            assert len(recall._rows) == 2
            assert recall.get("somebody", ids[-1]) is None
            assert recall.get("default", "0" * 24) is None

    asyncio.run(poll())
    with closing(AdaptationCache(None, capacity=2)) as nothing:
        assert nothing.get("default", ids[0]) is None


def test_what_was_written_between_two_turns_of_the_loop_is_seen_in_the_second(
    servers: tuple[Client, Client], tmp_path: Path, demo: Episode
) -> None:
    made = servers[0].adapt("point")

    async def poll() -> list[int]:
        with closing(AdaptationCache(tmp_path / "data" / "service.sqlite3", capacity=2)) as recall:
            versions = []
            for _ in range(3):
                row = recall.get("default", made.id)
                assert row is not None
                versions.append(row.version)
                await asyncio.to_thread(made.add_demos, [demo])
        return versions

    assert asyncio.run(poll()) == [1, 2, 3]
