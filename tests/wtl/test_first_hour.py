"""What a new user types: own tasks, the lines that are printed next, and files with several faults."""

import io
import json
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from metalearn.config import DataConfig, Experiment, faults
from metalearn.data.errors import InvalidConfig
from metalearn.evaluation.manifest import default_manifest, load_manifest
from metalearn.evaluation.report import Report
from metalearn.tasks.registry import find_family
from wtl.cli import main
from wtl.cli.tables import print_table
from wtl.folders import nothing_left_of_a_failure
from wtl.next_lines import command, program

FAMILY = """
from support.corridor import ShownCorridor

class Short(ShownCorridor):
    name = "short"
    splits = {"train": range(16), "validation": range(16, 20), "test": range(20, 60)}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a blank in its name, and a family of one's own in it."""
    made = tmp_path / "my own"
    made.mkdir()
    (made / "short.py").write_text(FAMILY)
    monkeypatch.chdir(made)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    return made


@pytest.mark.slow
def test_the_lines_that_a_training_prints_run_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--family", "short:Short", "--steps", "12", "--no-baselines", "--out", "first run"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.partition("What to type next:")[2].splitlines() if line]
    assert [line.removeprefix(program()).split()[0] for line in lines] == ["evaluate", "serve"]
    evaluate, serve = lines
    done = subprocess.run(f"{evaluate} --report made/report.json", shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = Report.model_validate_json(Path("made/report.json").read_bytes())
    assert (report.manifest.name, report.n_tasks, len(report.methods["wtl"].curve)) == ("short", 40, 2)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([*shlex.split(serve), "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        served = answer(server, f"http://127.0.0.1:{port}/v1/models")
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert [model["name"] for model in served["items"]] == ["short"]


def answer(server: "subprocess.Popen[bytes]", url: str, timeout_s: float = 60) -> dict:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return httpx.get(url, trust_env=False).raise_for_status().json()
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(url)


def test_a_line_quotes_what_a_shell_would_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert shlex.split(command("serve", "--models", Path("a b/it's")))[-1] == "a b/it's"
    beside = tmp_path / ".venv" / "bin"
    beside.mkdir(parents=True)
    for name in ("wtl", "python"):
        (beside / name).write_text("#!/bin/sh\n")
        (beside / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    assert program() == ".venv/bin/wtl"
    monkeypatch.setenv("PATH", str(beside))
    assert program() == "wtl"


def test_every_family_has_a_manifest_of_its_held_out_tasks():
    family = find_family("reach-m2")
    made = default_manifest(family)
    assert made.check(family).tasks(family)[0] in family.splits["test"]
    assert (made.n_tasks, made.budget.demos, made.budget.trials) == (1000, 1, 1)


def test_all_faults_of_a_manifest_are_said_at_once(tmp_path: Path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"name": 3, "tilte": "Mine", "family": "x", "n_tasks": 0, "budget": {"demo": 1}}))
    with pytest.raises(InvalidConfig) as raised:
        load_manifest(file)
    said = str(raised.value)
    assert "\n" not in said
    for fault in (
        "name: Input should be a valid string, got 3", "title: missing", "tilte: unknown field; did you mean title?",
        "n_tasks: Input should be greater than or equal to 1, got 0", "horizon: missing", "success: missing",
        "budget.demos: missing", "budget.trials: missing", "budget.demo: unknown field; did you mean demos?",
    ):  # fmt: skip
        assert fault in said


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"], ids=range(5))
def test_what_is_no_manifest_is_said_in_one_line(content: bytes, tmp_path: Path):
    (tmp_path / "mine.json").write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"^manifest [^\n]*mine.json: [^\n]+$"):
        load_manifest(tmp_path / "mine.json")


def test_a_manifest_that_is_a_folder_or_missing_is_said_to_be(tmp_path: Path):
    (tmp_path / "folder.json").mkdir()
    for name in ("folder.json", "nowhere.json"):
        with pytest.raises(InvalidConfig, match="no manifest at"):
            load_manifest(tmp_path / name)


def test_settings_that_may_be_secret_are_not_repeated(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WTL_MAX_STEPS", "secret-by-mistake")
    monkeypatch.setenv("WTL_RATE", "often")
    assert main(["serve", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "max_steps" in said and "rate" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "reach-m2", "--steps", "10", "--out", "runs/deep/x", "--device", "nowhere"),
        ("train", "--family", "short:Short", "--dataset", "nowhere"),
        ("train", "--dataset", "nowhere"),
        ("evaluate", "reach", "--manifest", "nowhere", "--report", "made/report.json"),
        ("rl-module", "nowhere", "made/module"),
        ("benchmark", "smoke", "--methods", "nothing"),
        ("convert", "made/out.npz", "--from", "nowhere.npz"),
        ("tune", "reach-m2", "--space", "nothing=1,2", "--storage", "made"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_command_that_fails_leaves_nothing(arguments, folder: Path, capsys):
    assert main(list(arguments)) == 2
    assert re.fullmatch(r"wtl: [^\n]+\n", capsys.readouterr().err)
    assert sorted(path.name for path in folder.rglob("*") if "__pycache__" not in str(path)) == ["short.py"]


def fails_after_writing(run: Path, name: str) -> None:
    with nothing_left_of_a_failure(run):
        run.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")
        raise KeyError(name)


def test_only_what_the_failed_command_made_goes_and_only_without_work_in_it(tmp_path: Path):
    (tmp_path / "old").mkdir()
    for folder in ("old", "new/run"):
        with pytest.raises(KeyError):
            fails_after_writing(tmp_path / folder, "progress.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    with pytest.raises(KeyError):
        fails_after_writing(tmp_path / "new" / "run", "checkpoint.safetensors")
    assert (tmp_path / "new" / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_an_id_is_never_cut_or_wrapped(terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    ids = ["3f0c9a52-7b1e-4d59-9f6e-5a1f0e8b7c11", "[red]a-very-long-id-of-somebody-else's[/red]"]
    print_table(
        ("job", "model", "what"), [(one, "reach-m2@3", "many words " * 9) for one in ids], whole=("job", "model")
    )
    printed = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    for one in (*ids, "reach-m2@3"):
        assert one in printed
    assert "\u2026" not in printed


@pytest.mark.parametrize("arguments", [("jobs", "list"), ("adapt", "--model", "reach"), ("act", "ID", "-")])
def test_a_server_that_is_not_there_is_named_with_what_starts_one(arguments, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("[[0.0]]"))
    assert main([*arguments, "--url", "http://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "no server answers at http://127.0.0.1:1" in said and "`wtl serve`" in said and said.count("\n") == 1


def test_every_fault_of_a_configuration_names_its_place():
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as raised:
        Experiment.model_validate({"name": "x", "family": "", "data": {"n_tasks": 0, "chunks": 3}})
    said = faults(raised.value, DataConfig.model_fields)
    assert said == (
        "data.n_tasks: Input should be greater than or equal to 1, got 0; "
        "data.chunks: unknown field; did you mean chunk_tasks?"
    )
