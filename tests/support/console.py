"""The console as tests open it: a page that keeps what the browser complained about."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from support.chromium import HOW, chromium_path

from service.api.routes.console import BUILT, NOT_BUILT

MISSING = HOW if chromium_path() is None else None if (BUILT / "index.html").is_file() else NOT_BUILT
opens_pages = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
AXE = Path(__file__).parents[2] / "service" / "console" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = {"serious", "critical"}
PATIENCE_MS = 60_000
"""The machine may do other work."""

_MARK_AS_OLD = """to => {
  const path = (hash) => new URL(hash, "http://x/").hash.split("?")[0];
  const main = document.querySelector("main");
  if (main && path(location.hash) !== path(to)) main.dataset.old = "";
}"""
"""What a page shows is made anew unless only the query of its address changes."""

expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Opened:
    """A page at one server."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def go(self, at: str) -> Page:
        """Open a page of the console by its address after `#/`; give it the time that it needs.

        The page that is shown until then is marked: it may have all that is waited for.
        """
        self.page.evaluate(_MARK_AS_OLD, f"#/{at}")
        self.page.goto(f"{self.url}/console/#/{at}")
        expect(self.page.locator("main:not([data-old]) h1")).to_be_visible()
        expect(self.page.locator("main:not([data-old]) .loading")).to_have_count(0)
        return self.page

    def faults(self) -> list[str]:
        """What axe-core calls serious on what is shown now, and every scroll sideways."""
        self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [one for one in found["violations"] if one["impact"] in SERIOUS]
        said = [f"{one['id']}: {node['html'][:160]}" for one in serious for node in one["nodes"]]
        wide = self.page.evaluate("document.scrollingElement.scrollWidth - document.documentElement.clientWidth")
        return said + ([f"the page is {wide} px too wide"] if wide > 0 else [])


@contextlib.contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Opened]:
    """A page in a context of its own. Whatever the browser complains about, a policy that is broken too, fails."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    it = Opened(context.new_page(), url)
    it.page.on("console", lambda said: said.type == "error" and it.complaints.append(said.text))
    it.page.on("pageerror", lambda error: it.complaints.append(str(error)))
    try:
        yield it
        assert [one for one in it.complaints if "Failed to load resource" not in one] == []
    finally:
        context.close()
