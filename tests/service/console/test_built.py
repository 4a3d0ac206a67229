"""The built pages as files: small, alone, and without a word of script or style in the page itself."""

import gzip
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.api.routes.console import BUILT, NOT_BUILT

pytestmark = pytest.mark.skipif(not (BUILT / "index.html").is_file(), reason=NOT_BUILT)
MOST_BYTES = 200_000  # compressed, of all pages together
PAGES = ("index.html", "play.html")


def test_all_files_together_stay_small() -> None:
    files = [path for path in BUILT.rglob("*") if path.is_file() and path.name != "licenses.md"]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) <= MOST_BYTES


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_inline_script_or_style_and_names_only_files_beside_it(page: str) -> None:
    content = (BUILT / page).read_text()
    assert re.findall(r"<script[^>]*>", content) == re.findall(r"<script[^>]* src=\"\./assets/[^\"]+\"[^>]*>", content)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", content)
    for reference in re.findall(r"(?:href|src)=\"([^\"]+)\"", content):
        assert (BUILT / reference).is_file(), reference


@pytest.mark.parametrize("path", list(BUILT.rglob("*.css")), ids=lambda path: path.name)
def test_a_style_sheet_loads_nothing(path: Path) -> None:
    assert not re.search(r"@import|url\((?!data:)|https?:", path.read_text())


def test_the_console_is_served_with_a_policy_that_allows_no_inline_script_or_style(http: TestClient) -> None:
    policy = http.get("/console/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "style-src 'self'" in policy
    assert "unsafe" not in policy
