"""The wheel, alone in a fresh environment and away from the repository, serves the shipped models."""

import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path

import httpx
import pytest
from packaging.metadata import Metadata

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHIPPED = sorted(path.parent.name for path in (ROOT / "models").glob("*/bundle.json"))
SERVER_ONLY = ("alembic", "fastapi", "onnx", "onnxruntime", "ray", "sqlalchemy", "starlette", "torch", "uvicorn")
EVERY_COMMAND = ROOT / "tests" / "support" / "every_command.py"
TRAINS = (
    ("train", "reach-m2"), ("train", "--family", "nowhere:Nothing"), ("evaluate", "reach"), ("demo",),
    ("benchmark", "smoke"), ("export", "reach"), ("tune", "reach-m2", "--space", "seed=1,2"), ("submit", "reach-m2"),
    ("rl-module", "reach", "out"), ("serve", "--ray-serve", "--port", "0"),
    ("check", "--from", "robomimic:any.hdf5"),
)  # fmt: skip
"""Commands that need the extra `train`."""
IMPORT_THE_CLIENT = f"""
import sys
from service.client import Client
print(*sorted(set({SERVER_ONLY}) & set(sys.modules)))
"""


def environment() -> dict[str, str]:
    """This process's environment without what would lead back into the repository."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("WTL_")}


def output(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    output(UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [path] = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment: the wheel and what it asks for, in the versions that are tested."""
    venv = tmp_path_factory.mktemp("fresh") / "venv"
    output(UV, "venv", "--quiet", "--python", sys.executable, venv)
    python = venv / "bin" / "python"
    output(UV, "pip", "install", "--quiet", "--python", python, "--constraint", ROOT / "requirements.lock", wheel)
    return venv / "bin"


@contextmanager
def serving(wtl: Path, folder: Path) -> Iterator[httpx.Client]:
    """A client of `wtl serve` without options but the port, started in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder.parent / "server.log").open("w") as log:
        command = [wtl, "serve", "--port", str(port)]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            wait_until_ready(http, process, folder.parent / "server.log")
            yield http
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(http: httpx.Client, process: subprocess.Popen[bytes], log: Path, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"no server after {timeout_s} s:\n{log.read_text()}")


def test_the_package_holds_the_models_of_the_repository():
    """The link that makes the shipped models part of a package."""
    assert SHIPPED
    assert (ROOT / "service" / "shipped_models").resolve() == ROOT / "models"


def test_every_package_says_that_it_is_typed():
    packages = sorted(path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")
    assert packages
    assert [path.name for path in packages if not (path / "py.typed").exists()] == []


def test_the_client_imports_nothing_that_only_a_server_needs():
    command = [sys.executable, "-c", IMPORT_THE_CLIENT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def libraries_of(extra: str) -> list[str]:
    """Modules of the libraries that an extra installs, and that the base does not."""
    wanted = {re.match(r"[A-Za-z0-9._-]+", line).group() for line in PROJECT["optional-dependencies"][extra]}
    return [module for module, names in packages_distributions().items() if wanted & {name.lower() for name in names}]


def check_that_every_command_answers(done: str) -> None:
    """With a page of help, an answer, or one sentence; where the extra `train` is missing, the sentence names it."""
    answers = json.loads(done)
    assert len(answers) > 60
    for answer in answers:
        assert answer["code"] in (0, 1, 2), answer  # None: an exception came through
        if "--help" in answer["arguments"]:
            assert (answer["code"], answer["err"]) == (0, ""), answer
        if tuple(answer["arguments"]) in TRAINS:
            assert re.fullmatch(
                r"wtl: [^\n]* is not installed: pip install 'watch-try-learn\[train\]'\n", answer["err"]
            )
            assert (answer["code"], answer["out"]) == (2, ""), answer


def test_without_extras_every_command_answers_in_a_sentence(tmp_path: Path):
    hidden = json.dumps([*libraries_of("train"), *libraries_of("mil"), *libraries_of("mlflow")])
    command = [sys.executable, EVERY_COMMAND, hidden, json.dumps(TRAINS)]
    path = os.pathsep.join([str(ROOT), *sys.path])
    done = subprocess.run(
        command, cwd=tmp_path, env=environment() | {"PYTHONPATH": path}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_that_every_command_answers(done.stdout)
    assert not (tmp_path / "runs").exists()  # a command that failed leaves nothing


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_of_the_bare_wheel_answers_in_a_sentence(installed: Path, tmp_path: Path):
    check_that_every_command_answers(
        output(installed / "python", EVERY_COMMAND, "[]", json.dumps(TRAINS), cwd=tmp_path)
    )


@pytest.mark.slow
def test_the_metadata_are_valid_and_the_files_complete(built: Path, wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [about] = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = Metadata.from_email(archive.read(about), validate=True)
    assert (metadata.name, str(metadata.version)) == (PROJECT["name"], PROJECT["version"])
    assert metadata.provides_extra == list(PROJECT["optional-dependencies"])
    assert metadata.description_content_type == "text/markdown"
    for package in ("metalearn", "service", "wtl"):
        assert f"{package}/py.typed" in names
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "models").rglob("*") if path.is_file()}
    prefix = "service/shipped_models/"
    assert {name.replace(prefix, "models/") for name in names if name.startswith(prefix)} == wanted
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "service/console/built").rglob("*") if path.is_file()}
    assert {name for name in names if name.startswith("service/console/")} == pages  # what is built, and no source
    assert {name.split("/")[0] for name in names} <= {"metalearn", "service", "wtl", about.split("/")[0]}
    [source] = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        assert not any(member.issym() or member.islnk() for member in archive)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_alone_serves_the_shipped_models(installed: Path, tmp_path: Path):
    folder = tmp_path / "empty"
    folder.mkdir()
    with serving(installed / "wtl", folder) as http:
        assert sorted(model["name"] for model in http.get("/v1/models").raise_for_status().json()["items"]) == SHIPPED
        demo = http.get("/v1/models/reach").raise_for_status().json()["example"]
        answer = http.post("/v1/adaptations", json={"model": "reach", "demos": [demo]})
        assert answer.status_code == 201, answer.text
        observation = demo["observations"][0]
        acted = http.post(f"/v1/adaptations/{answer.json()['id']}/act", json={"observations": [observation]})
        assert len(acted.raise_for_status().json()["actions"]) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_in_the_wheel_too_the_client_imports_nothing_that_only_a_server_needs(installed: Path, tmp_path: Path):
    assert output(installed / "python", "-c", IMPORT_THE_CLIENT, cwd=tmp_path).split() == []
