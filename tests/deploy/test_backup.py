"""A service's data are saved while it is in use, and come back: on SQLite here, on PostgreSQL where it is installed."""

import os
import subprocess
from pathlib import Path

import backup
import numpy as np
import pytest
import sqlalchemy
from fastapi.testclient import TestClient
from support import postgres

from service.app import create_app
from service.settings import Settings
from service.storage import migrations

ROOT = Path(__file__).parents[2]


@pytest.fixture
def example(tmp_path: Path):
    with TestClient(create_app(Settings(data=tmp_path / "example"))) as client:
        return client.get("/v1/models/reach").json()["example"]


def settings_at(place: Path, url: str) -> Settings:
    return Settings(data=place / "data", database=url, episodes=str(place / "episodes"), bundles=str(place / "bundles"))


def saved_and_restored(
    tmp_path: Path, urls: tuple[str, str], example, save=backup.save, restore=backup.restore
) -> None:
    here, there = settings_at(tmp_path / "here", urls[0]), settings_at(tmp_path / "there", urls[1])
    folders = {what: tmp_path / "here" / what for what in ("episodes", "bundles")}
    with TestClient(create_app(here)) as client:
        made = client.post("/v1/adaptations", json={"model": "reach", "demos": [example]})
        assert made.status_code == 201, made.text
        body = {"observations": example["observations"][:1]}
        acted = client.post(f"/v1/adaptations/{made.json()['id']}/act", json=body).json()["actions"]
        kept = save(urls[0], folders, tmp_path / "backups")
    restore(kept, urls[1], {what: tmp_path / "there" / what for what in folders})
    with TestClient(create_app(there)) as client:
        assert client.get(f"/v1/adaptations/{made.json()['id']}").json()["n_demos"] == 1
        again = client.post(f"/v1/adaptations/{made.json()['id']}/act", json=body).json()["actions"]
    np.testing.assert_allclose(again, acted, atol=1e-5)


def test_a_session_on_sqlite_comes_back(tmp_path: Path, example):
    saved_and_restored(tmp_path, (f"sqlite:///{tmp_path}/a.sqlite3", f"sqlite:///{tmp_path}/b.sqlite3"), example)


def a_backup(tmp_path: Path) -> Path:
    url, folder = f"sqlite:///{tmp_path}/db", tmp_path / "episodes"
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE a (b INTEGER)"))
    folder.mkdir()
    (folder / "one").write_text("1")
    (folder / "half.1234.tmp").write_text("half")
    return backup.save(url, {"episodes": folder}, tmp_path / "backups")


def test_a_damaged_backup_is_refused(tmp_path: Path):
    kept = a_backup(tmp_path)
    (kept / "episodes.tar").write_bytes((kept / "episodes.tar").read_bytes()[:-1] + b"x")
    with pytest.raises(backup.BackupError, match=r"episodes\.tar is damaged"):
        backup.restore(kept, f"sqlite:///{tmp_path}/new", {"episodes": tmp_path / "new-episodes"})
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(tmp_path: Path):
    kept = a_backup(tmp_path)
    with pytest.raises(backup.BackupError, match="exists"):
        backup.restore(kept, f"sqlite:///{tmp_path}/db", {})
    with pytest.raises(backup.BackupError, match="is not empty"):
        backup.restore(kept, f"sqlite:///{tmp_path}/new", {"episodes": tmp_path / "episodes"})


def test_what_is_half_written_is_left_out(tmp_path: Path):
    backup.restore(a_backup(tmp_path), f"sqlite:///{tmp_path}/new", {"episodes": tmp_path / "new-episodes"})
    assert [path.name for path in (tmp_path / "new-episodes").iterdir()] == ["one"]


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(backup.BackupError, match="there is no database"):
        backup.save(f"sqlite:///{tmp_path}/nowhere", {}, tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []


def test_the_newest_are_kept(tmp_path: Path):
    for day in ("20260101T000000Z", "20260102T000000Z", "20260103T000000Z"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "manifest.json").touch()
    backup.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20260102T000000Z", "20260103T000000Z"]


@pytest.fixture
def databases():
    """URLs of two empty databases of a PostgreSQL server of the test's own."""
    try:
        with postgres.running() as server:
            yield server.create(), server.create()
    except postgres.Missing as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_session_on_postgresql_comes_back(tmp_path: Path, databases, example):
    migrations.upgrade(databases[0])
    saved_and_restored(tmp_path, databases, example)


def shell(script: str, url: str, place: Path, backups: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a script of the nightly job, as its container would."""
    secrets = place / "secrets"
    secrets.mkdir(parents=True, exist_ok=True)
    (secrets / "wtl_database").write_text(url)
    variables = {"BACKUPS": backups, "BLOBS": place, "KEEP": 2, "WTL_SECRETS_DIR": secrets}
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    command = ["sh", str(ROOT / "k8s/base" / script), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("restored_by", ["restore.sh", "backup.py"])
def test_what_the_nightly_job_saves_comes_back(tmp_path: Path, databases, example, restored_by: str):
    migrations.upgrade(databases[0])

    def save(url: str, folders: object, out: Path) -> Path:
        done = shell("backup.sh", url, tmp_path / "here", out)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.split()[0])

    def restore(kept: Path, url: str, folders: object) -> None:
        done = shell("restore.sh", url, tmp_path / "there", kept.parent, kept.name)
        assert done.returncode == 0, done.stdout + done.stderr
        again = shell("restore.sh", url, tmp_path / "there", kept.parent, kept.name)
        assert again.returncode == 1
        assert "restore into an empty one" in again.stderr

    saved_and_restored(tmp_path, databases, example, save, restore if restored_by == "restore.sh" else backup.restore)
