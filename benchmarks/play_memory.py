"""Measure what a tab of `wtl play` holds while attempts are played: `python -m benchmarks.play_memory --minutes 30`.

Chromium is driven by its own protocol with as little of it as possible: Playwright keeps a record of every request, and
a page that shows films makes many, so that what grows would be the driver's. Each sample comes after a garbage
collection. Prints and writes how each number grows per minute after the first minutes, with a 95% interval.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import scipy.stats
from websockets.sync.client import ClientConnection, connect

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.chromium import QUIET, chromium_path

from benchmarks.play import TASK, play_process

RESULTS = Path(__file__).parent / "results" / "play-memory.json"
Row = Mapping[str, float]

ROUND = """(async () => {
  const wait = async (test) => { while (!test()) await new Promise((done) => setTimeout(done, 50)); };
  const title = () => document.querySelector(".guide h2")?.textContent ?? "";
  const cards = () => document.querySelectorAll(".card").length;
  const buttons = () => [...document.querySelectorAll("button")];
  const press = (text) => buttons().find((one) => one.textContent.startsWith(text)).click();
  await wait(() => title() !== "");
  if (cards() === 0 || cards() >= 7) {
    press("Draw another task");
    await wait(() => cards() === 0 && title() === "Show it a task");
    press("Let the expert show it");
    await wait(() => cards() === 1);
  }
  const before = cards();
  document.querySelector(".guide button.main").click();
  await wait(() => cards() > before);
})()"""
"""One attempt; after six attempts at a task another one is shown and tried."""

SPEED = """(() => {
  const slider = document.querySelector(".pace input[type=range]");
  slider.value = String(Math.log(40) / Math.log(60));
  slider.dispatchEvent(new Event("input", {bubbles: true}));
})()"""


class Tab:
    """One tab, over its socket of the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._sent = socket, 0

    def ask(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        """The result of one method."""
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=120))
            if answer.get("id") == self._sent:
                found: Mapping[str, Any] = answer["result"]
                return found

    def run(self, script: str) -> None:
        """Run a script in the page, and wait for what it promises."""
        failed = self.ask("Runtime.evaluate", expression=script, awaitPromise=True).get("exceptionDetails")
        if failed:
            raise RuntimeError(json.dumps(failed)[:400])

    def held(self) -> Row:
        """What it holds after a garbage collection."""
        self.ask("HeapProfiler.collectGarbage")
        used = self.ask("Runtime.getHeapUsage")
        counts = {one["name"]: one["value"] for one in self.ask("Performance.getMetrics")["metrics"]}
        return {
            "script_mib": round(used["usedSize"] / 2**20, 4),
            "page_mib": round(used["embedderHeapUsedSize"] / 2**20, 4),
            "nodes": counts["Nodes"],
            "listeners": counts["JSEventListeners"],
        }


@contextmanager
def tab() -> Iterator[Tab]:
    """A tab of a new Chromium."""
    path = chromium_path()
    assert path is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [*QUIET, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        browser = subprocess.Popen([path, *options], stderr=subprocess.DEVNULL)
        try:
            told = Path(profile, "DevToolsActivePort")
            while not told.is_file() or not told.read_text():
                time.sleep(0.1)
            pages = httpx.get(f"http://127.0.0.1:{told.read_text().split()[0]}/json/list").json()
            [address] = [one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page"]
            with connect(address, max_size=None, proxy=None, ping_interval=None) as socket:
                yield Tab(socket)
        finally:
            browser.terminate()
            browser.wait()


def measure(minutes: float) -> list[Row]:
    """Samples while attempts are played. A task has always the same number of episodes when one is taken."""
    rows: list[Row] = []
    with tab() as page, play_process() as (port, token):
        address = f"http://127.0.0.1:{port}"
        while True:
            try:
                httpx.get(address)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        page.ask("Performance.enable")
        for at in (f"?token={token}", f"#/reach-m2/{TASK}"):
            page.ask("Page.navigate", url=f"{address}/{at}")
            time.sleep(2)
        page.run(ROUND)
        page.run(SPEED)
        began = time.monotonic()
        while (minute := (time.monotonic() - began) / 60) < minutes:
            for _ in range(6):
                page.run(ROUND)
            rows.append({"minute": round(minute, 2), **page.held()})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def slope(rows: Sequence[Row], name: str, after: float) -> Mapping[str, float]:
    """Growth per minute of one number by least squares, without the first minutes, with a 95% interval.

    Neighbouring samples are alike, so what is fitted are the means of ten stretches of time.
    """
    late = np.array([[row["minute"], row[name]] for row in rows if row["minute"] >= after])
    minute, value = np.array([part.mean(0) for part in np.array_split(late, min(10, len(late)))]).T
    fit = scipy.stats.linregress(minute, value)
    half = scipy.stats.t.ppf(0.975, len(minute) - 2) * fit.stderr
    numbers = {"mean": value.mean(), "per_minute": fit.slope, "from": fit.slope - half, "to": fit.slope + half}
    return {key: round(float(number), 5) for key, number in numbers.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--after", type=float, default=5.0, help="minutes that are left out: caches fill, code is compiled"
    )
    given = parser.parse_args()
    rows = measure(given.minutes)
    names = [name for name in rows[0] if name != "minute"]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "minutes": given.minutes,
        "after": given.after,
        "growth": {name: slope(rows, name, given.after) for name in names},
        "samples": rows,
    }
    print(json.dumps(result["growth"], indent=2))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
