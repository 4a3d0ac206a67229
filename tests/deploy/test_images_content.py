"""What goes into the images, seen without building them: the locks, the Dockerfiles and what serving imports."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.requirements import closure

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
HEAVY = {
    "cma", "cuda-toolkit", "gym", "jax", "learn2learn", "matplotlib", "metaworld", "minari", "mujoco", "pyarrow", "ray",
    "scipy", "tensorboard", "torch", "torchvision", "triton",
}  # fmt: skip
PIN = re.compile(
    r"^(?P<name>[a-z0-9._-]+)(\[[a-z0-9,-]+\])?==(?P<version>[^ ;]+)[^\n]*"
    r"(?P<hashes>(\n +--hash=sha256:[0-9a-f]{64}[^\n]*)*)",
    re.M,
)


def pins(lock: str) -> set[tuple[str, str]]:
    """`(name, version)` of every line of a lock."""
    return {(pin["name"], pin["version"]) for pin in PIN.finditer((ROOT / lock).read_text())}


def test_the_lock_has_hashes_and_names_no_registry():
    text = (ROOT / "requirements.lock").read_text()
    found = list(PIN.finditer(text))
    assert len(found) > 100
    assert all(pin["hashes"] for pin in found)
    assert "://" not in text


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_installs_what_was_tested(dockerfile: Path):
    # Everything but torch, which has an index of its own: constrained to the lock, and refused without its hash.
    text = dockerfile.read_text().replace("\\\n", " ")
    installs = [line for line in re.split(r"&&|\n", text) if re.search(r"\b(uv )?pip install\b", line)]
    strict = "UV_REQUIRE_HASHES=1 UV_CONSTRAINT=/src/requirements.lock" in text
    assert installs
    for line in installs:
        own = "--no-index" in line or "--torch-backend" in line
        assert own or "--require-hashes" in line or (strict and "uv pip install" in line), line


def test_every_image_needs_only_what_is_in_the_lock():
    locked = {name for name, _ in pins("requirements.lock")}
    assert closure("train", "mil", "words") <= locked
    assert {"uv", "cyclonedx-bom", "setuptools"} <= locked


def test_serving_needs_nothing_heavy():
    names = closure()
    assert {"fastapi", "onnxruntime", "psycopg", "sqlalchemy"} <= names
    assert names.isdisjoint(HEAVY)
    assert not any(name.startswith(("nvidia-", "cuda-")) for name in names)


def test_training_has_ray_torch_and_the_simulators():
    assert {"ray", "torch", "metaworld", "learn2learn"} <= closure("train", "mil")


def copied_from_source(dockerfile: Path) -> list[tuple[list[str], str]]:
    """`(sources, target)` of each COPY of files of the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text().replace("\\\n", " "), re.M)
    return [(line.split()[:-1], line.split()[-1]) for line in lines]


@pytest.fixture(scope="module")
def serve_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the serve image's package is made of."""
    tree = tmp_path_factory.mktemp("serve")
    for sources, target in copied_from_source(ROOT / "docker/serve.Dockerfile"):
        if target.split("/")[0] not in ("metalearn", "service", "wtl"):
            continue
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tree / target)
            else:
                (tree / target).mkdir(exist_ok=True)
                shutil.copy(ROOT / source, tree / target)
    return tree


SEES_ONLY = """
import importlib.metadata, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else super().find_spec(name, path, target)

owners = importlib.metadata.packages_distributions()
canonical = {name: {owner.lower().replace("_", "-") for owner in found} for name, found in owners.items()}
missing = {name for name, found in canonical.items() if not found & installed} - {"metalearn", "service", "wtl"}
# Without the finder of an editable install: it would lend the files that are missing.
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Installed]
sys.path.insert(0, tree)
"""


def imported_in(tree: Path, statement: str) -> set[str]:
    """Top-level modules loaded by a statement that sees only this tree and what the serve image installs."""
    installed = closure()
    program = (
        f"tree, installed = {str(tree)!r}, {installed!r}\n{SEES_ONLY}\n{statement}\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
        "import metalearn; print(metalearn.__file__)"
    )
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tree, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    names, where = done.stdout.splitlines()[-2:]
    assert where.startswith(str(tree))
    return set(names.split())


ADAPTS = f"""
import wtl.cli, service.client
from fastapi.testclient import TestClient
from service.app import create_app
from service.settings import Settings
settings = Settings(data="data", models={str(ROOT / "models")!r}, runtime="onnx")
with TestClient(create_app(settings), "http://localhost", client=("127.0.0.1", 1)) as client:
    example = client.get("/v1/models/reach").json()["example"]
    made = client.post("/v1/adaptations", json={{"model": "reach", "demos": [example]}})
    acted = client.post(made.headers["Location"] + "/act", json={{"observations": example["observations"][:1]}})
    assert acted.status_code == 200, acted.text
"""


def test_the_service_adapts_with_the_files_that_are_copied(serve_tree: Path):
    loaded = imported_in(serve_tree, ADAPTS)
    assert loaded.isdisjoint({"torch", "ray", "metaworld", "mujoco", "learn2learn", "matplotlib", "pyarrow", "h5py"})


@pytest.mark.parametrize("module", ["metalearn.training", "torch", "ray"])
def test_what_is_not_in_the_image_is_missed(serve_tree: Path, module: str):
    with pytest.raises(AssertionError, match=f"No module named .{module}"):
        imported_in(serve_tree, f"import {module}")


def _instructions(dockerfile: Path) -> str:
    return dockerfile.read_text().rpartition("\nFROM ")[2]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_for_somebody_and_says_how_it_is(dockerfile: Path):
    final = _instructions(dockerfile)
    assert "USER 10001:10001" in final
    assert "HEALTHCHECK" in final
    assert "org.opencontainers.image.revision" in final
    assert "sbom.cdx.json" in final
    assert "gcc" not in final


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_is_clean(dockerfile: Path):
    assert lint(dockerfile) == ""


def test_lint_sees_a_mistake(tmp_path: Path):
    (tmp_path / "x.Dockerfile").write_text("FROM debian:latest\nRUN cd /tmp && sudo ls\nUSER root\n")
    assert {"DL3007", "DL3004", "DL3002"} <= set(re.findall(r"DL\d{4}", lint(tmp_path / "x.Dockerfile")))


def lint(dockerfile: Path) -> str:
    """What hadolint finds."""
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: Dockerfiles are not linted")
    command = [hadolint, "--no-color", "--config", ROOT / ".hadolint.yaml", dockerfile]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr
