"""The pictures of the console in docs/images: every page, light and dark, of a server that has something to see.

python .ci/console_pictures.py            # take them all: some minutes, since a model is trained for them
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.chromium import chromium  # noqa: E402
from support.serving import served  # noqa: E402
from support.tour import furnish  # noqa: E402

from service.app import create_app  # noqa: E402
from service.client import Client  # noqa: E402
from service.settings import Settings  # noqa: E402

PICTURES = ROOT / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
SMALL = {"data.n_tasks": 4096, "training.check_steps": 25}


def furnished(url: str) -> Mapping[str, str]:
    """Adapt, fork and train on a server; the address of each page by its name."""
    with Client(url) as client:
        fork = furnish(client)
        job = client.train("reach-m2", steps=300, name="reach", settings=SMALL)
        states = [event.data["state"] for event in job.follow() if event.kind == "state"]
        assert states[-1] == "succeeded", job.log()
        client.set_alias("reach", "stable", 1)
    return {
        "models": "models", "model": "models/reach-m4", "versions": "models/reach/1/2", "adaptations": "adaptations",
        "adaptation": f"adaptations/{fork.id}", "training": "training", "job": f"training/{job.id}",
        "operations": "operations",
    }  # fmt: skip


def take(browser: Browser, url: str, pages: Mapping[str, str], scheme: str) -> None:
    """Write `console-NAME-SCHEME.png` for each page."""
    context = browser.new_context(color_scheme=scheme, viewport=SIZE, reduced_motion="reduce")
    page = context.new_page()
    for name, at in pages.items():
        page.goto(f"{url}/console/#/{at}")
        page.locator("h1").wait_for()
        page.wait_for_timeout(9000 if name == "operations" else 1500)  # rates need a few looks at the metrics
        picture = Image.open(BytesIO(page.screenshot(full_page=name != "operations")))
        few = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        few.save(PICTURES / f"console-{name}-{scheme}.png", optimize=True)
    context.close()


def main() -> None:
    """Take them all."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # `wtl` without a path
    with tempfile.TemporaryDirectory(prefix="wtl-") as folder:
        settings = Settings(data=Path(folder) / "data")
        with served(create_app(settings), settings) as url:
            pages = furnished(url)
            with chromium() as browser:
                for scheme in ("light", "dark"):
                    take(browser, url, pages, scheme)


if __name__ == "__main__":
    main()
