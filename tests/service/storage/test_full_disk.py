"""A disk that is full can be emptied through the service: what deletes works, what stores is refused."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.pointing import SPEC, PointingRuntime

from service.app import create_app
from service.errors import StorageFull
from service.settings import Settings
from service.storage.database import Database
from service.storage.reserve import RESERVED_BYTES


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    descriptor = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
    for size in (65536, 1):
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, b"x" * size)
    os.close(descriptor)
    assert os.statvfs(disk).f_bavail == 0


def test_a_full_disk_can_be_emptied(settings: Settings, small_disk: Path, wire: dict[str, Any]) -> None:
    settings = settings.model_copy(update={"data": small_disk / "data", "min_free_bytes": 0})
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        made = []
        for i in range(4):
            body = {"model": "point", "demos": [wire | {"observations": [[i, 0, 0], [1, 0, 0], [1, 1, 0]]}]}
            made.append(http.post("/v1/adaptations", json=body).headers["Location"])
        job = http.post("/v1/training-jobs", json={"experiment": "reach-m2"}).headers["Location"]
        recorded = {"spec": SPEC.to_json(), "tasks": [{"task": "t", "experts": [wire]}]}
        assert http.put("/v1/datasets/robots", json=recorded).status_code == 201
        fill(small_disk)
        assert http.put("/v1/datasets/others", json=recorded).status_code == 507
        assert http.post("/v1/adaptations", json={"model": "point", "demos": [wire]}).status_code == 507
        assert http.post(f"{made[0]}/fork").status_code == 507
        for address in made:
            assert http.delete(address, headers={"Idempotency-Key": "once"}).status_code == 204
            assert http.get(address).status_code == 404
            fill(small_disk)
        assert not list((settings.data / "episodes").iterdir())
        assert http.delete("/v1/datasets/robots").status_code == 204
        assert not list((settings.data / "datasets").iterdir())
        fill(small_disk)
        assert http.delete("/v1/models/point/aliases/current").status_code == 204
        assert http.delete(job).status_code == 200


def test_the_reserve_is_given_once_and_taken_back(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.sqlite3'}")
    reserve, calls = tmp_path / "x.sqlite3.reserve", []
    assert reserve.stat().st_blocks * 512 >= RESERVED_BYTES

    def work() -> str:
        calls.append(reserve.exists())
        if len(calls) == 1:
            raise StorageFull
        return "done"

    assert database.freeing(work) == "done"
    assert calls == [True, False]
    assert reserve.stat().st_size == RESERVED_BYTES
    database.close()
