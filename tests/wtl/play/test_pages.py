"""The page's own server, without a browser: who may speak to it, what it shows, and what it lets be taken away."""

import json
import stat
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
from support.playing import ServerProcess, dial
from websockets.exceptions import ConnectionClosed, InvalidStatus

from metalearn.data.formats import read_episodes
from service.client import Client, Export
from wtl.play.access import REFUSED, load_token
from wtl.play.launch import open_in_browser

PAGE = "0123456789abcdef"
TASK = {"family": "reach-m2", "task": 2_000_017}


class Socket:
    """A page, as far as its socket goes."""

    def __init__(self, url: str, token: str, page: str) -> None:
        self._open = ExitStack()
        self._socket = self._open.enter_context(dial(url, token, page))
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


@pytest.fixture(scope="module")
def http(page_url: str, token: str) -> Iterator[httpx.Client]:
    """A browser that has opened the address that `wtl play` prints."""
    with httpx.Client(base_url=page_url, timeout=60) as opened:
        assert opened.get("/", params={"token": token}).is_success
        yield opened


@pytest.fixture
def socket(page_url: str, token: str) -> Iterator[Socket]:
    opened = Socket(page_url, token, PAGE)
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
    while max(frame["seq"] for frame in socket.frames) < 3:
        socket.take()
    socket.send(do="input", held=False, seq=4)
    assert Image.open(BytesIO(socket.frames[-1]["picture"])).size == (400, 400)
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


def test_a_page_that_comes_back_finds_its_episode_where_it_was(socket: Socket, page_url: str, token: str):
    socket.send(do="demo", by="person")
    socket.send(do="input", held=True, at=[0.9, 0.5], seq=1)
    socket.until(lambda state: state["episode"]["step"] >= 2)
    socket.send(do="input", held=False, seq=2)
    step = socket.until(lambda state: not state["running"])["episode"]["step"]
    socket.close()
    again = Socket(page_url, token, PAGE)
    again.send(do="open", adaptation=None, **TASK)
    state = again.until(lambda state: True)
    assert (state["phase"], state["episode"]["step"]) == ("demo", step)
    again.close()


def test_a_copied_tab_takes_the_place_of_the_first(socket: Socket, page_url: str, token: str):
    copy = Socket(page_url, token, PAGE)
    with pytest.raises(ConnectionClosed) as closed:
        socket.until(lambda state: False)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4000
    copy.close()


def test_two_pages_on_one_adaptation_see_each_others_versions(socket: Socket, page_url: str, token: str):
    adaptation = show(socket)["adaptation"]["id"]
    other = Socket(page_url, token, PAGE[::-1])
    other.send(do="open", adaptation=adaptation, **TASK)
    other.until(lambda state: state["adaptation"] is not None and state["adaptation"]["id"] == adaptation)
    other.send(do="try")
    socket.until(lambda state: state["adaptation"]["version"] == 2)
    assert socket.state["episodes"][-1]["role"] == "trial"
    other.close()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", ""])
def test_pages_of_other_sites_cannot_drive_it(page_url: str, token: str, origin: str):
    with pytest.raises(InvalidStatus) as refused:
        dial(page_url, token, PAGE, origin)
    assert refused.value.response.status_code == 403


def test_a_foreign_name_for_this_machine_is_refused(http: httpx.Client):
    assert http.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_a_foreign_page_cannot_read_films_or_exports(http: httpx.Client):
    assert http.get("/films/abc", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=nothing", "/films/abc", "/assets/x.js", "/export/a/npz", "/x"]
)
@pytest.mark.parametrize("cookie", [None, "wtl_play_{port}=nothing", "wtl_play_1={token}", "wtl_play={token}"])
def test_without_the_token_nothing_is_shown_and_a_sentence_says_where_it_is(
    page_url: str, token: str, path: str, cookie: str | None
):
    port = page_url.rpartition(":")[2]
    headers = {} if cookie is None else {"Cookie": cookie.format(port=port, token=token)}
    answer = httpx.get(page_url + path, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert answer.text.count("<p>") == 1 and REFUSED in answer.text


def test_without_the_token_there_is_no_socket(page_url: str):
    for token in (None, "nothing"):
        with pytest.raises(InvalidStatus) as refused:
            dial(page_url, token, PAGE)
        assert refused.value.response.status_code == 403


def test_the_token_becomes_a_cookie_that_no_script_reads_and_leads_to_a_clean_address(page_url: str, token: str):
    answer = httpx.get(page_url, params={"token": token})
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name == f"wtl_play_{page_url.rpartition(':')[2]}={token}"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} < set(attributes)
    assert "url=./" in answer.text and token not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_the_token_is_kept_for_its_owner_alone_and_made_anew_where_others_could_read_it(tmp_path: Path):
    kept = tmp_path / "data" / "play-token"
    token = load_token(kept.parent)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert load_token(kept.parent) == token
    kept.chmod(0o640)
    another = load_token(kept.parent)
    assert another != token and stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.unlink()
    kept.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text(token)
    assert load_token(kept.parent) not in (token, another) and not kept.is_symlink()


def test_the_browser_is_handed_a_private_file_and_not_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for token in ("first", "second"):
        open_in_browser(tmp_path / "play-open.html", f"http://127.0.0.1:8010/?token={token}")
    assert opened == [(tmp_path / "play-open.html").as_uri()] * 2
    assert stat.S_IMODE((tmp_path / "play-open.html").stat().st_mode) == 0o600
    assert 'url=http://127.0.0.1:8010/?token=second"' in (tmp_path / "play-open.html").read_text()


@pytest.mark.parametrize(
    "message", ["not json", "[]", "[" * 10_000, '"do"', '{"do": "demo", "by": "' + "x" * 20_000 + '"}']
)
def test_what_no_page_of_ours_sends_ends_the_socket(page_url: str, token: str, message: str):
    with dial(page_url, token, "a" * 10) as raw:
        raw.send(message)
        with pytest.raises(ConnectionClosed):
            all(raw.recv(timeout=20) for _ in range(100))


def test_the_page_has_a_strict_policy_and_no_script_of_its_own(http: httpx.Client):
    answer = http.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert answer.text.count("<script") == answer.text.count('<script type="module" crossorigin src="./assets/')


def test_an_adaptation_is_taken_away_as_npz_lerobot_and_archive(
    socket: Socket, http: httpx.Client, server: ServerProcess, tmp_path: Path
):
    adaptation = show(socket)["adaptation"]["id"]
    demo = Client(server.url).adaptation(adaptation).episodes().demos[0]
    npz = tmp_path / "a.npz"
    npz.write_bytes(http.get(f"/export/{adaptation}/npz").content)
    assert [one.digest for one in read_episodes(npz).episodes] == [demo.digest]
    archive = Export.of(http.get(f"/export/{adaptation}/archive").content)
    assert archive.policy is not None and archive.context.demos[0].digest == demo.digest
    lerobot = http.get(f"/export/{adaptation}/lerobot").content
    zipfile.ZipFile(BytesIO(lerobot)).extractall(tmp_path)
    assert [one.digest for one in read_episodes(f"lerobot:{tmp_path / adaptation}").episodes] == [demo.digest]
    assert http.get(f"/export/{adaptation}/nothing").status_code == 404
    assert http.get("/export/nothing/npz").headers["content-type"] == "application/problem+json"


@pytest.mark.slow
def test_minari_finds_the_exported_data_set(
    socket: Socket, http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import minari

    adaptation = show(socket)["adaptation"]["id"]
    content = http.get(f"/export/{adaptation}/minari").content
    zipfile.ZipFile(BytesIO(content)).extractall(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episode = next(iter(minari.load_dataset("wtl/play-v0").iterate_episodes()))
    assert np.isfinite(episode.observations).all()
