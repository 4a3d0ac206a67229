"""The page's own server, without a browser: who may speak to it, what it shows, and what it lets be taken away."""

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from support.playing import ServerProcess
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from metalearn.data.formats import read_episodes
from service.client import Client, Export

PAGE = "0123456789abcdef"
TASK = {"family": "reach-m2", "task": 2_000_017}


def dial(url: str, page: str, origin: str | None) -> Any:
    return connect(
        f"{url.replace('http', 'ws')}/socket?page={page}", origin=Origin(origin) if origin else None, proxy=None
    )


class Socket:
    """A page, as far as its socket goes."""

    def __init__(self, url: str, page: str) -> None:
        self._open = ExitStack()
        self._socket = self._open.enter_context(dial(url, page, url))
        self.state: dict[str, Any] = {}
        self.frames: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        self._socket.send(json.dumps(message))

    def until(self, arrived: Callable[[dict[str, Any]], bool], acknowledge: bool = True) -> dict[str, Any]:
        """Take messages in until the state is as wanted."""
        while not self.state or not arrived(self.state):
            self.take(acknowledge)
        return self.state

    def take(self, acknowledge: bool = True) -> None:
        message = self._socket.recv(timeout=20)
        if isinstance(message, str):
            self.state = json.loads(message)
            return
        (length,) = struct.unpack_from("<I", message)
        header = json.loads(message[4 : 4 + length])
        self.frames.append(header | {"picture": message[4 + length :]})
        if acknowledge:
            self.send(shown=header["n"])

    def close(self) -> None:
        self._open.close()


@pytest.fixture
def socket(page_url: str) -> Iterator[Socket]:
    opened = Socket(page_url, PAGE)
    opened.send(do="choose", **TASK)
    opened.until(lambda state: state["task"] == TASK["task"] and state["adaptation"] is None)
    yield opened
    opened.close()


def show(socket: Socket) -> dict[str, Any]:
    socket.send(do="pace", steps_per_s=60)
    socket.send(do="demo", by="expert")
    return socket.until(lambda state: state["adaptation"] is not None)


def test_pictures_come_while_an_episode_is_played_and_say_which_input_they_answer(socket: Socket):
    socket.send(do="demo", by="person")
    socket.until(lambda state: state["phase"] == "demo")
    for seq in range(1, 4):
        socket.send(do="input", held=True, at=[0.9, 0.5], seq=seq)
    socket.until(lambda state: state["episode"]["step"] >= 3)
    socket.send(do="input", held=False, seq=4)
    assert Image.open(BytesIO(socket.frames[-1]["picture"])).size == (400, 400)
    assert max(frame["seq"] for frame in socket.frames) == 3
    socket.send(do="discard")


def test_a_slow_page_gets_the_newest_picture_and_no_queue(socket: Socket):
    before = len(socket.frames)
    socket.send(do="pace", steps_per_s=60)
    socket.send(do="demo", by="expert")
    socket.until(lambda state: state["adaptation"] is not None, acknowledge=False)
    steps = socket.state["episodes"][0]["steps"]
    assert len(socket.frames) - before < steps
    socket.send(shown=socket.frames[-1]["n"])
    while socket.frames[-1]["step"] < steps:
        socket.take()


def test_a_page_that_comes_back_finds_its_episode_where_it_was(socket: Socket, page_url: str):
    socket.send(do="demo", by="person")
    socket.send(do="input", held=True, at=[0.9, 0.5], seq=1)
    socket.until(lambda state: state["episode"]["step"] >= 2)
    socket.send(do="input", held=False, seq=2)
    step = socket.until(lambda state: not state["running"])["episode"]["step"]
    socket.close()
    again = Socket(page_url, PAGE)
    again.send(do="open", adaptation=None, **TASK)
    state = again.until(lambda state: True)
    assert (state["phase"], state["episode"]["step"]) == ("demo", step)
    again.close()


def test_a_copied_tab_takes_the_place_of_the_first(socket: Socket, page_url: str):
    copy = Socket(page_url, PAGE)
    with pytest.raises(ConnectionClosed) as closed:
        socket.until(lambda state: False)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4000
    copy.close()


def test_two_pages_on_one_adaptation_see_each_others_versions(socket: Socket, page_url: str):
    adaptation = show(socket)["adaptation"]["id"]
    other = Socket(page_url, PAGE[::-1])
    other.send(do="open", adaptation=adaptation, **TASK)
    other.until(lambda state: state["adaptation"] is not None and state["adaptation"]["id"] == adaptation)
    other.send(do="try")
    socket.until(lambda state: state["adaptation"]["version"] == 2)
    assert socket.state["episodes"][-1]["role"] == "trial"
    other.close()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", None])
def test_pages_of_other_sites_cannot_drive_it(page_url: str, origin: str | None):
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"{page_url.replace('http', 'ws')}/socket?page={PAGE}",
            origin=Origin(origin) if origin else None,
            proxy=None,
        )
    assert refused.value.response.status_code == 403


def test_a_foreign_name_for_this_machine_is_refused(page_url: str):
    assert httpx.get(page_url, headers={"Host": "evil.example"}).status_code == 403


def test_a_foreign_page_cannot_read_films_or_exports(page_url: str):
    refused = httpx.get(f"{page_url}/films/abc", headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    "message", ["not json", "[]", "[" * 10_000, '"do"', '{"do": "demo", "by": "' + "x" * 20_000 + '"}']
)
def test_what_no_page_of_ours_sends_ends_the_socket(page_url: str, message: str):
    with dial(page_url, "a" * 10, page_url) as raw:
        raw.send(message)
        with pytest.raises(ConnectionClosed):
            all(raw.recv(timeout=20) for _ in range(100))


def test_the_page_has_a_strict_policy_and_no_script_of_its_own(page_url: str):
    answer = httpx.get(page_url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert answer.text.count("<script") == answer.text.count('<script type="module" crossorigin src="./assets/')


def test_an_adaptation_is_taken_away_as_npz_minari_and_archive(
    socket: Socket, page_url: str, server: ServerProcess, tmp_path: Path
):
    adaptation = show(socket)["adaptation"]["id"]
    demo = Client(server.url).adaptation(adaptation).episodes().demos[0]
    npz = tmp_path / "a.npz"
    npz.write_bytes(httpx.get(f"{page_url}/export/{adaptation}/npz", timeout=60).content)
    assert [one.digest for one in read_episodes(npz).episodes] == [demo.digest]
    archive = Export.of(httpx.get(f"{page_url}/export/{adaptation}/archive", timeout=60).content)
    assert archive.policy is not None and archive.context.demos[0].digest == demo.digest
    assert httpx.get(f"{page_url}/export/{adaptation}/lerobot").status_code == 404
    assert httpx.get(f"{page_url}/export/nothing/npz").headers["content-type"] == "application/problem+json"


@pytest.mark.slow
def test_minari_finds_the_exported_data_set(
    socket: Socket, page_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import minari

    adaptation = show(socket)["adaptation"]["id"]
    content = httpx.get(f"{page_url}/export/{adaptation}/minari", timeout=60).content
    zipfile.ZipFile(BytesIO(content)).extractall(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episode = next(iter(minari.load_dataset("wtl/play-v0").iterate_episodes()))
    assert np.isfinite(episode.observations).all()
