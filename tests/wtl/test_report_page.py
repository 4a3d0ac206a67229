"""The report of an evaluation as a page: what is in it, what cannot get out of it, and how it opens from disk."""

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image
from support.chromium import chromium
from support.console import AXE, opens_pages

from metalearn.benchmark.page import HTML, page_text
from metalearn.benchmark.report import read_report
from metalearn.data.context import Context
from metalearn.data.episode import Episode
from metalearn.data.spec import Spec
from metalearn.evaluation.evaluate import Story, tell_stories
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.report import Report
from metalearn.tasks.family import Family
from metalearn.tasks.registry import find_family
from service.settings import SHIPPED_MODELS
from wtl.report_page import PLACE, built_page, write_page

HOSTILE = "</script><script>window.hurt=1</script><!-- & <img src=x onerror=window.hurt=1>"


def hostile_report() -> Report:
    report = Report.read(SHIPPED_MODELS / "reach" / "report.json")
    return report.model_copy(update={"bundle": HOSTILE}).with_method(HOSTILE, report.methods["random"])


def a_story() -> Story:
    def walk(success: bool) -> Episode:
        points = np.linspace([0, 0], [1, 0.5], 9)
        return Episode.of(points, np.diff(points, axis=0), np.zeros(8), success)

    return Story(7, walk(True), walk(False), walk(True))


class RandomAdapter:
    """Acts at random, so that first attempts fail."""

    def __init__(self, spec: Spec) -> None:
        self._space = spec.action_space

    def adapt(self, contexts: Sequence[Context], rng: np.random.Generator) -> Any:
        return self

    def act(self, observations: Any) -> Any:
        self._space.seed(len(observations))
        return np.stack([self._space.sample() for _ in observations])


def test_names_cannot_leave_the_place_of_the_json(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<html>{PLACE}</html>")
    report = hostile_report()
    written = write_page(report, [a_story()], tmp_path / "report.html", page=page)
    assert written
    before, after = PLACE.split("null")
    inside = written.read_text().removeprefix(f"<html>{before}").removesuffix(f"{after}</html>")
    assert not set("<>&") & set(inside)
    filled = json.loads(inside)
    assert filled["report"] == report.to_json()
    assert [one["title"] for one in filled["stories"][0]["episodes"]] == ["demonstration", "trial", "retrial"]


def shown(story: Story, family: Family | None, folder: Path) -> list[dict[str, Any]]:
    """The episodes of a story as they stand in the page."""
    (folder / "page.html").write_text(PLACE)
    before, after = PLACE.split("null")
    written = write_page(hostile_report(), [story], folder / "report.html", family, folder / "page.html")
    assert written
    told = json.loads(written.read_text().removeprefix(before).removesuffix(after))["stories"][0]["episodes"]
    return list(told)


def test_what_the_environment_renders_is_a_film_strip_of_the_same_episode(tmp_path: Path) -> None:
    family = find_family("reach-m2")
    manifest = load_manifest("reach-m2")
    [story] = tell_stories(RandomAdapter(family.spec), family, manifest, n=1, among=4)
    for one, episode in zip(shown(story, family, tmp_path), (story.demo, story.trial, story.retrial), strict=True):
        part = one["parts"][-1]
        assert (part["name"], part["kind"]) == ("rendered", "image")
        pictures = [Image.open(BytesIO(base64.b64decode(uri.split(",")[1]))) for uri in one["observations"]["rendered"]]
        assert len(pictures) == len(one["pictureSteps"]) == min(12, len(episode) + 1)
        assert one["pictureSteps"][-1] == len(episode)
        assert {picture.size for picture in pictures} == {(200, 200)}
    elsewhere = replace(story, seeds=(1, 2, 3))  # replayed actions that lead elsewhere show nothing
    assert all(part["kind"] == "vector" for one in shown(elsewhere, family, tmp_path) for part in one["parts"])


def test_pictures_that_were_observed_are_a_film_strip(tmp_path: Path) -> None:
    spec = find_family("reach-pixels").spec
    episodes = [spec.example_episode(np.random.default_rng(i), 30) for i in range(3)]
    [demo, _, _] = shown(Story(0, *episodes), None, tmp_path)
    strips = [part["name"] for part in demo["parts"] if part["kind"] == "image"]
    assert strips and all(len(demo["observations"][name]) == 12 for name in strips)
    assert all(uri.startswith("data:image/jpeg;base64,") for name in strips for uri in demo["observations"][name])


@pytest.mark.parametrize("n_channels", [2, 5, 9])
def test_of_frames_in_a_stack_the_last_one_is_shown(tmp_path: Path, n_channels: int) -> None:
    spec = Spec(spaces.Box(0, 255, (8, 8, n_channels), np.uint8), spaces.Discrete(2), horizon=9, rate_hz=1.0)
    demo = spec.example_episode(np.random.default_rng(0), 5)
    n_frame = 3 if n_channels == 9 else 1
    last = np.broadcast_to(np.arange(n_channels) >= n_channels - n_frame, demo.observations.shape)
    demo = replace(demo, observations=255 * last.astype(np.uint8))
    [drawn, _, _] = shown(Story(0, demo, demo, demo), None, tmp_path)
    picture = Image.open(BytesIO(base64.b64decode(drawn["observations"]["observation"][0].split(",")[1])))
    assert np.asarray(picture).min() > 250


def test_a_suite_has_such_a_page_too_and_its_own_links_to_it(tmp_path: Path) -> None:
    report = read_report(Path("benchmarks/results/reach-m4/report.json"))
    (tmp_path / "page.html").write_text(PLACE)
    assert write_page(report, [], tmp_path / HTML, page=tmp_path / "page.html")
    assert "](report.html)" in page_text(report, [HTML]) and "](report.html)" not in page_text(report, [])


def test_without_the_built_page_nothing_is_written(tmp_path: Path) -> None:
    assert write_page(hostile_report(), [], tmp_path / "report.html", page=tmp_path / "missing.html") is None
    assert not list(tmp_path.iterdir())


@opens_pages
@pytest.mark.skipif(not built_page().is_file(), reason="the page is not built: run make console")
@pytest.mark.timeout(120)
def test_it_opens_from_disk(tmp_path: Path) -> None:
    path = write_page(hostile_report(), [a_story()], tmp_path / "report.html")
    assert path
    with chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.get_by_role("heading", level=1).wait_for()
        assert "Report on" in page.title()
        assert page.get_by_role("table").first.get_by_text("best possible").is_visible()
        assert page.get_by_role("heading", name="Task 7: shown, tried, learned").is_visible()
        page.get_by_label("step of task 7").fill("3")
        assert page.locator("output").inner_text() == "3"
        assert page.evaluate("window.hurt") is None
        assert (asked, errors) == ([path.as_uri()], [])
        assert page.locator("svg.paths .now").count() == 3
        page.screenshot(path=tmp_path / "light.png", full_page=True)
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=tmp_path / "dark.png", full_page=True)
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run()")["violations"]
        assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
