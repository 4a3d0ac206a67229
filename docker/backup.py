"""Saves and restores what a service must not lose: its database and its folders of episodes, bundles and runs.

`save` dumps the database first and copies the folders afterwards: blobs are named by what is in them and never change,
so whatever the dump names is in the copy. `restore` writes into an empty database and empty folders only. PostgreSQL's
own tools do its part; SQLite is copied while it is in use. Needs nothing but Python otherwise.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

DUMP, MANIFEST = "database.dump", "manifest.json"
FOLDERS = {"episodes": "WTL_EPISODES", "bundles": "WTL_BUNDLES", "runs": "WTL_RUNS"}


class BackupError(RuntimeError):
    """What cannot be saved or restored; the text says why."""


def save(url: str, folders: Mapping[str, Path], out: Path) -> Path:
    """A new folder under `out`, complete or not there at all. Raises BackupError."""
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    half, whole = out / f".{name}.partial", out / name
    if whole.exists():
        raise BackupError(f"{whole} exists")
    half.mkdir(parents=True, mode=0o700)
    try:
        _dump(url, half / DUMP)
        for what, folder in folders.items():
            with tarfile.open(half / f"{what}.tar", "w") as tar:
                _add(tar, folder)
        digests = {path.name: _digest(path) for path in sorted(half.iterdir())}
        (half / MANIFEST).write_text(json.dumps({"kind": _kind(url), "sha256": digests}, indent=2))
        half.rename(whole)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return whole


def restore(backup: Path, url: str, folders: Mapping[str, Path]) -> None:
    """Put a backup back where nothing is. Raises BackupError."""
    try:
        manifest = json.loads((backup / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise BackupError(f"{backup} is no backup: it has no {MANIFEST}") from error
    for name, digest in manifest["sha256"].items():
        if not (backup / name).exists() or _digest(backup / name) != digest:
            raise BackupError(f"{backup / name} is damaged")
    if manifest["kind"] != _kind(url):
        raise BackupError(f"the backup is of {manifest['kind']}, the database is {_kind(url)}")
    for what, folder in folders.items():
        if (backup / f"{what}.tar").exists() and folder.is_dir() and any(folder.iterdir()):
            raise BackupError(f"{folder} is not empty")
    _load(backup / DUMP, url)
    for what, folder in folders.items():
        if (backup / f"{what}.tar").exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tarfile.open(backup / f"{what}.tar") as tar:
                tar.extractall(folder, filter="data")


def prune(out: Path, keep: int) -> list[Path]:
    """Delete all but the newest `keep` backups."""
    old = sorted(path.parent for path in out.glob(f"*/{MANIFEST}"))[:-keep]
    for path in old:
        shutil.rmtree(path)
    return old


def _kind(url: str) -> str:
    kind = url.partition(":")[0].partition("+")[0]
    if kind not in ("postgresql", "sqlite"):
        raise BackupError(f"a database of kind {kind}; sqlite and postgresql can be saved")
    return kind


def _dump(url: str, path: Path) -> None:
    if _kind(url) == "sqlite":
        source = _sqlite_file(url)
        if not source.exists():
            raise BackupError(f"there is no database at {source}")
        with closing(sqlite3.connect(source)) as database, closing(sqlite3.connect(path)) as copy:
            database.backup(copy)
    else:
        _postgres(url, "pg_dump", "--format=custom", "--no-owner", f"--file={path}")


def _load(path: Path, url: str) -> None:
    if _kind(url) == "sqlite":
        target = _sqlite_file(url)
        if target.exists():
            raise BackupError(f"{target} exists")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    else:
        there = _postgres(
            url,
            "psql",
            "--tuples-only",
            "--no-align",
            "--command=SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
        )
        if there.strip() != "0":
            raise BackupError(f"the database has {there.strip()} tables; restore into an empty one")
        _postgres(
            url,
            "pg_restore",
            "--exit-on-error",
            "--no-owner",
            "--single-transaction",
            f"--dbname={_name(url)}",
            str(path),
        )


def _sqlite_file(url: str) -> Path:
    return Path(url.partition(":///")[2].partition("?")[0])


def _name(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


def _postgres(url: str, program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's tools; the password goes by the environment, where others cannot read it."""
    parts = urlsplit(url)
    connection = {
        "PGHOST": parts.hostname or "", "PGPORT": str(parts.port or 5432), "PGUSER": unquote(parts.username or ""),
        "PGDATABASE": _name(url), "PGPASSWORD": unquote(parts.password or ""),
    }  # fmt: skip
    try:
        done = subprocess.run(
            [_tool(program), *arguments], env={**os.environ, **connection}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise BackupError(f"{program} is not installed: apt-get install postgresql-client") from error
    if done.returncode:
        raise BackupError(f"{program}: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else 'failed'}")
    return done.stdout


def _tool(program: str) -> str:
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(newest[-1]) if newest else program


def _add(tar: tarfile.TarFile, folder: Path) -> None:
    """Everything in a folder that is in use: what is being written has another name, what is deleted is forgotten."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".tmp", ".partial"):
            with contextlib.suppress(FileNotFoundError):
                tar.add(path, path.relative_to(folder), recursive=False)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settings() -> tuple[str, dict[str, Path]]:
    """The service's: WTL_DATABASE or its secret, and its folders."""
    data = Path(os.environ.get("WTL_DATA", "data"))
    secret = Path(os.environ.get("WTL_SECRETS_DIR", "/nowhere")) / "wtl_database"
    url = os.environ.get("WTL_DATABASE") or (secret.read_text().strip() if secret.exists() else "")
    places = {what: os.environ.get(variable) or str(data / what) for what, variable in FOLDERS.items()}
    for what, place in places.items():
        if "://" in place:
            raise BackupError(f"{what} are at {place}: save that with its store's own means (versions, replication)")
    return url or f"sqlite:///{data / 'service.sqlite3'}", {what: Path(place) for what, place in places.items()}


def main() -> int:
    """Save, restore or prune, as the service's own WTL_... settings say where."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    saving = verbs.add_parser("save", help="make a new backup under OUT")
    saving.add_argument("out", type=Path)
    saving.add_argument("--keep", type=int, help="delete all but so many, the newest")
    verbs.add_parser("restore", help="put BACKUP back").add_argument("backup", type=Path)
    given = parser.parse_args()
    try:
        url, folders = _settings()
        if given.verb == "restore":
            restore(given.backup, url, folders)
            print(f"restored {given.backup}")
        else:
            print(save(url, folders, given.out))
            for path in prune(given.out, given.keep) if given.keep else ():
                print(f"deleted {path}")
    except (BackupError, OSError) as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
