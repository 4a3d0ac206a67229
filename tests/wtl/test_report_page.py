"""The report of an evaluation as a page: what is in it, what cannot get out of it, and how it opens from disk."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.chromium import chromium
from support.console import AXE, opens_pages

from metalearn.data.episode import Episode
from metalearn.evaluation.evaluate import Story
from metalearn.evaluation.report import Report
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


def test_names_cannot_leave_the_place_of_the_json(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<html>{PLACE}</html>")
    report = hostile_report()
    written = write_page(report, [a_story()], tmp_path / "report.html", page)
    assert written
    before, after = PLACE.split("null")
    inside = written.read_text().removeprefix(f"<html>{before}").removesuffix(f"{after}</html>")
    assert not set("<>&") & set(inside)
    filled = json.loads(inside)
    assert filled["report"] == report.to_json()
    assert [one["title"] for one in filled["stories"][0]["episodes"]] == ["demonstration", "trial", "retrial"]


def test_without_the_built_page_nothing_is_written(tmp_path: Path) -> None:
    assert write_page(hostile_report(), [], tmp_path / "report.html", tmp_path / "missing.html") is None
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
