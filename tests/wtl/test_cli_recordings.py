"""Selectors, bad episodes, bounds and reports of `wtl adapt`, `check` and `convert`, as a user types them."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.pointing import PointingRuntime, bundle, settings_in
from support.serving import served

from metalearn.data.episode import Episode
from metalearn.data.formats import read_episodes, write_episodes
from service.app import create_app
from wtl.cli import main

Wtl = Callable[..., tuple[str, str]]
ROWS = [[0.0, 0, 0], [1, 0, 0], [1, 1, 0]]


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served(create_app(settings_in(tmp_path / "server"), runtime_factory=PointingRuntime)) as address:
        monkeypatch.setenv("WTL_URL", address)
        yield address


@pytest.fixture
def wtl(capsys: pytest.CaptureFixture[str]) -> Wtl:
    def run(*arguments: object, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        captured = capsys.readouterr()  # with what the server, in this process too, logs
        out, err = (re.sub(r"(?m)^\d{4}-\d\d-\d\d.*\n", "", text) for text in captured)
        assert "Traceback" not in err
        return out, err

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    bundle().save(tmp_path / "point")
    return tmp_path / "point"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A good episode, one a little out of bounds, one that is far too long, and one with a NaN."""
    good = {"observations": ROWS, "actions": [[1, 0], [0, 1]]}
    body = {
        "demos": [
            good,
            good | {"actions": [[1.01, 0], [0, 1]]},
            {"observations": [[0, 0, 0]] * 99},
            good | {"rewards": [0, float("nan")]},
        ]
    }
    (tmp_path / "mixed.json").write_text(json.dumps(body))
    return tmp_path / "mixed.json"


def codes(report: dict[str, list[dict[str, str]]]) -> list[str]:
    return [warning["code"] for warning in report["warnings"]]


@pytest.mark.parametrize("command", [("adapt", "--model", "point"), ("check",), ("convert", "out.npz")])
@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (("--episodes", "5-2"), "--episodes: expected the smaller number first, as in 2-5, got 5-2"),
        (("--episodes", ""), "--episodes: expected numbers such as 0,3,5-9"),
        (("--episodes", "1,"), "--episodes: expected numbers"),
        (("--episodes", "-1"), "--episodes: expected numbers"),
        (("--episodes", "first"), "--episodes: expected numbers"),
        (("--observations", ""), "--observations: expected keys"),
        (("--observations", "a,,b"), "--observations: expected keys"),
        (("--success", " "), "--success: expected auto, reward"),
        (("--links-under", "nowhere"), "--links-under: expected a folder"),
    ],
)
def test_a_selector_that_selects_nothing_or_is_not_understood_is_refused(
    wtl: Wtl, mixed: Path, command: tuple[str, ...], selector: tuple[str, ...], expected: str
) -> None:
    _, said = wtl(*command, "--from", mixed, *selector, code=2)
    assert expected in said


def test_a_selector_that_no_source_has_a_use_for_is_refused(wtl: Wtl, model: Path, tmp_path: Path) -> None:
    write_episodes(tmp_path / "x.npz", [Episode.of(ROWS)])
    for selector, expected in {
        ("--observations", "state"): "observations: expected no such choice, since this file holds whole episodes",
        ("--success", "terminated"): "success: expected one of auto, reward, yes, no, unknown",
        ("--episodes", "1"): "episodes: expected numbers from 0 to 0, got 1",
    }.items():
        _, said = wtl("check", "--model", model, "--from", tmp_path / "x.npz", *selector, code=2)
        assert expected in said


def test_bad_episodes_are_left_out_and_said(url: str, wtl: Wtl, model: Path, mixed: Path, tmp_path: Path) -> None:
    _, said = wtl("check", "--model", model, "--from", mixed, code=2)
    assert "demos[3].rewards: expected finite numbers" in said
    out, said = wtl("check", "--model", model, "--from", mixed, "--skip-bad", "--json")
    [report] = json.loads(out)
    assert codes(report)[0] == "others-skipped"
    assert len(re.findall("(?m)^left out ", said)) == 3
    assert "demos[2]: observations: expected at most 50 steps" in report["warnings"][-1]["message"] + said
    out, _ = wtl("adapt", "--model", "point@1", "--from", mixed, "--skip-bad", "--clip", "--json")
    answer = json.loads(out)
    assert (answer["n_demos"], len(answer["skipped"])) == (2, 2)
    assert "actions-moved" in codes(answer["quality"][1])
    out, _ = wtl("adapt", "--to", answer["id"], "--trials-from", mixed, "--skip-bad")
    assert "trials: 1" in out
    assert "others-skipped: 1 other could not be used" in " ".join(out.split())
    wtl("convert", tmp_path / "x.npz", "--from", mixed, "--skip-bad", "--clip", "--model", model)
    assert read_episodes(tmp_path / "x.npz").episodes[1].actions.max() == 1.0


def test_clip_needs_bounds_and_a_model_that_there_is(url: str, wtl: Wtl, mixed: Path, tmp_path: Path) -> None:
    _, said = wtl("convert", tmp_path / "x.npz", "--from", mixed, "--skip-bad", "--clip", code=2)
    assert "--clip moves actions into the bounds of a model: name the --model" in said
    _, said = wtl("adapt", "--model", "point@fast", "--from", mixed, "--skip-bad", code=2)
    assert "--model: point has no version or alias fast" in said


def test_what_a_conversion_leaves_out_is_said(wtl: Wtl, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", observations=ROWS, joints=np.array(["a", "b"]))
    _, said = wtl("convert", tmp_path / "y.npz", "--from", tmp_path / "x.npz")
    assert said == "arrays-unread (1 episode): the file has arrays that are no numbers, and not read: joints\n"


def test_every_command_takes_json_with_a_byte_order_mark(
    url: str, wtl: Wtl, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "x.json").write_bytes(mark + json.dumps({"observations": ROWS}).encode())
    (tmp_path / "seen.json").write_bytes(mark + b"[[0, 0.5, 0]]")
    wtl("check", "--model", model, "--from", tmp_path / "x.json")
    wtl("convert", tmp_path / "x.npz", "--from", tmp_path / "x.json")
    out, _ = wtl("adapt", "--model", "point", "--from", tmp_path / "x.json", "--json")
    adaptation = json.loads(out)["id"]
    assert json.loads(wtl("act", adaptation, tmp_path / "seen.json")[0]) == {"actions": [[1, 0.5]]}
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeff[[0, 0.5, 0]]"))
    assert json.loads(wtl("act", adaptation)[0]) == {"actions": [[1, 0.5]]}
