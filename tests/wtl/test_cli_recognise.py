"""`wtl recognise`, as a user types it, against a real server."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.pointing import PointingRuntime, settings_in
from support.serving import served

from metalearn.data.episode import Episode
from metalearn.data.formats import write_episodes
from service.app import create_app
from service.client import Client
from wtl.cli import main


def walk(east: float, north: float) -> Episode:
    """Small steps towards a goal, as the model takes them."""
    goal, seen, done = np.array([east, north]), [np.zeros(3)], []
    for _ in range(15):
        done.append(np.clip(goal - seen[-1][:2], -1, 1))
        seen.append(seen[-1] + 0.2 * np.append(done[-1], 0))
    return Episode.of(np.array(seen), np.array(done))


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served(create_app(settings_in(tmp_path), runtime_factory=PointingRuntime)) as address:
        monkeypatch.setenv("WTL_URL", address)
        yield address


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str], Path]:
    for name, goal in (("log", (1.0, 0.0)), ("ann", (1.0, 0.05)), ("bob", (0.0, 1.0))):
        write_episodes(tmp_path / f"{name}.npz", [walk(*goal), walk(*goal)], rate_hz=10.0)
    return lambda name: tmp_path / f"{name}.npz"


def test_it_says_who_acted(url: str, files: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    adaptation = Client(url).adapt("point", [walk(0.0, 1.0)])
    candidates = [f"ann=examples:point:{files('ann')}", f"bob=adaptation:{adaptation.id}@1", "random"]
    given = ["recognise", "--from", str(files("log")), *(part for one in candidates for part in ("--candidate", one))]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert re.search(r"(?m)^ann\s+0\.[5-9]", said), said
    assert "none of these" in said
    assert "30 steps" in said
    assert main([*given, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["best"] == "ann"
    assert [one["name"] for one in answer["answers"]] == ["ann", "bob", "random", None]
    assert sum(one["probability"] for one in answer["answers"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        ((), "recognise whom in what?"),
        (("nobody",), "--candidate: expected adaptation:ID"),
        (("adaptation:x@y",), "a version as in adaptation:ID@2"),
        (("a=random", "a=model:point"), "a name of its own"),
        (("examples:point",), "examples:NAME"),
    ],
)
def test_what_is_no_candidate_is_said_in_a_sentence(
    files: Callable[[str], Path], capsys: pytest.CaptureFixture[str], candidates: tuple[str, ...], said: str
) -> None:
    given = [part for one in candidates for part in ("--candidate", one)]
    assert main(["recognise", "--from", str(files("log")), *given]) == 2
    assert said in capsys.readouterr().err
