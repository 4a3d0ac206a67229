"""Training jobs in the database, asked for by several servers at the same instant."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import pytest

from service.storage.database import Database
from service.training_jobs.records import JobRequest
from service.training_jobs.repository import TrainingJobRepository

T = TypeVar("T")
N_SERVERS = 8


def at_once(work: Callable[[int], T]) -> list[T]:
    barrier = Barrier(N_SERVERS)

    def wait_and_work(i: int) -> T:
        barrier.wait()
        return work(i)

    with ThreadPoolExecutor(N_SERVERS) as pool:
        return list(pool.map(wait_and_work, range(N_SERVERS)))


@pytest.fixture
def stores(database_url):
    databases = [Database(database_url, connections=2) for _ in range(N_SERVERS)]
    yield [TrainingJobRepository(database) for database in databases]
    for database in databases:
        database.close()


def test_of_servers_that_want_a_new_lease_at_once_one_gets_it(stores):
    for round_number in range(5):
        held = at_once(lambda i, n=round_number: stores[i].hold(f"lease {n}", f"server {i}", now=100.0, for_s=10.0))
        assert held.count(True) == 1
        winner = held.index(True)
        assert stores[winner].hold(f"lease {round_number}", f"server {winner}", now=105.0, for_s=10.0)


def test_a_lease_that_ran_out_goes_to_one_of_those_who_want_it(stores):
    assert stores[0].hold("lease", "server that died", now=0.0, for_s=10.0)
    held = at_once(lambda i: stores[i].hold("lease", f"server {i}", now=20.0, for_s=10.0))
    assert held.count(True) == 1


def test_a_job_that_several_servers_are_asked_for_at_once_exists_once(stores):
    request = JobRequest("reach-m2", seed=1, id="mine")
    made = at_once(lambda i: stores[i].create("tenant", request, None, "local", "host", 1.0, most_queued=10))
    assert {job.uid for job, _ in made} == {made[0][0].uid}
    assert [is_new for _, is_new in made].count(True) == 1
    assert [event.kind for event in stores[0].events(made[0][0].uid, after=0)] == ["state"]
