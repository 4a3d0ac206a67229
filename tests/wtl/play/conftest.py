"""A server in another process, the page of `wtl play` on it, and a real Chromium."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.playing import ServerProcess, models_in, played

from wtl.play.launch import BUILT, Wanted


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("play")
    process = ServerProcess(models_in(folder / "models"), folder / "data")
    yield process
    process.stop()


@pytest.fixture(scope="session")
def served_page(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of the page and its token, with an own family among those that it offers."""
    if not (BUILT / "play.html").is_file():
        pytest.skip("the pages are not built: make console")
    wanted = Wanted("own_task:Doors", server=server.url, data=tmp_path_factory.mktemp("films"), seed=0)
    with played(wanted) as found:
        yield found


@pytest.fixture(scope="session")
def page_url(served_page: tuple[str, str]) -> str:
    return served_page[0]


@pytest.fixture(scope="session")
def token(served_page: tuple[str, str]) -> str:
    return served_page[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium, for a module: Playwright has its loop in this thread, and no module may open a second one."""
    driver = pytest.importorskip("support.chromium")
    if driver.chromium_path() is None:
        pytest.skip(driver.HOW)
    with driver.chromium() as found:
        yield found


@pytest.fixture
def open_page(browser: Any, page_url: str, token: str) -> Iterator[Callable[..., Any]]:
    """Opens the page. An error of its script, or a violation of its policy, fails the test."""
    faults: list[str] = []
    contexts = []

    def open_(path: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1180, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: faults.append(message.text) if "Content Security Policy" in message.text else None,
        )
        page.goto(f"{page_url}/?token={token}")
        page.wait_for_selector("canvas")
        page.goto(f"{page_url}/{path}")
        page.locator(".pace input[type=range]").fill("0.8")  # 26 steps a second: as fast as one can follow
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults
