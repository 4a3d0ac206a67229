"""`wtl adapt`, `act`, `check` and `convert`, as a user types them, against a real server."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from fastapi import FastAPI
from support.pointing import PointingRuntime, asked, bundle, settings_in
from support.serving import served

from metalearn.data.episode import Episode
from metalearn.data.formats import FORMATS, read_episodes, read_minari, write_episodes
from service.app import create_app
from wtl.cli import main

Wtl = Callable[..., str]


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    settings = settings_in(tmp_path)
    asked().save(settings.models / "asked")
    return create_app(settings, runtime_factory=PointingRuntime)


@pytest.fixture
def demo() -> Episode:
    return Episode.of([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[1, 0], [0, 1]], [0, 1], True)


@pytest.fixture
def url(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served(app) as address:
        monkeypatch.setenv("WTL_URL", address)
        yield address


@pytest.fixture
def wtl(capsys: pytest.CaptureFixture[str]) -> Wtl:
    def run(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        captured = capsys.readouterr()  # with what the server, in this process too, logs
        out, err = (re.sub(r"(?m)^\d{4}-\d\d-\d\d.*\n", "", text) for text in captured)
        if code:
            assert re.fullmatch(r"wtl: [^\n]+\n", err), err
        return err if code else out

    return run


@pytest.fixture
def file(tmp_path: Path, demo: Episode) -> Path:
    write_episodes(tmp_path / "demo.npz", [demo, demo], rate_hz=5.0)
    return tmp_path / "demo.npz"


def test_adapt_then_act_then_learn(url: str, wtl: Wtl, file: Path, tmp_path: Path, monkeypatch) -> None:
    said = wtl("adapt", "--model", "point", "--from", file)
    found = re.match(r"([0-9a-f]{24})  version 1 of point@1\ndemos: 2, trials: 0, not calibrated\n", said)
    assert found, said
    assert "duplicate: the same, number by number, as demos[0]" in said
    assert "rate-differs: recorded at 5 Hz" in said
    (tmp_path / "seen.json").write_text("[[0, 0.5, 0], [1, 1, 0]]")
    assert json.loads(wtl("act", found[1], tmp_path / "seen.json")) == {"actions": [[1, 0.5], [0, 0]]}
    monkeypatch.setattr("sys.stdin", io.StringIO('{"observations": [0, 0.5, 0]}'))
    assert json.loads(wtl("act", found[1])) == {"actions": [[1, 0.5]]}
    np.savez(tmp_path / "seen.npz", observations=np.array([[1.0, 1, 0]]))
    assert json.loads(wtl("act", found[1], tmp_path / "seen.npz")) == {"actions": [[0, 0]]}
    more = ("--from", file, "--episodes", "0", "--trials-from", file)
    learned = json.loads(wtl("adapt", "--to", found[1], *more, "--json"))
    assert (learned["version"], learned["n_demos"], learned["n_trials"]) == (3, 3, 2)
    assert [one["episode"] for one in learned["quality"]] == ["demos[0]", "trials[0]", "trials[1]"]


def test_what_is_asked_for_is_said_in_words_or_as_json(url: str, wtl: Wtl, file: Path) -> None:
    said = wtl("adapt", "--model", "asked", "--ask", "return=500", "--ask", "better", "--ask", "goal=0.5, 0.25")
    assert 'asked for: {"return": 500.0, "goal": [0.5, 0.25], "better": true}' in said
    made = json.loads(wtl("adapt", "--model", "asked", "--ask", '{"return": 60, "better": 0.25}', "--json"))
    assert (made["ask"], made["ask_warnings"]) == ({"return": 60.0, "better": 0.25}, [])
    more = json.loads(wtl("adapt", "--to", made["id"], "--from", file, "--ask", "goal=[1, 0]", "--json"))
    assert (more["version"], more["n_demos"], more["ask"]) == (3, 2, {"goal": [1.0, 0.0]})
    assert len(more["quality"]) == 2
    words = json.loads(wtl("adapt", "--to", made["id"], "--ask", "words=go to 2, slowly", "--json"))
    assert words["ask"] == {"words": "go to 2, slowly"}
    assert json.loads(wtl("adapt", "--to", made["id"], "--ask", "{}", "--json"))["ask"] == {}


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        (["retrun=1"], "--ask: expected KIND=VALUE with a kind of return, goal, better"),
        (["return"], "--ask: expected a value of return, as return=120, got none"),
        (["goal="], "--ask: expected a value of goal, as goal=0.3,0.2, got none"),
        (["words"], "--ask: expected a value of words, as words='go to the red ball', got none"),
        (['{"return": true}'], "--ask.return: expected a number from -1e+30 to 1e+30, got bool"),
        (["return=much"], "--ask.return: expected a number from -1e+30 to 1e+30, got str"),
        (["return=NaN"], "--ask.return: expected a number from -1e+30 to 1e+30, got nan"),
        (["goal=0.5,left"], "--ask.goal: expected a list of numbers"),
        (["goal=1"], "ask.goal: expected 2 numbers, got 1"),
        (["better=2"], "--ask.better: expected true, or a number from 0 to 1, got 2"),
        (["better", "better=0.5"], "--ask: expected better once, got it twice"),
        (['{"return": 1'], "--ask: expected KIND=VALUE or a JSON object"),
        (['{"return": 1, "return": 2}'], "--ask: expected return once, got it twice"),
        (['{"speed": 1}'], "--ask: expected some of return, goal, better"),
    ],
)
def test_an_ask_that_is_none_is_one_sentence(url: str, wtl: Wtl, asks: list[str], said: str) -> None:
    options = [part for one in asks for part in ("--ask", one)]
    assert said in wtl("adapt", "--model", "asked", *options, code=2)


def test_recordings_are_converted_and_adapted_to(url: str, wtl: Wtl, file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    folder = tmp_path / "point"
    bundle().save(folder)
    assert (
        wtl("convert", "minari:robot/point-v0", "--from", file, "--model", folder)
        == "2 episodes: minari:robot/point-v0\n"
    )
    assert read_minari("robot/point-v0").episodes == read_episodes(file).episodes
    assert "demos: 2" in wtl("adapt", "--model", "point", "--from", "minari:robot/point-v0")
    wtl("convert", tmp_path / "back.safetensors", "--from", "minari:robot/point-v0", "--episodes", "1")
    assert read_episodes(tmp_path / "back.safetensors").episodes == read_episodes(file).episodes[:1]


def test_actions_subset_success_and_rate_are_chosen(wtl: Wtl, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as recording:
        recording.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
        recording["mask/train"] = [b"demo_1"]
        for i in range(2):
            home = recording.create_group(f"demo_{i}")
            home["obs/state"], home["next_obs/state"] = np.arange(4.0) + i, np.arange(1.0, 5.0) + i
            home["joints"], home["actions"] = np.full((4, 1), 0.5), np.zeros((4, 2))
            home.attrs["solved"] = bool(i)
    chosen = ("--actions", "joints", "--filter", "train", "--success", "solved", "--resample", "10")
    assert wtl("convert", tmp_path / "out.npz", "--from", tmp_path / "x.hdf5", *chosen).startswith("1 episodes")
    made = read_episodes(tmp_path / "out.npz")
    assert (made.episodes, made.rate_hz) == ((Episode.of([1, 3, 5], [0.5, 0.5], None, True),), 10.0)


def test_a_report_that_says_resample_can_be_followed(wtl: Wtl, file: Path, tmp_path: Path) -> None:
    bundle().save(tmp_path / "point")
    asked = ("check", "--from", file, "--model", tmp_path / "point")
    [said] = set(re.findall(r"rate-differs: .*\((--resample [0-9.]+)\)", wtl(*asked)))
    followed = wtl(*asked, *said.split())
    assert "rate-differs" not in followed
    assert "resampled: it was brought from 5 to" in followed


def test_check_needs_no_server(wtl: Wtl, file: Path, tmp_path: Path) -> None:
    bundle().save(tmp_path / "point")
    said = wtl("check", "--from", file, "--model", tmp_path / "point")
    assert "duplicate" in said
    first, second = json.loads(wtl("check", "--from", file, "--model", tmp_path / "point", "--json"))
    assert (first["steps"], first["duplicate_of"], second["duplicate_of"]) == (2, None, "demos[0]")
    both = json.loads(
        wtl("check", "--from", file, "--trials-from", f"npz:{file}", "--model", tmp_path / "point", "--json")
    )
    assert [one["episode"] for one in both] == ["demos[0]", "demos[1]", "trials[0]", "trials[1]"]


def test_formats_lists_the_table(wtl: Wtl) -> None:
    said = wtl("formats")
    assert all(re.search(rf"(?m)^{kind} ", said) for kind in FORMATS)


def test_mistakes_are_one_sentence(url: str, wtl: Wtl, file: Path, tmp_path: Path) -> None:
    bundle().save(tmp_path / "point")
    (tmp_path / "bad.npz").write_bytes(b"PK")
    (tmp_path / "bad.json").write_text("[[1")
    (tmp_path / "good.json").write_text("[[1, 0, 0]]")
    for arguments, expected in {
        ("adapt",): "adapt what?",
        ("adapt", "--model", "point", "--to", "x"): "adapt what?",
        ("adapt", "--to", "x"): "nothing to add",
        ("adapt", "--model", "pint", "--from", file): "one of asked, point, or NAME@VERSION",
        ("adapt", "--model", "point", "--from", tmp_path / "none.npz"): "No such file",
        ("adapt", "--model", "point", "--from", tmp_path / "bad.npz"): "bad.npz: body: expected an .npz archive",
        ("adapt", "--model", "point", "--from", file, "--episodes", "1-x"): "0,3,5-9",
        ("adapt", "--model", "point", "--from", file, "--episodes", "7"): "numbers from 0 to 1",
        ("adapt", "--model", "point", "--from", "minari:no/such-v0"): "Minari dataset on this machine",
        ("adapt", "--model", "point", "--url", "http://127.0.0.1:1"): "no server answers at",
        ("adapt", "--model", "point", "--from", file, "--actions", " "): "--actions: expected a key, got nothing",
        ("adapt", "--model", "point", "--from", file, "--actions", "joints"): "this file holds whole episodes",
        ("adapt", "--model", "point", "--from", file, "--filter", "train"): "this file lists no subsets",
        ("adapt", "--model", "point", "--from", file, "--resample", "fast"): "steps per second, as 20, or 50:20",
        ("adapt", "--model", "point", "--from", file, "--resample", "0"): "steps per second, as 20, or 50:20",
        ("adapt", "--model", "point", "--from", file, "--resample", "nan:10"): "steps per second, as 20, or 50:20",
        ("act", "0" * 24, tmp_path / "bad.json"): "expected JSON",
        ("act", "nonsense", tmp_path / "good.json"): "unknown, deleted or expired",
        ("check", "--model", tmp_path / "point"): "check what?",
        ("check", "--from", file, "--model", "reach"): "demos[0].observations: expected shape",
        ("convert", "x.csv", "--from", file): "ending in .npz, .safetensors",
        ("adapt", "--model", "point", "--from", f"zip:{file}"): "no kind zip of recordings",
        ("adapt", "--model", "point", "--from", "mianri:robot/x-v0"): "did you mean minari?",
        ("adapt", "--model", "point", "--from", "recordings"): "a file ending in .npz, .safetensors",
        ("convert", tmp_path / "x.json", "--from", file): "json is only read",
        ("convert", "minari:robot/x-v0", "--from", file): "name their model",
        ("act", "0" * 24, "lerobot:x"): "expected a file of npz, safetensors, json",
    }.items():
        assert expected in wtl(*arguments, code=2), arguments
