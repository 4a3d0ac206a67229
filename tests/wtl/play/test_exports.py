"""What a page takes away of a server that wants a key."""

import io
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from support.api_keys import ALL
from support.pointing import PointingRuntime, settings_in
from support.serving import served

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client
from service.security.api_keys import ApiKeys
from service.storage.database import Database
from wtl.play.exports import EXPORTS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "minari", "lerobot"])
def test_episodes_are_taken_from_a_server_with_the_key_that_play_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.delenv("WTL_API_KEY", raising=False)
    settings = settings_in(tmp_path)
    settings.data.mkdir(exist_ok=True)
    with closing(Database(settings.database_url)) as database:
        key, _ = ApiKeys(database).create("lab", ALL, time.time(), "", None)
    demo = Episode.of([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[1, 0], [0, 1]], [0, 1], True)
    with (
        served(create_app(settings, runtime_factory=PointingRuntime), settings) as url,
        Client(url, api_key=key) as lab,
    ):
        content = EXPORTS[kind].make(lab.adapt("point", demos=[demo]), url, key)
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
