"""Options that pass their bounds and mean nothing, and commands that fail before they have made anything."""

from pathlib import Path

import pytest

from wtl.cli import main


@pytest.mark.parametrize("days", ["nan", "inf", "1e300"])
@pytest.mark.parametrize("words", [["keys", "create"], ["audit"]])
def test_days_are_a_number_of_days(
    words: list[str], days: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--days", days]) == 2
    assert "--days" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [["serve", "--port", "0", "--models", "nowhere"], ["keys", "list"], ["keys", "revoke", "wtl_abc"], ["audit"]],
)
def test_what_fails_at_the_start_makes_no_folder(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("wtl: no ")
    assert not list(tmp_path.iterdir())


def test_a_refused_address_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert not list(tmp_path.iterdir())
