"""The console beside what happens to a server: keys, prefixes, a training, and a kill in the middle of it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect
from support.api_keys import Make
from support.chromium import chromium
from support.console import opened, opens_pages
from support.pointing import PointingRuntime
from support.serving import served

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client
from service.settings import SHIPPED_MODELS, Settings

pytestmark = [opens_pages, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[3]
FEW_TASKS = f"{sys.executable} -m wtl.cli train --no-baselines --set data.n_tasks=256"
SLOW_MS = 600_000  # a training of 25 s of processor time, at a lower priority than all else that the machine does


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_without_a_key_there_is_nothing_and_a_wrong_one_is_refused(
    browser: Browser, settings: Settings, make: Make
) -> None:
    key = make("lab")["Authorization"].removeprefix("Bearer ")
    with (
        served(create_app(settings, runtime_factory=PointingRuntime), settings) as url,
        opened(browser, url) as console,
    ):
        page = console.go("models")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        page.get_by_label("API key").fill("wtl_" + "x" * 43)
        page.get_by_label("API key").press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("the API key is unknown")
        page.get_by_label("API key").fill(key)
        page.get_by_label("API key").press("Enter")
        expect(page.get_by_role("link", name="point")).to_be_visible()
        page.reload()  # the session survives, and the page has kept nothing of it
        expect(page.get_by_role("link", name="point")).to_be_visible()
        assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
        assert key not in page.url + page.content()
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert page.context.cookies() == []


def test_a_key_without_a_scope_is_told_which_and_its_label_is_text(
    browser: Browser, settings: Settings, make: Make
) -> None:
    authorization = make("lab", ("admin",))["Authorization"]
    with (
        served(create_app(settings, runtime_factory=PointingRuntime), settings) as url,
        opened(browser, url) as console,
    ):
        page = console.go("models")
        page.get_by_label("API key").fill(authorization.removeprefix("Bearer "))
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("This key has not the scope models:read.")).to_be_visible()
        page = console.go("operations")
        expect(page.get_by_text("Rates and latencies need a key with the scope metrics.")).to_be_visible()
        expect(page.get_by_role("group", name="API keys")).to_contain_text("usable")
        assert "unauthenticated" not in page.content()


def test_it_works_behind_a_prefix(browser: Browser, settings: Settings, demo: Episode) -> None:
    settings = settings.model_copy(update={"root_path": "/robots/wtl"})
    with served(create_app(settings, runtime_factory=PointingRuntime), settings) as url:
        with Client(url + "/robots/wtl") as client:
            adaptation = client.adapt("point", demos=[demo])
        with opened(browser, f"{url}/robots/wtl") as console:
            console.page.goto(f"{console.url}/console")
            page = console.go("adaptations")
            page.get_by_role("link", name=adaptation.id).click()
            expect(page.get_by_role("img", name="paths of demonstration 1")).to_be_visible()


class Process:
    """`wtl serve` with the shipped models, whose trainings are real and have few tasks."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url, self._folder = f"http://127.0.0.1:{self._port}", folder
        self.start()

    def start(self) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "WTL_TRAINING_POLL_S": "0.2",
            "WTL_TRAIN_COMMAND": FEW_TASKS, "WTL_MODELS": str(SHIPPED_MODELS), "WTL_PORT": str(self._port),
            "WTL_DATA": str(self._folder / "data"),
        }  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "wtl.cli", "serve"]
            self.process = subprocess.Popen(command, cwd=self._folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 180
        while True:
            assert time.monotonic() < deadline and self.process.poll() is None, (self._folder / "log").read_text()
            try:
                if httpx.get(f"{self.url}/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    yield made
    made.kill()


def test_a_training_is_started_followed_through_a_kill_of_the_server_and_has_a_bundle(
    browser: Browser, server: Process
) -> None:
    with Client(server.url) as client:
        adaptation = client.adapt("reach", demos=[client.model("reach").example])
    with opened(browser, server.url) as console:
        page = console.go("training")
        expect(page.get_by_text("Nothing has been trained here yet.")).to_be_visible()
        page.get_by_label("What to train").select_option(label="a family of your own…")
        page.get_by_role("textbox", name="Family").fill("nowhere:Nothing")
        page.get_by_label("Ends after").fill("20")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert")).to_contain_text("nowhere:Nothing")
        expect(page.get_by_role("alert")).to_contain_text("expected")
        page.get_by_label("What to train").select_option("reach-m2")
        page.get_by_label("Name of the model").fill("mine")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_text("running", exact=True)).to_be_visible(timeout=SLOW_MS)
        page.reload()
        expect(page.get_by_text("running", exact=True)).to_be_visible(timeout=SLOW_MS)
        server.kill()
        expect(page.get_by_text("The connection is lost.")).to_be_visible()
        server.start()
        expect(page.get_by_role("status").get_by_role("link", name="mine v1")).to_be_visible(timeout=SLOW_MS)
        expect(page.get_by_role("img", name="Loss over time")).to_be_visible()
        expect(page.get_by_label("End of the log")).to_contain_text("train")
        page.get_by_role("link", name="mine v1").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("mine")
        expect(page.get_by_text(re.compile("Bundle [0-9a-f]{64}"))).to_be_visible()
        page = console.go(f"adaptations/{adaptation.id}")  # what was acknowledged before the kill is there
        expect(page.get_by_role("img", name="paths of demonstration 1")).to_be_visible()
