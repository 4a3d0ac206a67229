"""Every fenced block of README.md and docs/ whose info string ends in `run` runs: ```python run, ```bash run.

Blocks run in the repository root, those of one page in order; what they make belongs in runs/. A page that
speaks to http://127.0.0.1:8000 gets a server of the shipped models (on a free port) to speak to.
The tutorial in examples/ is executed too, and has to print what its text says.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import nbformat
import pytest
from nbclient import NotebookClient

from service.settings import SHIPPED_MODELS

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
BLOCK = re.compile(r"^```(?P<language>python|bash) run\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
UNLIKE = "unlike every demonstration"
PROBLEM = "urn:problem-type:wtl"
TUTORIAL = ROOT / "examples" / "tutorial.ipynb"
DOCUMENTED_URL = "http://127.0.0.1:8000"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def blocks_of(text: str) -> list[tuple[str, str]]:
    """`(language, code)` of each runnable block."""
    return [(match["language"], match["code"]) for match in BLOCK.finditer(text)]


def pages() -> list[Path]:
    """The pages with at least one runnable block."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if page.exists() and blocks_of(page.read_text())]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped models."""
    folder = tmp_path_factory.mktemp("docs") / "models"
    shutil.copytree(SHIPPED_MODELS, folder)
    return folder


@pytest.fixture(scope="module")
def server_url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A served folder of models."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    data = tmp_path_factory.mktemp("data")
    command = [BIN / "wtl", "serve", "--port", str(port), "--data", str(data), "--models", models]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"no server at {url} after {timeout_s} s")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_snippets_of_a_page_run(page: Path, request: pytest.FixtureRequest):
    text = page.read_text()
    if DOCUMENTED_URL in "".join(code for _, code in blocks_of(text)):
        text = text.replace(DOCUMENTED_URL, request.getfixturevalue("server_url"))
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    for language, code in blocks_of(text):
        command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"
        assert UNLIKE not in done.stdout, f"{page.name}:\n{code}\n{done.stdout}"
        # curl ends with 0 whatever the server answers.
        assert language == "python" or PROBLEM not in done.stdout, f"{page.name}:\n{code}\n{done.stdout}"


def test_only_blocks_marked_run_are_run():
    text = "```python run\nprint(1)\n```\n\n```python\nprint(2)\n```\n\n```bash run\nls\n```\n"
    assert blocks_of(text) == [("python", "print(1)\n"), ("bash", "ls\n")]


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each cell of the tutorial prints, by the id of the cell."""
    notebook = nbformat.read(TUTORIAL, as_version=nbformat.NO_CONVERT)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(TUTORIAL.parent)}}).execute()
    streams = [(cell.id, out) for cell in notebook.cells for out in cell.get("outputs", []) if out.get("name")]
    assert [out.text for _, out in streams if out.name == "stderr"] == []
    return {name: "".join(out.text for cell, out in streams if cell == name) for name, _ in streams}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def test_the_retrial_of_the_tutorial_is_better_than_its_trial(printed: dict[str, str]):
    said = re.findall(r"trial: (\d+) of 50 solved, \d+% \((\d+)\.\.(\d+)\)", printed["fifty-tasks"])
    (trial, _, trial_high), (retrial, retrial_low, _) = (map(int, row) for row in said)
    assert 10 <= trial <= 40
    assert retrial >= 45
    assert trial_high < retrial_low


def test_the_tutorial_says_what_its_cells_print(printed: dict[str, str]):
    assert re.findall("True|False", printed["look-at-it"]) == ["True", "False"]
    confidence, value, novelty = numbers(printed["watch-it"])
    assert 0.3 < confidence < 0.7 and value > 0.25 and novelty < 0.99
    after_trial, worth, *_ = numbers(printed["attempt"])
    assert after_trial > 0.9 and abs(worth) < 0.05
    good, _, doubtful = printed["quality-report"].partition("with faults")
    assert re.findall(r"^ +([a-z-]+):", good, re.MULTILINE) == ["constant-actions"]
    assert {"constant-observations", "duplicate-stored", "duplicate"} <= set(
        re.findall(r"^ +([a-z-]+):", doubtful, re.MULTILINE)
    )
