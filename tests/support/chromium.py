"""Debian's Chromium, driven by Playwright and without a network: for tests, pictures and measurements of pages."""

import contextlib
import os
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

HOW = "no Chromium to open the pages with: run .ci/chromium (Debian: apt install chromium)"
QUIET = (
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--disable-domain-reliability", "--disable-sync", "--no-first-run", "--no-pings", "--disable-gpu",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
"""As root there is no sandbox; nothing but loopback has an address."""


def chromium_path() -> str | None:
    """The program, or None where there is none."""
    return os.environ.get("WTL_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. Raises FileNotFoundError: there is none."""
    path = chromium_path()
    if path is None:
        raise FileNotFoundError(HOW)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()
