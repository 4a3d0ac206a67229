"""The database, of either kind: its history, its locks, what two servers do to one another's rows, and quotas."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig
from service.adaptations.quota import Quota
from service.adaptations.recordings import RecordingRepository, Step
from service.adaptations.records import Adaptation, FinishRecording, RecordingRow, StepConflict
from service.adaptations.repository import AdaptationRepository
from service.errors import AdaptationNotFound, EpisodeFinished, IdempotencyKeyReused, QuotaExceeded, TooManyEpisodes
from service.storage import migrations
from service.storage.database import Database
from service.storage.episode_store import EpisodeStore
from service.storage.idempotency import IdempotencyKey
from service.storage.tables import metadata


def episode(seed: int, n_steps: int = 3) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode.of(rng.normal(size=(n_steps + 1, 3)), rng.normal(size=(n_steps, 2)), success=True)


def adaptation(number: int, tenant: str = "a") -> Adaptation:
    return Adaptation(f"{number:024x}", tenant, "point", 1, 1, 1, 0, False, {}, 1.0, 1e12)


@pytest.fixture
def servers(database_url: str, tmp_path: Path) -> Iterator[list[AdaptationRepository]]:
    """Two servers' worth of connections to one database."""
    databases = [Database(database_url) for _ in range(2)]
    quota = Quota(n_episodes=5, n_adaptations=4, n_bytes=10_000)
    yield [
        AdaptationRepository(database, EpisodeStore(tmp_path / "episodes"), quota, time.time) for database in databases
    ]
    for database in databases:
        database.close()


@pytest.fixture
def storage(servers: list[AdaptationRepository]) -> AdaptationRepository:
    return servers[0]


def files(tmp_path: Path) -> set[str]:
    return {path.stem for path in (tmp_path / "episodes").iterdir()}


def together(*works: object) -> list[object]:
    """Run at the same moment; answers or exceptions."""
    barrier = threading.Barrier(len(works))

    def run(work: object) -> object:
        barrier.wait()
        try:
            return work()  # type: ignore[operator]
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_the_history_ends_at_the_tables(database_url: str) -> None:
    Database(database_url).close()
    engine = sa.create_engine(database_url)
    with engine.connect() as c:
        context = MigrationContext.configure(c, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    with engine.begin() as c:
        c.exec_driver_sql("ALTER TABLE keys DROP COLUMN label")
    with engine.connect() as c:  # the comparison can fail
        assert compare_metadata(MigrationContext.configure(c), metadata) != []
    engine.dispose()


def test_postgresql_is_migrated_by_hand(postgres) -> None:
    url = postgres.create()
    with pytest.raises(InvalidConfig, match="run `wtl migrate`"):
        Database(url)
    assert migrations.upgrade(url)[0] is None
    Database(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as c:
        c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(InvalidConfig, match="newer server"):
        Database(url)
    with pytest.raises(InvalidConfig, match="newer server"):
        migrations.upgrade(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://x", "expected sqlite"),
        ("nonsense", "cannot be read"),
        ("sqlite://", "is lost with the process"),
        ("postgresql+psycopg://wtl@127.0.0.1:1/wtl", "cannot be reached"),
    ],
)
def test_databases_that_cannot_be_used_are_named(url: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        Database(url)


def test_two_servers_start_on_one_empty_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    opened = together(*[lambda: Database(url)] * 4)
    assert all(isinstance(database, Database) for database in opened), opened
    for database in opened:
        database.close()  # type: ignore[attr-defined]


def test_versions_made_at_the_same_time_at_two_servers_are_all_there(servers: list[AdaptationRepository]) -> None:
    made = servers[0].create(adaptation(1), Context((episode(0),)), None)
    works = [
        lambda server=server, seed=seed: server.extend(made, "trial", [episode(seed)], 1e12, None)
        for seed, server in enumerate(servers * 2, 1)
    ]
    answers = together(*works)
    assert sorted(answer.version for answer in answers) == [2, 3, 4, 5]  # type: ignore[attr-defined]
    assert set(servers[1].context(made.id, 5).trials) == {episode(seed) for seed in range(1, 5)}


def test_the_same_post_at_two_servers_makes_one_thing(servers: list[AdaptationRepository]) -> None:
    idempotency_key, context = IdempotencyKey("a", "key", "print"), Context((episode(0),))
    works = [
        lambda server=server, i=i: server.create(adaptation(i), context, idempotency_key)
        for i, server in enumerate(servers * 2)
    ]
    ids = {made.id for made in together(*works)}  # type: ignore[attr-defined]
    assert len(ids) == 1
    assert {made.id for made in servers[0].page("a", 9, 0, 0.0)[0]} == ids
    other = IdempotencyKey("b", "key", "another")
    assert servers[0].create(adaptation(9, "b"), context, other).id not in ids
    with pytest.raises(IdempotencyKeyReused):
        servers[1].create(adaptation(8), context, IdempotencyKey("a", "key", "another"))


def test_what_failed_does_not_use_up_its_key(storage: AdaptationRepository) -> None:
    idempotency_key = IdempotencyKey("a", "key", "print")
    with pytest.raises(TooManyEpisodes):
        storage.create(dataclasses.replace(adaptation(1), n_demos=6), Context(), idempotency_key)
    with pytest.raises(AdaptationNotFound):
        storage.extend(adaptation(1), "demo", [episode(1)], 1e12, idempotency_key)
    assert storage.completed(idempotency_key) is None
    assert storage.create(adaptation(1), Context(), idempotency_key).id == adaptation(1).id


def test_episodes_deleted_here_and_stored_there_at_the_same_time_are_there(
    servers: list[AdaptationRepository], tmp_path: Path
) -> None:
    shared = Context((episode(0),))
    for i in range(20):
        old = servers[0].create(adaptation(2 * i), shared, None)
        deleted, made = together(
            lambda old=old: servers[0].delete("a", old.id),
            lambda i=i: servers[1].create(adaptation(2 * i + 1), shared, None),
        )
        assert deleted is True
        assert servers[0].context(made.id, 1) == shared  # type: ignore[attr-defined]
        assert servers[1].delete("a", made.id)  # type: ignore[attr-defined]
        assert files(tmp_path) == set()


def test_a_fork_shares_episodes_and_goes_its_own_way(storage: AdaptationRepository, tmp_path: Path) -> None:
    source = storage.create(adaptation(1), Context((episode(0),)), None)
    storage.extend(source, "trial", [episode(1)], 1e12, None)
    fork = storage.fork(source, dataclasses.replace(source, id=f"{2:024x}"), None)
    assert storage.context(fork.id, 1) == Context((episode(0),))
    storage.extend(fork, "trial", [episode(2)], 1e12, None)
    assert storage.context(source.id, 2).trials == (episode(1),)
    assert len(files(tmp_path)) == 3
    storage.delete("a", source.id)
    assert files(tmp_path) == {episode(0).digest, episode(2).digest}
    assert storage.context(fork.id, 2) == Context((episode(0),), (episode(2),))


def test_a_tenant_has_so_many_adaptations_and_bytes(storage: AdaptationRepository) -> None:
    big = [episode(seed, n_steps=150) for seed in range(4)]  # 3 KB each
    first = storage.create(adaptation(0), Context(tuple(big[:3])), None)
    with pytest.raises(QuotaExceeded) as caught:
        storage.create(adaptation(1), Context((big[3],)), None)
    assert (caught.value.expected, int(caught.value.headers["Retry-After"]) > 0) == ("at most 10000", True)
    again = storage.create(adaptation(1), Context(tuple(big[:3])), None)  # nothing new: no more room is taken
    storage.create(adaptation(2, "b"), Context((big[3],)), None)
    storage.delete("a", first.id)
    storage.delete("a", again.id)
    for i in range(4):
        storage.create(adaptation(10 + i, "c"), Context(), None)
    with pytest.raises(QuotaExceeded, match="4 adaptations"):
        storage.create(adaptation(20, "c"), Context(), None)
    with pytest.raises(QuotaExceeded):
        storage.fork(adaptation(10, "c"), adaptation(20, "c"), None)
    with storage.database.read() as c:
        counts = c.exec_driver_sql("SELECT name, n_adaptations, n_bytes FROM tenants ORDER BY name").all()
    assert [tuple(row) for row in counts][:1] == [("a", 0, 0)]


def test_a_crash_between_file_and_row_leaves_nothing(storage: AdaptationRepository, tmp_path: Path) -> None:
    kept = storage.create(adaptation(1), Context((episode(0),)), None)
    EpisodeStore(tmp_path / "episodes").write([episode(5)])
    storage.tidy()
    assert files(tmp_path) == {episode(0).digest}
    assert storage.context(kept.id, 1) == Context((episode(0),))


def test_two_servers_cannot_record_the_same_step(servers: list[AdaptationRepository]) -> None:
    made = servers[0].create(adaptation(1), Context(), None)
    tapes = [RecordingRepository(server.database, time.time) for server in servers]
    row = tapes[0].start("a", RecordingRow("f" * 24, made.id, 1, True, 0), None)
    steps = [Step(np.full(3, float(i), np.float32), np.zeros(2, np.float32), 0.5, f"key{i}", "print") for i in (0, 1)]
    answers = together(*[lambda i=i: tapes[i].add(row.id, 0, steps[i]) for i in (0, 1)])
    assert sorted(type(answer) for answer in answers if answer) == [StepConflict]
    winner = answers.index(None)
    [kept] = tapes[1 - winner].steps(row.id)
    np.testing.assert_array_equal(kept.observation, steps[winner].observation)
    assert (kept.reward, kept.key) == (0.5, f"key{winner}")
    with pytest.raises(StepConflict):
        servers[1].extend(made, "trial", [episode(1)], 1e12, None, FinishRecording(row.id, 0))
    assert servers[1].extend(made, "trial", [episode(1)], 1e12, None, FinishRecording(row.id, 1)).version == 2
    with pytest.raises(EpisodeFinished):
        servers[0].extend(made, "trial", [episode(1)], 1e12, None, FinishRecording(row.id, 1))
    with pytest.raises(StepConflict):
        tapes[0].add(row.id, 1, steps[0])


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_episodes_live_at_any_url(scheme: str, tmp_path: Path, database_url: str) -> None:
    blobs = EpisodeStore(f"{scheme}{tmp_path / 'blobs'}")
    database = Database(database_url)
    storage = AdaptationRepository(database, blobs, Quota(9, 9, 9_999), time.time)
    made = storage.create(adaptation(1), Context((episode(0), episode(1).without_actions())), None)
    assert storage.context(made.id, 1) == Context((episode(0), episode(1).without_actions()))
    assert len(list(blobs.digests())) == 2
    storage.delete("a", made.id)
    assert list(blobs.digests()) == []
    database.close()


def test_a_database_without_a_file_system_for_its_episodes_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="no file system"):
        EpisodeStore("nonsense://bucket")
