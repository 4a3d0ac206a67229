"""The page of `wtl play` in a real Chromium: what a person does with it, from the demonstration to the success."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.playing import ServerProcess, dial

from metalearn.tasks.registry import find_family
from service.client import Client
from wtl.play.access import REFUSED, leading_to
from wtl.play.launch import BUILT
from wtl.play.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
AXE = BUILT.parent / "node_modules" / "axe-core" / "axe.min.js"

REACH = 2_000_017
SIBLINGS = (REACH, REACH - 1)  # two tasks with the same demonstration, and each with its own target
DONE = "It succeeded at once|It has learned it|That failed"
Open = Callable[..., Any]


def point_to(page: Any, x: float, y: float) -> None:
    """Press in the picture at a place of the plane [-1.1, 1.1]^2."""
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * (x + 1.1) / 2.2, box["y"] + box["height"] * (1.1 - y) / 2.2)
    page.mouse.down()


def show_by_pointer(page: Any, goal: list[float]) -> None:
    page.get_by_role("button", name="Show it myself").click()
    page.wait_for_selector("text=Your turn")
    point_to(page, *goal)
    page.wait_for_selector("text=Now let it try")
    page.mouse.up()


def attempt(page: Any) -> str:
    """Let it try; returns what the page says of it."""
    before = trials(page)
    page.keyboard.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('.card').length > n", arg=before)
    page.wait_for_selector(f"h2:text-matches('{DONE}')")
    return str(page.locator(".guide h2").inner_text())


def believed(page: Any) -> list[int]:
    """The probability of each hypothesis in percent, as the page says them."""
    return [int(found) for found in re.findall(r": (\d+) %", page.locator(".belief").get_attribute("aria-label"))]


def slowly(page: Any) -> None:
    """A few steps a second, so that an attempt lasts until something was done about it."""
    page.locator(".pace input[type=range]").fill("0.3")
    page.wait_for_selector("output:text('3 steps/s')")


def trials(page: Any) -> int:
    return int(page.locator(".card").count())


def adaptation_of(page: Any) -> str:
    page.wait_for_function("() => location.hash.split('/').length === 4")
    return str(page.evaluate("location.hash.split('/')[3]"))


def staged(family: str, task: int) -> Stage:
    """A task at the start of its first demonstration, as the page has it."""
    stage = Stage(find_family(family), task)
    stage.begin("demo", 0)
    return stage


def test_reach_shown_with_the_pointer_fails_learns_and_succeeds(open_page: Open, server: ServerProcess):
    for task in SIBLINGS * 3:  # until the first guess is wrong, as it is for one of two targets
        page = open_page(f"#/reach-m2/{task}")
        show_by_pointer(page, staged("reach-m2", task)._env.unwrapped._row.goal[0].tolist())  # type: ignore[attr-defined]
        undecided = believed(page)
        first = attempt(page)
        if "failed" in first:
            break
    assert "failed" in first
    assert attempt(page) == "It has learned it"
    assert max(believed(page)) > max(80, *undecided)
    assert int(page.locator(".bars .newest text").first.text_content()) > 80
    page.wait_for_selector(".compare figure.bad")  # the replay in step ends, the first attempt beside the second
    page.wait_for_selector(".compare figure.good")
    with Client(server.url) as client:
        trials_ = client.adaptation(adaptation_of(page)).episodes().trials
    assert [trial.success for trial in trials_] == [False, True]


def test_key_to_door_shown_with_keys(open_page: Open):
    task = 2_000_006
    page = open_page(f"#/key-to-door/{task}")
    page.get_by_role("button", name="Show it myself").click()
    page.wait_for_selector("text=Your turn")
    for key in keys_of_the_expert(task):
        page.keyboard.press(key)
    page.wait_for_selector("text=Now let it try")
    said = [attempt(page), attempt(page)]
    assert said[-1] == "It has learned it"


def keys_of_the_expert(task: int) -> list[str]:
    """From the first start over both places, waiting at each, to the door."""
    stage, keys = staged("key-to-door", task), []
    while not stage.over:
        action = int(stage.expert_action())
        keys.append(("Space", "ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown")[action])
        stage.step(action)
    return keys


def test_an_own_family_shown_with_keys_and_scored_by_hand(open_page: Open):
    page = open_page("#/own_task%3ADoors/20000")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    slowly(page)
    page.get_by_role("button", name="Let it try").click()
    page.wait_for_selector("text=It tries")
    page.keyboard.press("p")
    page.wait_for_selector("text=It waits")
    page.keyboard.press(".")
    page.wait_for_selector("text=/step [1-9]/")
    page.keyboard.press("n")
    page.wait_for_selector("text=That failed")
    assert page.locator(".card").nth(1).inner_text().count("failure") == 1


def test_a_person_takes_over_in_the_middle_and_gives_back(open_page: Open):
    page = open_page(f"#/reach-m2/{REACH}")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    slowly(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=/policy · step [1-9]/")
    page.keyboard.press("t")
    page.wait_for_selector("text=You have taken over")
    page.keyboard.down("ArrowLeft")
    page.wait_for_selector("text=/you · step/")
    page.keyboard.up("ArrowLeft")
    page.keyboard.press("t")
    page.wait_for_selector(f"h2:text-matches('{DONE}')")
    assert trials(page) == 2


def test_reload_in_the_middle_of_an_episode_keeps_it(open_page: Open):
    page = open_page(f"#/reach-m2/{REACH}")
    page.get_by_role("button", name="Show it myself").click()
    page.wait_for_selector("text=Your turn")
    page.keyboard.down("ArrowRight")
    page.wait_for_selector("text=/step [2-9]/")
    page.keyboard.up("ArrowRight")
    page.wait_for_selector(".badge .dot:not(.on)")
    step = page.locator(".badge").inner_text()
    page.reload()
    page.wait_for_selector("text=Your turn")
    assert page.locator(".badge").inner_text() == step


def test_the_address_comes_back_in_another_browser_and_two_tabs_follow_each_other(open_page: Open):
    one = open_page(f"#/reach-m2/{REACH}")
    one.get_by_role("button", name="Let the expert show it").click()
    one.wait_for_selector("text=Now let it try")
    other = open_page(f"#/reach-m2/{REACH}/{adaptation_of(one)}")
    other.wait_for_selector("text=Now let it try")
    attempt(other)
    one.wait_for_selector(f"h2:text-matches('{DONE}')")
    assert trials(one) == 2


def test_another_model_is_another_entry_and_the_way_back_leads_to_the_former(open_page: Open):
    page = open_page(f"#/reach-m2/{REACH}")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    before, model = adaptation_of(page), page.get_by_label("model")
    model.select_option("reach-ask")
    page.wait_for_selector("text=Show it a task")
    page.wait_for_function("() => location.hash.endsWith('?model=reach-ask')")
    page.go_back()
    page.wait_for_selector("text=Now let it try")
    assert (adaptation_of(page), model.input_value()) == (before, "reach")
    page.go_forward()
    page.wait_for_selector("text=Show it a task")
    page.reload()
    page.wait_for_selector("text=Show it a task")
    assert model.input_value() == "reach-ask"


def test_an_adaptation_that_was_deleted_meanwhile_is_said_and_the_task_is_shown_anew(
    open_page: Open, server: ServerProcess
):
    page = open_page(f"#/reach-m2/{REACH}")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    before = adaptation_of(page)
    with Client(server.url) as client:
        client.adaptation(before).delete()
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="The adaptation is gone").wait_for()
    page.wait_for_function("() => location.hash.split('/').length === 3")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    assert page.get_by_role("alert").count() == 0
    assert adaptation_of(page) != before
    attempt(page)


def test_an_episode_is_deleted_and_the_way_back_leads_to_it(open_page: Open):
    page = open_page(f"#/reach-m2/{REACH}")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    attempt(page)
    before = adaptation_of(page)
    page.locator(".card").nth(1).click()
    page.get_by_role("button", name="Delete").click()
    page.wait_for_selector("text=Now let it try")
    assert adaptation_of(page) != before
    page.go_back()
    page.wait_for_selector(f"h2:text-matches('{DONE}')")
    assert adaptation_of(page) == before


def test_an_episode_is_trimmed_and_scored_again_and_a_version_is_forked(open_page: Open, server: ServerProcess):
    page = open_page(f"#/reach-m2/{REACH}")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    seen = [adaptation_of(page)]
    page.locator(".card").first.click()
    page.get_by_label("first step").fill("2")
    page.get_by_role("button", name="Trim to").click()
    seen.append(another_adaptation(page, seen))
    page.locator(".card").first.click()
    page.get_by_role("button", name="Score it a failure").click()
    seen.append(another_adaptation(page, seen))
    page.wait_for_selector(".card .outcome.bad")
    page.get_by_label("go on with a copy of").select_option("1")
    seen.append(another_adaptation(page, seen))
    with Client(server.url) as client:
        shown = [client.adaptation(one).episodes().demos[0] for one in seen]
    assert [len(shown[0]) - len(one) for one in shown] == [0, 2, 2, 2]
    assert [one.success for one in shown] == [True, True, False, False]


def another_adaptation(page: Any, seen: list[str]) -> str:
    """The adaptation that the page goes on with, once it has another one and can be used."""
    page.wait_for_function("seen => !seen.includes(location.hash.split('/')[3])", arg=seen)
    page.wait_for_selector("text=Now let it try")
    return adaptation_of(page)


def test_episodes_are_downloaded_from_the_page(open_page: Open, tmp_path: Path):
    page = open_page(f"#/reach-m2/{REACH}")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    named = {}
    for title in ("episodes (.npz)", "episodes (Minari)", "episodes (LeRobot)", "policy and episodes (.zip)"):
        with page.expect_download(timeout=180_000) as download:
            page.get_by_role("link", name=title).click()
        named[title] = download.value.suggested_filename
        download.value.save_as(tmp_path / named[title])
        assert zipfile.is_zipfile(tmp_path / named[title])
    assert len(set(named.values())) == 4


def test_a_gamepad_steers(open_page: Open):
    page = open_page(f"#/reach-m2/{REACH}")
    page.evaluate("navigator.getGamepads = () => [window.pad ?? null]")
    page.get_by_role("button", name="Show it myself").click()
    page.wait_for_selector("text=Your turn")
    page.evaluate("window.pad = {connected: true, axes: [0.1, -1], buttons: []}")  # up; 0.1 is a stick at rest
    page.wait_for_selector("text=/you · step [3-9]/")
    page.evaluate("window.pad = {connected: true, axes: [0, 0], buttons: []}")
    page.wait_for_selector(".badge .dot:not(.on)")  # time stands still
    page.get_by_role("button", name="Done, that is it").click()
    page.wait_for_selector("text=Now let it try")
    page.goto(f"{page.url.partition('#')[0]}#/key-to-door/2000006")
    page.wait_for_function("() => document.querySelector('[name=task]')?.value === '2000006'")
    page.get_by_role("button", name="Show it myself").click()
    page.wait_for_selector("text=Your turn")
    page.evaluate("window.pad.buttons = Array.from({length: 16}, (_, i) => ({pressed: i === 15}))")  # the cross, right
    page.wait_for_selector("text=/you · step 1 of/")
    page.evaluate("window.pad.buttons = Array.from({length: 16}, () => ({pressed: false}))")


def test_meta_world_is_drawn_off_screen_and_steered_by_sliders(open_page: Open):
    page = open_page("#/push-strict/2000000")
    page.wait_for_function("() => document.querySelector('[name=task]')?.value === '2000000'")
    page.get_by_role("button", name="Show it myself").click()
    page.wait_for_selector("text=Set the sliders")
    assert page.locator(".axes input[type=range]").count() == 4
    page.locator(".axes input[type=range]").first.fill("1")
    page.get_by_role("button", name="Go", exact=True).click()
    page.wait_for_selector("text=/you · step [2-9]/")
    page.get_by_role("button", name="Stand still").click()
    page.wait_for_selector(".badge .dot:not(.on)")
    colours = page.evaluate("""() => {
      const canvas = document.querySelector("canvas");
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    }""")
    assert colours > 500  # a scene, and no bars


def test_a_server_that_dies_in_the_middle_is_waited_for(open_page: Open, server: ServerProcess):
    page = open_page(f"#/reach-m2/{REACH}")
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    slowly(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=/policy · step [1-9]/")
    server.kill()
    try:
        page.wait_for_selector("text=The server does not answer")
    finally:
        server.start()
    page.wait_for_selector(f"h2:text-matches('{DONE}')")
    assert trials(page) == 2


def test_the_printed_address_opens_from_a_file_and_leaves_no_token_behind(
    browser: Any, page_url: str, token: str, tmp_path: Path
):
    """As `--open` does it: the file is another site, whose redirects would carry no strict cookie."""
    (tmp_path / "open.html").write_text(leading_to(f"{page_url}/?token={token}"))
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "open.html").as_uri())
    page.wait_for_selector("canvas")
    assert token not in page.url
    page.reload()
    page.wait_for_selector("canvas")
    assert page.evaluate("document.cookie") == ""
    [cookie] = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"] > 0) == (True, "Strict", True)
    page.goto("about:blank")
    context.clear_cookies()
    page.goto(page_url)
    page.wait_for_selector(f"text={REFUSED}")
    context.close()


def test_a_page_whose_token_counts_no_more_says_where_there_is_one(open_page: Open, page_url: str, token: str):
    page = open_page(f"#/reach-m2/{REACH}")
    page.context.clear_cookies()
    with dial(page_url, token, page.evaluate("sessionStorage.getItem('wtl-play-page')")):  # sends the page away
        page.wait_for_selector(f"text={REFUSED}")


def test_on_a_phone_nothing_is_cut_off_and_a_finger_steers(open_page: Open):
    page = open_page(f"#/reach-m2/{REACH}", has_touch=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    attempt(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_hostile_problem_is_shown_as_text(open_page: Open):
    hostile = "<img src=x onerror=alert(1)>"
    page = open_page(f"#/reach-m2/{REACH}")
    page.evaluate("wanted => { location.hash = wanted; }", f"#/reach-m2/{REACH}/{hostile.replace('/', '%2F')}")
    alert = page.get_by_role("alert")
    alert.wait_for()
    page.evaluate("wanted => { location.hash = wanted; }", f"#/{hostile}/{REACH}")
    page.wait_for_function("text => document.querySelector('[role=alert]')?.innerText.includes(text)", arg="<img")
    assert page.locator("main img[src=x]").count() == 0


def test_axe_finds_nothing_serious(open_page: Open):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make console")
    page = open_page(f"#/reach-m2/{REACH}", bypass_csp=True)
    page.add_script_tag(path=str(AXE))
    assert faults(page) == []
    page.get_by_role("button", name="Let the expert show it").click()
    page.wait_for_selector("text=Now let it try")
    attempt(page)
    attempt(page)
    page.locator(".card").nth(1).click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(500)  # colours change in a transition
        assert faults(page) == []


def faults(page: Any) -> list[tuple[str, list[str]]]:
    found = page.evaluate("axe.run()")["violations"]
    return [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
