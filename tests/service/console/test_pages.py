"""Every page of the console in a real browser: it shows what is there, and what is done there is done."""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from support.chromium import chromium
from support.console import AXE, Opened, opened, opens_pages
from support.pointing import PointingRuntime, asked
from support.serving import served
from support.tour import furnish

from metalearn.bundle import Bundle
from service.app import create_app
from service.client import Client
from service.settings import SHIPPED_MODELS, Settings

pytestmark = [opens_pages, pytest.mark.timeout(400)]
MARK = "<img src=x onerror=window.hurt=1>"
LOG = f"print('{MARK} in a log'); raise SystemExit('{MARK} in an error')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a server whose trainings print what must not become a part of the page."""
    folder = tmp_path_factory.mktemp("console")
    shipped = Bundle.load(SHIPPED_MODELS / "reach")
    shipped.save(folder / "models" / "reach")
    (folder / "models" / "broken").mkdir()
    (folder / "models" / "broken" / "bundle.json").write_text('{"schema": "' + MARK.replace('"', "") + '"}')
    return Settings(
        data=folder / "data", models=folder / "models", training_poll_s=0.1,
        train_command=f'{sys.executable} -c "{LOG}"',
    )  # fmt: skip


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    """Of a server with two versions of a model, and adaptations that tried; the newest is a fork."""
    with served(create_app(settings), settings) as found:
        second = Bundle.load(SHIPPED_MODELS / "reach-m4")
        said = {"provenance": {"made_by": MARK}, "report": second.report}
        shutil.rmtree(settings.models / "reach")
        Bundle("reach", second.spec, second.model, second.weights, **said).save(settings.models / "reach")
        with Client(found) as client:
            furnish(client, ["reach"])
            client.register("reach")
            client.set_alias("reach", "stable", 1)
            client.train("reach-m2", name="hurt", job_id="hurt")
        yield found


@pytest.fixture
def console(browser: Browser, url: str) -> Iterator[Opened]:
    with opened(browser, url) as found:
        yield found


@pytest.fixture(scope="module")
def fork(url: str) -> str:
    with Client(url) as client:
        return list(client.adaptations())[-1].id


def test_models_show_their_evidence_and_what_cannot_be_used(console: Opened) -> None:
    page = console.go("models")
    expect(page.get_by_role("link", name="reach")).to_have_count(1)
    expect(page.get_by_text("broken cannot be used")).to_be_visible()
    page.get_by_role("link", name="reach").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("reach")
    page = console.go("models/reach/1")
    expect(
        page.get_by_role("img", name=re.compile("this model: 48.6 %, 99.9 %; best possible: 50.0 %"))
    ).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("its own trial, score flipped"))).to_contain_text("0.0 %")
    expect(page.get_by_text("2000 tasks of reach-m2")).to_be_visible()


def test_two_versions_stand_side_by_side(console: Opened) -> None:
    page = console.go("models/reach/1")
    page.get_by_label("Compare v1 with").select_option("v2")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="v1 beside v2")).to_be_visible()
    expect(page.get_by_text("They were measured on different tasks (reach-m2 and reach-m4)")).to_be_visible()
    row = page.get_by_role("group", name="Success of both").get_by_role("row", name=re.compile("without a trial"))
    expect(row).to_contain_text("48.6 %")
    expect(row).to_contain_text("26.5 %")


def test_an_alias_is_switched_and_rolled_back(console: Opened, url: str) -> None:
    page = console.go("models/reach")
    page.get_by_label("Version of stable").select_option("v2")
    history = page.get_by_role("group", name="History of the aliases").get_by_role("row")
    expect(history.nth(1)).to_contain_text(re.compile("stable.*set.*v2"))
    with Client(url) as client:
        assert client.aliases("reach").current["stable"] == 2
    page.get_by_role("button", name="Roll back stable").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back stable").click()
    expect(history.nth(1)).to_contain_text("rollback")
    with Client(url) as client:
        assert client.aliases("reach").current["stable"] == 1
    page.get_by_label("New alias").fill("No Alias")
    page.get_by_role("button", name=re.compile("Point it at")).click()
    expect(page.get_by_role("alert")).to_contain_text("alias")  # field, expected and got
    expect(page.get_by_role("alert")).to_contain_text("expected")


def test_an_adaptation_is_found_drawn_forked_exported_and_deleted(console: Opened, fork: str, url: str) -> None:
    page = console.go("adaptations")
    expect(page.get_by_role("row")).to_have_count(1 + 3)
    page.get_by_label("Search").fill(fork[:7])
    expect(page.get_by_role("row")).to_have_count(1 + 1)
    page.get_by_role("link", name=fork).click()
    expect(page.get_by_role("img", name="paths of demonstration 1, trial 1, trial 2")).to_be_visible()
    assert page.locator("svg.paths .path").count() == 3
    expect(page.get_by_text(re.compile(r"that the next attempt succeeds"))).to_be_visible()
    expect(
        page.get_by_role("img", name=re.compile(r"probability of each hypothesis: 1: \d+ %, 2: \d+ %"))
    ).to_be_visible()
    expect(page.locator(".tree .versions a[aria-current]")).to_have_text("v2")
    page.get_by_text("Trial 2", exact=True).click()
    expect(page.get_by_role("img", name="actions of trial 2 over time")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export v2").click()
    assert download.value.suggested_filename == f"{fork}-v2.zip"
    page.get_by_role("button", name="Fork v2").click()
    page.wait_for_url(lambda address: fork not in address)
    made = page.url.rpartition("/")[2]
    expect(page.get_by_role("heading", level=1)).to_have_text(made)
    expect(page.get_by_role("button", name=re.compile("Fork v"))).to_be_visible()
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Adaptations")
    with Client(url) as client:
        assert made not in [one.id for one in client.adaptations()]


def test_operations_show_readiness_rates_storage_and_who_changed_what(console: Opened) -> None:
    page = console.go("operations")
    expect(page.get_by_text("Ready", exact=True)).to_be_visible()
    expect(page.get_by_role("group", name="Time by stage")).to_contain_text("the model")
    expect(page.get_by_role("group", name="Storage").get_by_role("row", name=re.compile("episodes"))).to_contain_text(
        "kB"
    )
    expect(page.get_by_role("group", name="Audit log, newest first")).to_contain_text("/v1/adaptations")
    expect(page.get_by_text("There is no key: whoever can connect may do everything.")).to_be_visible()


def test_nothing_that_others_write_becomes_a_part_of_the_page(console: Opened, fork: str) -> None:
    page = console.go("training/hurt")
    expect(page.get_by_label("End of the log")).to_contain_text(f"{MARK} in a log")
    expect(page.get_by_role("alert")).to_contain_text(MARK)
    page = console.go("models/reach/2")
    page.get_by_text("Everything that the bundle says of itself").click()
    expect(page.locator("pre.json")).to_contain_text(MARK)
    console.go("models")
    console.go(f"adaptations?search={MARK}")
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    page = console.go(f"adaptations/{fork}/{MARK}")
    page = console.go(f"models/{MARK}")
    expect(page.get_by_role("alert")).to_contain_text(MARK)
    assert page.evaluate("window.hurt") is None
    assert page.locator("img").count() == 0


def test_a_page_works_from_the_keyboard_alone(console: Opened, fork: str) -> None:
    page = console.go("models")
    focused = page.locator(":focus")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if focused.inner_text() == "Adaptations":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Adaptations")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type(fork[:7])
    expect(page.get_by_role("row")).to_have_count(2)
    for _ in range(8):
        page.keyboard.press("Tab")
        if focused.inner_text() == fork:
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(fork)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.get_by_role("button", name="Delete").first).to_be_visible()
    for _ in range(6):
        page.keyboard.press("Tab")
        if focused.inner_text() == "Delete":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("button", name="Delete").first).to_be_focused()


@contextmanager
def looking(browser: Browser, url: str, scheme: str, width: int) -> Iterator[Opened]:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "reduced_motion": "reduce"}
    with opened(browser, url, **options) as found:
        yield found


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: make console")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious_and_nothing_is_too_wide(
    browser: Browser, url: str, fork: str, scheme: str, width: int
) -> None:
    pages = [
        "models",
        "models/reach/1",
        "models/reach/1/2",
        "adaptations",
        f"adaptations/{fork}",
        "training",
        "training/hurt",
    ]
    with looking(browser, url, scheme, width) as console:
        found = {}
        for at in [*pages, "operations"]:
            console.go(at)
            console.page.wait_for_timeout(100)
            found[at] = console.faults()
    assert {at: faults for at, faults in found.items() if faults} == {}


def test_what_a_model_can_be_asked_for_and_what_each_version_asks_for(browser: Browser, tmp_path: Path) -> None:
    asked().save(tmp_path / "models" / "asked")
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models")
    app = create_app(settings, runtime_factory=PointingRuntime)
    with served(app, settings) as url, looking(browser, url, "dark", 390) as console:
        with Client(url) as client:
            adaptation = client.adapt("asked", demos=[client.model("asked").example]).ask_for(
                {"words": f"{MARK}\u202e\u2069"}
            )
            adaptation = adaptation.ask_for({"return": 500.0, "goal": [0.25, -1.5]})
        page = console.go("models/asked")
        kinds = page.get_by_role("group", name="Kinds of ask")
        expect(kinds.get_by_role("row", name="a return")).to_contain_text("-20 to 120")
        expect(kinds.get_by_role("row", name="a goal")).to_contain_text("-1 to 1, 0 to 0.5")
        expect(kinds.get_by_role("row", name="in words")).to_contain_text("“move to object number one”")
        faults = console.faults() if AXE.is_file() else []
        page = console.go(f"adaptations/{adaptation.id}")
        asks = page.get_by_role("group", name="What each version asks for").get_by_role("row")
        expect(asks).to_have_count(1 + 2)
        expect(asks.nth(1)).to_contain_text(f"“{MARK}⟨U+202E⟩⟨U+2069⟩”")
        expect(asks.nth(2)).to_contain_text("a return of 500, a goal (0.25, -1.5)")
        expect(page.get_by_text("it counts as 120")).to_be_visible()
        assert page.evaluate("window.hurt") is None
        assert faults + (console.faults() if AXE.is_file() else []) == []


def test_a_film_strip_shows_what_a_camera_saw(browser: Browser, tmp_path: Path) -> None:
    from support.bundles import made

    made("watched").save(tmp_path / "models" / "watched")
    settings = Settings(data=tmp_path / "data", models=tmp_path / "models", runtime="onnx")
    with served(create_app(settings), settings) as url, opened(browser, url) as console:
        demo = made("watched").spec.example_episode(np.random.default_rng(0), 6)
        with Client(url) as client:
            adaptation = client.adapt("watched", demos=[demo])
        page = console.go(f"adaptations/{adaptation.id}")
        strip: Page | object = page.get_by_label("observation/camera of demonstration 1").get_by_role("img")
        expect(strip).to_have_count(7)  # type: ignore[arg-type]
        page.wait_for_function(
            "() => [...document.querySelectorAll('.film img')].every((i) => i.complete && i.naturalWidth > 0)"
        )
