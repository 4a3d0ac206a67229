"""What a page can take away of an adaptation: its episodes as a data set, or an archive that runs without a server."""

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from metalearn.data.errors import InvalidConfig
from metalearn.data.formats import write_episodes
from service.client import Adaptation

_MINARI_ID = "wtl/play-v0"


@dataclass(frozen=True)
class Kind:
    """One way to take an adaptation away: the ending of the file, a title, and what makes its bytes.

    `make` is given the adaptation, the URL of its server, and the key for that server, if there is one.
    """

    suffix: str
    title: str
    make: Callable[[Adaptation, str, str | None], bytes]


def _npz(adaptation: Adaptation, _url: str, _key: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "episodes.npz")
        _write(adaptation, str(path))
        return path.read_bytes()


def _lerobot(adaptation: Adaptation, _url: str, _key: str | None) -> bytes:
    """A folder of the adaptation's name with a LeRobot dataset, zipped."""
    with tempfile.TemporaryDirectory() as folder:
        _write(adaptation, f"lerobot:{Path(folder, adaptation.id)}")
        return _zipped(Path(folder))


def _write(adaptation: Adaptation, target: str) -> None:
    exported = adaptation.export(policy=False)
    episodes = exported.context.demos + exported.context.trials
    write_episodes(target, episodes, rate_hz=exported.spec.rate_hz, spec=exported.spec)


def _minari(adaptation: Adaptation, url: str, key: str | None) -> bytes:
    """A Minari data set, zipped. Minari writes to one folder per process, so another process writes it."""
    command = [sys.executable, "-m", "wtl.cli", "export-adaptation", adaptation.id, "--url", url]
    with tempfile.TemporaryDirectory() as folder:
        where = os.environ | {"MINARI_DATASETS_PATH": folder} | ({"WTL_API_KEY": key} if key else {})
        done = subprocess.run(  # noqa: S603
            [*command, "--episodes-to", f"minari:{_MINARI_ID}"], env=where, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise InvalidConfig(done.stderr.strip().removeprefix("wtl: ")[-300:])
        return _zipped(Path(folder))


def _zipped(folder: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return out.getvalue()


EXPORTS: Mapping[str, Kind] = {
    "npz": Kind(".npz", "episodes (.npz)", _npz),
    "minari": Kind("-minari.zip", "episodes (Minari)", _minari),
    "lerobot": Kind("-lerobot.zip", "episodes (LeRobot)", _lerobot),
    "archive": Kind(".zip", "policy and episodes (.zip)", lambda one, _url, _key: one.export().archive),
}
