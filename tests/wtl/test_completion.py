"""A shell completes commands, and the names of experiments, families, formats, models and suites."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wtl.cli import main


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("wtl tra", "train"),
        ("wtl train reach-m", "reach-m4"),
        ("wtl jobs create push-b", "push-blind"),
        ("wtl train --family key", "key-to-door"),
        ("wtl evaluate rea", "reach"),
        ("wtl evaluate reach --manifest dark", "dark-room"),
        ("wtl adapt --model rea", "reach"),
        ("wtl adapt --from robo", "robomimic:"),
        ("wtl benchmark smo", "smoke"),
        ("wtl train --set model.n_f", "model.n_frames="),
        ("wtl submit reach-m2 --set model.frame_means=t", "model.frame_means=true"),
        ("wtl settings training.l", "training.learning_rate"),
    ],
)
def test_what_a_shell_offers(typed: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys):
    words = typed.split()
    monkeypatch.setenv("_WTL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main([]))
    assert ended.value.code == 0
    assert offered in capsys.readouterr().out.split()


def test_the_script_for_a_shell_is_printed(tmp_path: Path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)}
    environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "true"  # the tests may have been started by any shell
    for shell in ("bash", "zsh", "fish"):
        command = [sys.executable, "-m", "wtl.cli", "--show-completion", shell]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert "_WTL_COMPLETE" in done.stdout, done.stderr
