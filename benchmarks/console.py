"""The console's size, and how fast it opens on loopback in Chromium.

python -m benchmarks.console [--adaptations 10000]   writes benchmarks/results/console.json

The adaptations are rows: each has ten episodes, all of them references to the same files, since a list reads no file.
On a machine that does other work the milliseconds say little; beside each stands what the requests alone take.
"""

import argparse
import gzip
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import structlog
from playwright.sync_api import Browser, Page
from sqlalchemy import insert, select

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from support.chromium import chromium  # noqa: E402
from support.serving import served  # noqa: E402

from service.api.routes.console import BUILT  # noqa: E402
from service.app import create_app  # noqa: E402
from service.client import Client  # noqa: E402
from service.settings import Settings  # noqa: E402
from service.storage.database import Database  # noqa: E402
from service.storage.tables import adaptations, members, versions  # noqa: E402

OUT = Path(__file__).parent / "results" / "console.json"
EPISODES = 10
TIMES = 9
SHOWN = """([address, wanted]) => new Promise((done) => {
  const begun = performance.now();
  const look = () => document.querySelector(wanted) ? done(performance.now() - begun) : requestAnimationFrame(look);
  location.hash = address;
  requestAnimationFrame(look);
})"""
"""Milliseconds from a change of the address until what is wanted is there."""


def compressed_bytes() -> dict[str, int]:
    """Each file that the console's page loads, as it travels."""
    page = (BUILT / "index.html").read_text()
    loaded = [file for file in sorted((BUILT / "assets").iterdir()) if file.name in page]
    return {file.name: len(gzip.compress(file.read_bytes(), 9)) for file in (BUILT / "index.html", *loaded)}


def fill(url: str, settings: Settings, n: int) -> None:
    """Copy the rows of an adaptation until there are `n`."""
    with Client(url) as client:
        example = client.model("reach").example
        first = client.adapt("reach", demos=[example] * EPISODES)
    database = Database(settings.database_url, 1)
    with database.write() as c:
        row = dict(c.execute(select(adaptations).where(adaptations.c.id == first.id)).one()._mapping)
        version = dict(c.execute(select(versions).where(versions.c.adaptation == first.id)).one()._mapping)
        of = [dict(one._mapping) for one in c.execute(select(members).where(members.c.adaptation == first.id))]
        for one in (row, *of):
            del one["position"]
        ids = [f"{i:024x}" for i in range(1, n)]
        c.execute(insert(adaptations), [row | {"id": name} for name in ids])
        c.execute(insert(versions), [version | {"adaptation": name} for name in ids])
        c.execute(insert(members), [one | {"adaptation": name} for name in ids for one in of])
    database.close()


def interactive_ms(browser: Browser, url: str) -> float:
    """A page that was never opened before: until its models can be clicked."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/console/")
    page.locator(".tile a").first.wait_for()
    taken = page.evaluate("performance.now()")
    context.close()
    return float(taken)


def opened_ms(page: Page, address: str, wanted: str) -> float:
    """A page of the console, from another page of it."""
    page.evaluate(SHOWN, ["#/training", "form.start"])
    return float(page.evaluate(SHOWN, [address, wanted]))


def request_ms(client: httpx.Client, path: str) -> float:
    """One request alone."""
    started_s = time.perf_counter()
    client.get(path).raise_for_status()
    return 1e3 * (time.perf_counter() - started_s)


def measure(url: str) -> Mapping[str, float]:
    """The middle of several times, in milliseconds."""
    listed = "/v1/adaptations?limit=50&order=newest&confidence=false"
    with chromium() as browser, httpx.Client(base_url=url) as client:
        page = browser.new_page()
        page.goto(f"{url}/console/#/training")
        page.locator("form.start").wait_for()
        taken = {
            "interactive_ms": [interactive_ms(browser, url) for _ in range(TIMES)],
            "list_ms": [opened_ms(page, "#/adaptations", "tbody tr") for _ in range(TIMES)],
            "list_request_ms": [request_ms(client, listed) for _ in range(TIMES)],
            "search_ms": [
                opened_ms(page, "#/adaptations?search=0000000000000000000003", "tbody tr") for _ in range(TIMES)
            ],
            "search_request_ms": [request_ms(client, f"{listed}&search=0000000000000000000003") for _ in range(TIMES)],
        }
    return {name: round(statistics.median(several), 1) for name, several in taken.items()}


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adaptations", type=int, default=10_000)
    n = parser.parse_args().adaptations
    with tempfile.TemporaryDirectory() as folder:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        settings = Settings(data=Path(folder) / "data")
        with served(create_app(settings), settings) as url:
            fill(url, settings, n)
            times = measure(url)
    sizes = compressed_bytes()
    found = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"), "adaptations": n, "episodes": n * EPISODES,
        "compressed_bytes": sum(sizes.values()), "files": sizes, **times,
    }  # fmt: skip
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
