"""Measure the page of `wtl play` in Chromium: `python benchmarks/play.py`; or record the animation of the README.

    python benchmarks/play.py                                  # about 1 minute; writes benchmarks/results/play.json
    python benchmarks/play.py --record docs/images/play.gif    # show, try, fail, learn, succeed; from the real page;
                                                               # and the whole page beside it, light and dark
    python benchmarks/play.py --asking docs/images/play-ask    # pictures of the ask panel, light and dark

Pictures per second and the time from a pointer to its picture are those of demonstrations of reach at `--pace` steps a
second, as the page itself saw them: from the event of the pointer until the picture that answers it is drawn. The
memory of the tab is measured by `python -m benchmarks.play_memory`.
"""

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import Error, Page

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.chromium import chromium

from metalearn.tasks.registry import find_family
from wtl.play.access import load_token
from wtl.play.stage import Stage

RESULTS = Path(__file__).parent / "results" / "play.json"
TASK = 2_000_017
WATCH = """() => {
  [window.seen, window.steered] = [[], []];
  if (window.watched) return;
  window.watched = true;
  const canvas = document.querySelector("canvas");
  canvas.addEventListener("shown", ({detail}) => window.seen.push(detail));
  canvas.addEventListener("steer", ({detail}) => window.steered.push(detail));
}"""


@contextmanager
def page_of_play(width: int, height: int, *options: str) -> Iterator[Page]:
    """The page, with a server of its own, in a real browser."""
    with chromium() as browser, play_process(*options) as (port, token):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        _go_to(page, f"http://127.0.0.1:{port}/?token={token}")
        page.goto(f"http://127.0.0.1:{port}/#/reach-m2/{TASK}")
        page.wait_for_timeout(500)
        yield page


@contextmanager
def play_process(*more: str) -> Iterator[tuple[int, str]]:
    """The port and the token of `wtl play` in a process of its own, with a server of its own and `more` options."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = ["--port", str(port), "--data", folder, "--seed", "0", *more]
        token = load_token(Path(folder))
        play = subprocess.Popen([sys.executable, "-m", "wtl.cli", "play", "reach-m2", *options])
        try:
            yield port, token
        finally:
            play.terminate()
            play.wait()


def _go_to(page: Page, address: str) -> None:
    """Open the page, as soon as it is served."""
    deadline = time.monotonic() + 120
    while True:
        try:
            page.goto(address)
            page.wait_for_selector("canvas")
            return
        except Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def pace(page: Page, steps_per_s: float) -> None:
    slider = page.locator(".pace input[type=range]")
    slider.fill(f"{math.log(steps_per_s) / math.log(60):.2f}")
    slider.blur()


def demonstrations(page: Page, n: int) -> tuple[list[float], list[float]]:
    """Pictures per second of each of n demonstrations, and milliseconds from each move of the pointer to a picture."""
    rates, delays = [], []
    for _ in range(n):
        page.get_by_role("button", name="Show it").first.click()
        page.wait_for_selector("text=Your turn")
        page.evaluate(WATCH)
        box = page.locator("canvas").bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(middle[0] + 100, middle[1])
        page.mouse.down()
        angle, over = 0.0, "text=That did not reach the goal"
        while not page.locator(over).count() and page.locator("text=Your turn").count():
            angle += 0.3
            page.mouse.move(middle[0] + 200 * math.cos(angle), middle[1] + 200 * math.sin(angle))
            page.wait_for_timeout(10)
        page.mouse.up()
        seen, steered = page.evaluate("[window.seen, window.steered]")
        rates.append((len(seen) - 1) / (seen[-1]["at"] - seen[0]["at"]) * 1000)
        for event in steered:
            answer = next((one for one in seen if one["seq"] >= event["seq"]), None)
            if answer is not None:
                delays.append(answer["at"] - event["at"])
        page.get_by_role("button", name="Drop it").click()
    return rates, delays


def measure(steps_per_s: float) -> dict[str, Any]:
    with page_of_play(1180, 900) as page:
        pace(page, steps_per_s)
        demonstrations(page, 2)
        rates, delays = demonstrations(page, 20)
    return {
        "steps_per_s": steps_per_s,
        "demonstrations": len(rates),
        "pictures_per_s": {"median": round(float(np.median(rates)), 1), "lowest": round(min(rates), 1)},
        "pointer_to_picture_ms": {
            "n": len(delays),
            **{f"p{q}": round(float(np.percentile(delays, q)), 1) for q in (50, 95, 99)},
        },
        "load_per_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 1),
    }


class Recorder:
    """Screenshots with the time between them, and a dot where the pointer is pressed."""

    def __init__(self, page: Page, width: int) -> None:
        self.page, self.width = page, width
        self.frames: list[Image.Image] = []
        self.durations_ms: list[int] = []

    def take(self, duration_ms: int, pointer: tuple[float, float] | None = None) -> None:
        image = Image.open(BytesIO(self.page.screenshot())).convert("RGB")
        if pointer is not None:
            x, y = pointer
            pen = ImageDraw.Draw(image, "RGBA")
            pen.ellipse((x - 22, y - 22, x + 22, y + 22), fill=(198, 81, 2, 40), outline=(198, 81, 2, 255), width=3)
        image = image.resize((self.width, round(image.height * self.width / image.width)), Image.Resampling.LANCZOS)
        if self.frames and self.frames[-1].tobytes() == image.tobytes():
            self.durations_ms[-1] += duration_ms
            return
        self.frames.append(image)
        self.durations_ms.append(duration_ms)

    def until(self, selector: str, pointer: tuple[float, float] | None = None) -> None:
        deadline = time.monotonic() + 60
        while not self.page.locator(selector).count():
            self.take(90, pointer)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{selector}: the page says {self.page.locator('main').inner_text()[:400]}")

    def save(self, path: Path) -> None:
        chosen = self.frames[:: max(1, len(self.frames) // 6)]
        together = Image.new("RGB", (self.width, self.frames[0].height * len(chosen)))
        for i, frame in enumerate(chosen):
            together.paste(frame, (0, i * frame.height))
        palette = together.quantize(256, dither=Image.Dither.NONE)  # one for all, or colours would flicker
        frames = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in self.frames]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=self.durations_ms, loop=0, optimize=True)


def record(path: Path, width: int = 800) -> None:
    """Play tasks until a first attempt fails, as one of two does, and write what was seen of that one."""
    with page_of_play(1100, 640) as page:
        for i in range(12):
            task = TASK + i
            page.evaluate("to => { location.hash = to; }", f"#/reach-m2/{task}")
            page.wait_for_function("task => document.querySelector('[name=task]')?.value === task", arg=str(task))
            page.wait_for_timeout(300)
            recorder = Recorder(page, width)
            if play_and_record(page, recorder, task):
                recorder.save(path)
                print(f"{path}: {len(recorder.frames)} pictures, {path.stat().st_size / 1e6:.2f} MB")
                take_whole(page, path.with_suffix(""))
                return


def picture_asking(name: Path) -> None:
    """Write pictures of the page on which a goal, as well as can be, is asked for without a demonstration."""
    with page_of_play(1100, 640, "--model", "reach-ask") as page:
        page.get_by_role("checkbox", name="better").check()
        page.get_by_role("button", name="Point to it in the picture").click()
        page.wait_for_selector("text=Click where it should go")
        box = page.locator("canvas").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 0.62 * box["width"], box["y"] + 0.28 * box["height"])
        page.wait_for_selector("text=It is asked for")
        page.wait_for_selector("text=Now let it try")
        take_whole(page, name)


def take_whole(page: Page, name: Path) -> None:
    """The whole page, light and dark, as `NAME-light.png` and `NAME-dark.png`."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_timeout(600)
        picture = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
        few = picture.quantize(128, dither=Image.Dither.NONE)
        few.save(name.with_name(f"{name.name}-{scheme}.png"), optimize=True)


def play_and_record(page: Page, recorder: Recorder, task: int) -> bool:
    stage = Stage(find_family("reach-m2"), task)
    stage.begin("demo", 0)
    x, y = stage._env.unwrapped._row.goal[0].tolist()  # type: ignore[attr-defined]
    pace(page, 5)
    recorder.take(1200)
    page.get_by_role("button", name="Show it myself").click()
    page.wait_for_selector("text=Your turn")
    recorder.take(900)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    side = min(box["width"], box["height"])  # the picture is square, in the middle of the canvas
    at = box["x"] + box["width"] / 2 + side * x / 2.2, box["y"] + box["height"] / 2 - side * y / 2.2
    page.mouse.move(*at)
    page.mouse.down()
    recorder.until("text=Now let it try", at)
    page.mouse.up()
    page.mouse.move(5, 5)
    page.wait_for_timeout(300)
    recorder.take(2200)
    page.keyboard.press("Enter")
    recorder.until("h2:text-matches('That failed|It succeeded')")
    page.wait_for_timeout(300)
    recorder.take(2400)
    if not page.locator("h2:text-matches('That failed')").count():
        return False
    page.keyboard.press("Enter")
    page.wait_for_selector("text=It tries")
    recorder.until("h2:text-matches('That failed|It has learned it')")
    page.wait_for_timeout(300)
    recorder.take(1800)
    page.locator(".compare").scroll_into_view_if_needed()
    page.wait_for_selector(".compare figure.bad")
    page.wait_for_selector(".compare figure.good")
    page.wait_for_timeout(300)
    recorder.take(3500)
    return bool(page.locator("h2:text-matches('It has learned it')").count())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, help="write the animation here, and measure nothing")
    parser.add_argument(
        "--asking", type=Path, help="write pictures of the ask panel as NAME-light.png and NAME-dark.png"
    )
    parser.add_argument("--pace", type=float, default=40.0, help="steps per second of the demonstrations")
    given = parser.parse_args()
    if given.record:
        record(given.record)
        return
    if given.asking:
        picture_asking(given.asking)
        return
    result = measure(given.pace)
    print(json.dumps(result, indent=2))
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
