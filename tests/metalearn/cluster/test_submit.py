"""Training as a job: what is submitted, what is handed over, and the whole way on a cluster that wants tokens."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.ray_head import TOKEN, environment

from metalearn.bundle import Bundle
from metalearn.cluster.artifacts import ArtifactRef, pack_bundle, store_artifact, unpack_bundle
from metalearn.cluster.submit import NOT_UPLOADED, Cluster, Submission, arguments_of
from metalearn.data.errors import InvalidConfig
from metalearn.experiments import find_experiment
from metalearn.training.checkpoint import read
from metalearn.training.run_store import CHECKPOINT
from service.settings import SHIPPED_MODELS

REACH = SHIPPED_MODELS / "reach"


def test_the_same_wish_is_the_same_job():
    assert Submission("reach-m2", ("--seed", "1")).id == Submission("reach-m2", ("--seed", "1")).id
    others = {Submission("reach-m2").id, Submission("reach-m2", ("--seed", "2")).id, Submission("push").id}
    assert len(others | {Submission("reach-m2", storage="memory://x").id}) == 4
    assert Submission("reach-m2", name="mine").id == "mine"


def test_all_of_the_program_is_uploaded_and_what_it_made_is_not():
    from pathspec import PathSpec  # what Ray reads the patterns with

    left_out = PathSpec.from_lines("gitwildmatch", NOT_UPLOADED).match_file
    root = Path(__file__).parents[3]
    program = [
        path.relative_to(root) for package in ("metalearn", "service", "wtl") for path in (root / package).rglob("*.py")
    ]
    assert len(program) > 100
    assert not [str(path) for path in program if left_out(str(path))]
    for made in (
        "runs/a/bundle/bundle.json",
        "models/reach/bundle.json",
        ".git/config",
        "metalearn/__pycache__/cli.pyc",
    ):
        assert left_out(made)


@pytest.mark.parametrize("argument", ["--out", "--storage=s3://bucket"])
def test_where_the_run_goes_is_no_argument_of_the_training(argument):
    with pytest.raises(InvalidConfig, match=f"{argument.partition('=')[0]}: give it to `wtl submit`"):
        Submission("reach-m2", ("--seed", "1", argument))


def test_settings_and_options_become_arguments_of_the_training():
    given = arguments_of(find_experiment("reach-m2"), ["model.n_frames=16", "model.fourier=0.5,1"], seed=1, minutes=30)
    assert given == ("--seed=1", "--minutes=30", "--set=model.n_frames=16", "--set=model.fourier=0.5,1")
    assert Submission("reach-m2", given).id != Submission("reach-m2").id


@pytest.mark.parametrize(
    ("setting", "steps", "sentence"),
    [
        ("model.n_frame=16", None, "did you mean model.n_frames"),
        ("model.n_frames=0", None, "model.n_frames: expected a whole number"),
        ("training.minutes=5", 100, "steps decides it too"),
    ],
)
def test_a_wrong_setting_is_said_before_a_job_starts(setting, steps, sentence):
    with pytest.raises(InvalidConfig, match=sentence):
        arguments_of(find_experiment("reach-m2"), [setting], steps=steps)


def test_with_storage_the_run_is_kept_there_and_not_the_bundle_alone():
    kept = Submission("reach-m2", ("--seed", "1"), storage="s3://bucket/runs/", name="mine").entrypoint
    train, leave = kept.split(" && ")
    assert "--out runs/mine --storage s3://bucket/runs/ --seed 1" in train
    assert leave.endswith("--to s3://bucket/runs/mine")


def test_what_is_handed_over_arrives_as_it_was(tmp_path):
    artifact = store_artifact(REACH, "job", f"file://{tmp_path}/there/deep")
    content = Path(artifact.url.removeprefix("file://")).read_bytes()
    assert content == pack_bundle(REACH)
    assert ArtifactRef.from_log(f"training\n{artifact.log_line}\n") == artifact
    assert unpack_bundle(content, artifact.sha256, tmp_path / "bundle").id == Bundle.load(REACH).id


def test_a_bundle_that_was_cut_short_is_not_written(tmp_path):
    content = pack_bundle(REACH)
    with pytest.raises(InvalidConfig, match="cut short or changed"):
        unpack_bundle(content[:-10_000], "0" * 64, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    import hashlib
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("../outside")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    content = buffer.getvalue()
    with pytest.raises(InvalidConfig, match=r"not a bundle: it holds '../outside'"):
        unpack_bundle(content, hashlib.sha256(content).hexdigest(), tmp_path / "bundle")
    assert not (tmp_path / "outside").exists()


def test_half_a_bundle_is_not_handed_over(tmp_path):
    with pytest.raises(InvalidConfig, match="no bundle"):
        store_artifact(tmp_path, "job", f"file://{tmp_path}/there")


def test_a_log_without_a_bundle_is_one_sentence():
    with pytest.raises(InvalidConfig, match="does not say where its bundle is"):
        ArtifactRef.from_log("trained\n")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:6379", "nonsense"])
def test_an_address_where_no_dashboard_answers_is_one_sentence(address):
    with pytest.raises(InvalidConfig, match=r"no Ray cluster at|address: expected"):
        Cluster(address)


def submit(address: str, home: Path, *arguments: str, token: str = TOKEN) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "wtl.cli", "submit", "--address", address, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(home, token), timeout=900)
    (home / "last").write_text(done.stdout + done.stderr)
    return done


def last(home: Path) -> str:
    return (home / "last").read_text()


SMALL = ("dark-room", "--", "--steps", "20", "--no-baselines")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_job_survives_who_watches_it_and_its_bundle_comes_home(head, tmp_path):
    address, home = head
    refused = submit(address, home, *SMALL[:1], "--no-wait", token="another-token-0123456789")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr

    command = [sys.executable, "-m", "wtl.cli", "submit", "--address", address, "--out", str(tmp_path / "run")]
    with subprocess.Popen([*command, *SMALL], stdout=subprocess.PIPE, text=True, env=environment(home)) as watching:
        assert ": submitted" in watching.stdout.readline()
        time.sleep(5)
        watching.send_signal(signal.SIGINT)
        assert "goes on" in watching.stdout.read()
        assert watching.wait(30) == 130

    done = submit(address, home, "--out", str(tmp_path / "run"), *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was submitted before" in done.stdout
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    assert bundle.name == "dark-room"
    again = submit(address, home, "--out", str(tmp_path / "other"), *SMALL)
    assert again.returncode == 0
    assert Bundle.load(tmp_path / "other" / "bundle").id == bundle.id


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_that_was_stopped_goes_on_from_its_storage_where_nothing_else_is_left_of_it(head, tmp_path):
    address, home = head
    wanted = ("dark-room", "--id", "kept", "--storage", f"file://{tmp_path}/kept", "--out", str(tmp_path / "run"))
    arguments = ("--", "--steps", "600", "--no-baselines")
    begun = submit(address, home, *wanted, "--no-wait", *arguments)
    assert begun.returncode == 0, last(home)
    checkpoint, deadline = tmp_path / "kept" / "kept" / CHECKPOINT, time.monotonic() + 400
    while not checkpoint.exists():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    stop = ["ray", "job", "stop", "--address", address, "kept"]
    subprocess.run(stop, check=True, capture_output=True, env=environment(home), timeout=120)
    steps = read(checkpoint).steps
    assert 0 < steps < 600
    shutil.rmtree(home / "runs")
    done = submit(address, home, *wanted, "--again", *arguments)
    assert done.returncode == 0, last(home)
    event_log = [json.loads(line) for line in (home / "runs" / "kept" / "progress.jsonl").read_text().splitlines()]
    phases = {entry.get("phase") for entry in event_log}
    assert "demonstrate" not in phases
    assert min(entry["done"] for entry in event_log if entry.get("phase") == "train") > steps
    assert Bundle.load(tmp_path / "run" / "bundle").provenance["history"][-1]["step"] == 600


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_that_fails_is_one_sentence(head):
    address, home = head
    failed = submit(address, home, "reach-m2", "--id", "bad", "--", "--no-such-option")
    assert failed.returncode == 2
    assert "job bad failed" in failed.stderr
    assert "No such option" in failed.stdout
