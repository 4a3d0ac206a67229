"""The ask panel of `wtl play` in a real Chromium: what is asked for there is what the policy does."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.playing import played, pointing_server

from metalearn.tasks.registry import find_family
from service.client import Adaptation, Client
from wtl.play.launch import BUILT, Wanted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
AXE = BUILT.parent / "node_modules" / "axe-core" / "axe.min.js"
TASK = 2_000_017
MARK = "<img src=x onerror=window.hurt=1>"


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pointing_server(tmp_path_factory.mktemp("points")) as url:
        yield url


@pytest.fixture(scope="module")
def address(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Of a page on that server, and its token."""
    if not (BUILT / "play.html").is_file():
        pytest.skip("the pages are not built: make console")
    with played(Wanted("reach-m2", server=server_url, data=tmp_path_factory.mktemp("films"), seed=0)) as found:
        yield found


@pytest.fixture
def page(browser: Any, address: tuple[str, str]) -> Iterator[Any]:
    """The page before anything was shown. Whatever the browser complains about fails the test."""
    url, token = address
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1180, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    opened.goto(f"{url}/?token={token}")
    opened.wait_for_selector("canvas")  # after a redirect
    opened.goto(f"{url}/#/reach-m2/{TASK}")
    opened.wait_for_function("task => document.querySelector('[name=task]')?.value === task", arg=str(TASK))
    opened.locator(".pace input[type=range]").fill("0.8")
    yield opened
    context.close()
    assert complaints == []


@pytest.fixture
def client(server_url: str) -> Iterator[Client]:
    with Client(server_url) as opened:
        yield opened


def click_at(page: Any, x: float, y: float) -> None:
    """Click in the picture at a place of the plane [-1.1, 1.1]^2."""
    box = page.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] * (x + 1.1) / 2.2, box["y"] + box["height"] * (1.1 - y) / 2.2)


def ask(page: Any) -> None:
    page.get_by_role("button", name="Ask for this").click()


def until_asked(page: Any, text: str) -> None:
    """The server has it, and the page is ready for the next thing."""
    page.locator(".ask [role=status]", has_text=text).wait_for()
    page.locator(".guide h2:not(:text('Learning'))").wait_for()


def adaptation_of(page: Any, client: Client) -> Adaptation:
    page.wait_for_function("() => location.hash.split('/').length === 4")
    return client.adaptation(page.evaluate("location.hash.split('/')[3]"))


def test_a_click_in_the_picture_is_the_goal_and_the_policy_goes_there(page: Any, client: Client):
    page.get_by_role("button", name="Point to it in the picture").click()
    page.wait_for_selector("text=Click where it should go")
    click_at(page, 0.1, -0.4)
    until_asked(page, "a goal (")
    assert page.locator("svg.goal").count() == 1
    page.keyboard.press("Enter")  # let it try, without any demonstration
    page.wait_for_selector(".card")
    made = adaptation_of(page, client)
    assert made.ask["goal"] == pytest.approx([0.1, -0.4], abs=0.02)
    [trial] = made.episodes().trials
    places = find_family("reach-m2").achieved_goal(trial.observations)  # type: ignore[attr-defined]
    assert np.linalg.norm(places - made.ask["goal"], axis=1).min() < 0.1


def test_escape_ends_pointing_and_the_keyboard_alone_asks_for_a_goal(page: Any, client: Client):
    point = page.get_by_role("button", name="Point to it in the picture")
    point.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Click where it should go")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Click where it should go", state="detached")
    page.get_by_role("checkbox", name="a goal").focus()
    page.keyboard.press("Space")
    for i, typed in ((1, "0.3"), (2, "-0.2")):
        page.keyboard.press("Tab")
        if i == 1:
            page.keyboard.press("Tab")  # past the button beside it
        page.keyboard.press("Control+A")
        page.keyboard.type(typed)
    page.keyboard.press("Enter")
    until_asked(page, "a goal (0.3, -0.2)")
    assert adaptation_of(page, client).ask == {"goal": [0.3, -0.2]}


def test_a_return_by_the_slider_and_one_that_nobody_showed_with_a_warning(page: Any, client: Client):
    page.get_by_role("checkbox", name="a return").check()
    slider = page.get_by_label("return, over the range of training")
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("-20", "120")
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("return, as a number").input_value() == "-19.3"
    ask(page)
    until_asked(page, "a return of -19.3")
    page.get_by_label("return, as a number").fill("500")
    ask(page)
    page.wait_for_selector("text=it counts as 120")
    assert [one["ask"] for one in versions_of(page, client)] == [{"return": -19.3}, {"return": 500}]


def test_better_words_and_nothing_again_are_versions_and_a_reload_keeps_the_last(page: Any, client: Client):
    page.get_by_role("checkbox", name="better").check()
    ask(page)
    until_asked(page, "as good as can be")
    page.get_by_label("how much better").select_option("by")
    page.get_by_role("checkbox", name="in words").check()
    words = page.get_by_label("words: a sentence")
    suggested = page.evaluate("e => [...e.list.options].map(one => one.value)", words.element_handle())
    assert suggested == ["move to object number one", "move to object number two"]
    words.fill(MARK)
    words.press("Enter")
    until_asked(page, f"to be better by 0.25, “{MARK}”")
    page.reload()
    until_asked(page, f"to be better by 0.25, “{MARK}”")
    assert page.get_by_label("words: a sentence").input_value() == MARK
    assert (page.locator("main img[src=x]").count(), page.evaluate("window.hurt")) == (0, None)
    page.get_by_role("button", name="Ask for nothing again").click()
    until_asked(page, "Nothing is asked for now")
    asked = [one["ask"] for one in versions_of(page, client)]
    assert asked == [{"better": True}, {"better": 0.25, "words": MARK}, {}]


def test_words_that_would_turn_the_text_about_are_shown_by_the_names_of_their_marks(page: Any, client: Client):
    words = "\u202ekcup eht hsup\u202c \u2066now\u2069"
    page.get_by_role("checkbox", name="in words").check()
    page.get_by_label("words: a sentence").fill(words)
    ask(page)
    until_asked(page, "“⟨U+202E⟩kcup eht hsup⟨U+202C⟩ ⟨U+2066⟩now⟨U+2069⟩”")
    assert adaptation_of(page, client).ask == {"words": words}


def versions_of(page: Any, client: Client) -> list[dict[str, Any]]:
    found = client.request("GET", f"/v1/adaptations/{adaptation_of(page, client).id}/versions")
    return list(found["items"])


def test_what_the_server_refuses_is_said_with_its_field_and_nothing_is_stored(page: Any, client: Client):
    page.get_by_role("checkbox", name="a goal").check()
    page.get_by_label("goal 2").fill("1e31")
    ask(page)
    refused = page.locator(".ask [role=alert]")
    refused.wait_for()
    for part in ("ask.goal[1]", "expected a number from -1e+30 to 1e+30", "1e+31"):
        assert part in refused.inner_text()
    assert page.get_by_label("goal 2").input_value() == "1e31"  # to be mended
    assert len(page.evaluate("location.hash.split('/')")) == 3
    page.get_by_label("goal 2").fill("0.5")
    ask(page)
    until_asked(page, "a goal (")
    assert page.locator(".ask [role=alert]").count() == 0


def test_two_tabs_ask_for_the_same_and_an_attempt_goes_on_as_it_began(page: Any, client: Client):
    page.locator(".pace input[type=range]").fill("0.2")
    page.wait_for_selector("output:text('2 steps/s')")
    page.get_by_role("button", name="Try without").click()
    page.wait_for_selector("text=/policy · step [1-9]/")
    other = page.context.new_page()
    other.goto(page.url)
    other.locator(".ask").wait_for()
    page.get_by_role("checkbox", name="better").check()
    ask(page)
    until_asked(page, "as good as can be")
    page.wait_for_selector("text=It tries")
    other.locator(".ask [role=status]", has_text="as good as can be").wait_for()
    page.keyboard.press("n")
    page.wait_for_selector(".card")
    assert [one["ask"] for one in versions_of(page, client)] == [{}, {"better": True}, {"better": True}]


def test_a_model_that_offers_nothing_has_no_panel(open_page: Any):
    page = open_page(f"#/reach-m2/{TASK}")  # of the model `reach`, with the shipped models beside one that can be asked
    assert page.locator(".ask").count() == 0
    page.get_by_label("model").select_option("reach-ask")
    page.locator(".ask").wait_for()
    assert page.locator("[name=task]").input_value() == str(TASK)


def test_on_a_phone_and_in_both_schemes_axe_finds_nothing_serious(browser: Any, address: tuple[str, str]):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make console")
    url, token = address
    context = browser.new_context(viewport={"width": 390, "height": 844}, bypass_csp=True, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{url}/?token={token}")
    page.wait_for_selector(".ask")
    for name in ("a return", "a goal", "better", "in words"):
        page.get_by_role("checkbox", name=name).check()
    page.get_by_label("how much better").select_option("by")
    page.get_by_label("return, as a number").fill("1e9")
    page.get_by_label("words: a sentence").fill("w" * 300)
    ask(page)
    page.wait_for_selector("text=it counts as")
    page.get_by_role("button", name="Point to it in the picture").tap()
    page.wait_for_selector("text=Click where it should go")
    in_view = "e => { const box = e.getBoundingClientRect(); return box.top < innerHeight && box.bottom > 0; }"
    assert page.locator("canvas").evaluate(in_view)
    page.add_script_tag(path=str(AXE))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = page.evaluate("axe.run().then(({violations}) => violations)")
        assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
