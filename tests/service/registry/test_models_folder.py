"""A models folder with bundles that cannot be used: the others are served, and everybody is told which and why."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from structlog.testing import CapturingLogger
from support.pointing import PointingRuntime

from metalearn.bundle import Bundle
from metalearn.config import EVENT_LOG
from metalearn.data.errors import InvalidConfig
from service.app import create_app
from service.registry.models_folder import ModelsFolder
from service.server import serve
from service.settings import Settings
from wtl.cli import main

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def changed_head(folder: Path, **changes: object) -> None:
    head = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(head | changes))


def half_copied(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])


def unreadable(folder: Path) -> None:
    (folder / "bundle.json").unlink()
    (folder / "bundle.json").symlink_to("bundle.json")  # also for root


def a_folder_as_head(folder: Path) -> None:
    (folder / "bundle.json").unlink()
    (folder / "bundle.json").mkdir()


def a_pipe(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)


def a_device(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "half a file": (half_copied, "does not match the digest"),
    "no weights yet": (lambda folder: (folder / "weights.safetensors").unlink(), "No such file"),
    "no head yet": (lambda folder: (folder / "bundle.json").unlink(), "bundle.json: No such file"),
    "half a head": (lambda folder: (folder / "bundle.json").write_text('{"schema": 2, "na'), "damaged"),
    "an empty head": (lambda folder: (folder / "bundle.json").write_text(""), "damaged"),
    "no object": (lambda folder: (folder / "bundle.json").write_text("[2]"), "expected an object"),
    "a pointer as head": (lambda folder: (folder / "bundle.json").write_text(POINTER), "got a Git LFS pointer"),
    "a pointer as weights": (
        lambda folder: (folder / "weights.safetensors").write_text(POINTER),
        "weights.safetensors: expected the content of the file, got a Git LFS pointer",
    ),
    "from the future": (lambda folder: changed_head(folder, schema=3), "expected schema 2, got 3"),
    "of the past": (lambda folder: changed_head(folder, schema=1), "wtl models upgrade"),
    "unreadable": (unreadable, "bundle.json"),
    "a folder as head": (a_folder_as_head, "directory"),
    "a name of no file": (lambda folder: changed_head(folder, sha256={"a\0b": "0"}), "letters, digits, dots"),
    "a name outside": (lambda folder: changed_head(folder, sha256={"../point/weights": "0"}), "letters, digits, dots"),
    "a pipe as head": (lambda folder: a_pipe(folder, "bundle.json"), "expected a file, got a pipe"),
    "a pipe as example": (lambda folder: a_pipe(folder, "example.json"), "expected a file, got a pipe"),
    "a device as weights": (lambda folder: a_device(folder, "weights.safetensors"), "expected a file, got a pipe or a"),
    "cannot be loaded": (lambda folder: changed_head(folder, model={"breaks": True}), "cannot be loaded: RuntimeError"),
}  # fmt: skip


class Fragile(PointingRuntime):
    """Cannot run some bundles, as a runtime whose library does not like their graph."""

    def __init__(self, bundle: Bundle) -> None:
        if "breaks" in bundle.model:
            raise RuntimeError("[ONNXRuntimeError] : 10 : INVALID_GRAPH")
        super().__init__(bundle)


def bad_one(settings: Settings, how: str, name: str = "bad") -> None:
    folder = settings.models / name
    shutil.copytree(settings.models / "point", folder)
    BAD[how][0](folder)


@pytest.mark.parametrize("how", BAD)
def test_the_others_are_served_and_it_is_said_which_and_why(
    settings: Settings, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()  # whatever an earlier test has made of the configuration of logs
    monkeypatch.setattr("service.registry.registry._log", log)
    bad_one(settings, how)
    with TestClient(create_app(settings, runtime_factory=Fragile)) as http:
        ready = http.get("/readyz")
        assert ready.status_code == 200
        assert list(ready.json()["unusable"]) == ["bad"]
        page = http.get("/v1/models").json()
        assert [card["name"] for card in page["items"]] == ["point"]
        [unusable] = page["unusable"]
        assert (unusable["name"], unusable["reason"]) == ("bad", ready.json()["unusable"]["bad"])
        assert BAD[how][1] in unusable["reason"]
        assert str(settings.models) not in unusable["reason"]
        assert [call.kwargs["bundle"] for call in log.calls if call.method_name == "error"] == ["bad"]
        assert http.post("/v1/models").status_code == 409  # what was asked for is all of them
        assert http.post("/v1/models", json={"name": "point"}).status_code == 200
        refused = http.post("/v1/models", json={"name": "bad"})
        assert refused.status_code in {409, 422}

        shutil.rmtree(settings.models / "bad")
        assert http.post("/v1/models").status_code == 200
        assert http.get("/readyz").json()["unusable"] == {}


def test_folders_that_the_system_does_not_let_us_read(settings: Settings) -> None:
    shutil.copytree(settings.models / "point", settings.models / "locked")
    (settings.models / "locked").chmod(0)  # means nothing to root, so there is a link that nobody can follow too
    (settings.models / "link").symlink_to("x" * 300)
    (settings.models / "dangling").symlink_to("nowhere")
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        assert "point" in [card["name"] for card in http.get("/v1/models").json()["items"]]
        unusable = http.get("/readyz").json()["unusable"]
        assert "No such file" in unusable["dangling"]
        assert "too long" in unusable["link"]
        assert os.geteuid() == 0 or "Permission denied" in unusable["locked"]
        for name in ("link", "dangling", "unheard-of"):
            assert http.post("/v1/models", json={"name": name}).status_code in {409, 422}
    (settings.models / "locked").chmod(0o700)


@pytest.mark.parametrize("name", ["my model", "-x", "ü", "x" * 65, "a\nb"])
def test_a_name_that_no_model_can_have(settings: Settings, name: str) -> None:
    (settings.models / "point").rename(settings.models / name)
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        ready = http.get("/readyz")
        assert ready.status_code == 503
        assert "there is no model to adapt; " in ready.json()["reasons"]["models"]
        assert "cannot name a model" in ready.json()["reasons"]["models"]
        assert http.post("/v1/models").status_code == 409


def test_what_is_no_bundle_and_was_never_meant_to_be_is_not_reported(settings: Settings) -> None:
    for name in ("empty", ".git", "__pycache__"):
        (settings.models / name).mkdir()
        if name != "empty":
            (settings.models / name / "x").touch()
    (settings.models / "README.md").touch()
    assert ModelsFolder.read(settings.models).unusable == {}


def run_of(settings: Settings, tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "my run"
    run.mkdir(parents=True)
    (run / EVENT_LOG).touch()
    shutil.copytree(settings.models / "point", run / "bundle")
    return run


def test_the_folder_of_a_run_is_its_bundle(settings: Settings, tmp_path: Path) -> None:
    run = run_of(settings, tmp_path)
    of_run = settings.model_copy(update={"models": run})
    with TestClient(create_app(of_run, runtime_factory=PointingRuntime)) as http:
        assert [card["name"] for card in http.get("/v1/models").json()["items"]] == ["point"]
        assert http.post("/v1/models", json={"name": "point"}).status_code == 200


def test_a_folder_of_runs_has_models_under_their_names(settings: Settings, tmp_path: Path) -> None:
    run = run_of(settings, tmp_path)
    shutil.copytree(run, run.parent / "other")
    found = ModelsFolder.read(run.parent)
    assert list(found.bundles) == ["other"]
    assert "cannot name a model" in found.unusable["my run"]


def test_a_run_without_a_bundle_is_refused_with_a_sentence(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(settings, tmp_path)
    shutil.rmtree(run / "bundle")
    with pytest.raises(InvalidConfig, match="has no bundle yet"):
        serve(settings.model_copy(update={"models": run, "port": 0}))
    assert main(["models", "list", str(run)]) == 2
    assert "has no bundle yet" in capsys.readouterr().err


def test_one_bundle_that_cannot_be_used_is_refused_at_the_start(settings: Settings) -> None:
    bad_one(settings, "cannot be loaded")
    alone = settings.model_copy(update={"models": settings.models / "bad", "port": 0})
    with pytest.raises(InvalidConfig, match=r"no bundle in .* can be used: point: it cannot be loaded: RuntimeError"):
        serve(alone, runtime_factory=Fragile)


def test_the_command_line_lists_the_others_and_the_reason(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad_one(settings, "half a file")
    assert main(["models", str(settings.models)]) == 2
    printed = capsys.readouterr()
    assert "point" in printed.out
    assert "the bundle bad cannot be used: bad/weights.safetensors does not match" in printed.err
    assert main(["models", "list", str(run_of(settings, tmp_path))]) == 0
    assert "point" in capsys.readouterr().out
    assert main(["models", "upgrade", str(tmp_path / "runs" / "my run")]) == 0
    assert "is of this schema already" in capsys.readouterr().out
