"""What was acknowledged is there: after restarts, after models moved on, after kill -9 in the middle of writes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import support
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime, bundle

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Adaptation, Client, ClientError
from service.settings import Settings
from service.storage.episode_store import DamagedEpisode, EpisodeStore


def served(settings: Settings, now=time.time) -> TestClient:
    return TestClient(create_app(settings, runtime_factory=PointingRuntime, now=now))


def test_a_restarted_server_understands_its_contexts_again(settings: Settings, demo: Episode) -> None:
    with served(settings) as http:
        adaptation = Client(http=http).adapt("point", demos=[demo])
        adaptation.add_trials([Episode.of(demo.observations, success=False)])
    with served(settings) as http:
        client = Client(http=http)
        np.testing.assert_allclose(client.adaptation(adaptation.id).act([[0, -0.5, 0]]), [[-1, -0.5]])
        assert client.adaptation(adaptation.id, version=1).n_trials == 0


def test_versions_of_a_model_stay_what_they_were(settings: Settings, demo: Episode) -> None:
    with served(settings) as http:
        old = Client(http=http).adapt("point", demos=[demo])
    bundle(gain=0.5).save(settings.models / "point")
    with served(settings) as http:
        client = Client(http=http)
        assert [(model.name, model.version) for model in client.models()] == [("point", 2)]
        assert client.adapt("point", demos=[demo]).model_version == 2
        assert client.adapt("point@1", demos=[demo]).model_version == 1
        np.testing.assert_allclose(client.adaptation(old.id).act([[0.2, 1, 0]]), [[0.8, 0]], rtol=1e-6)
        assert client.model("point", 1).version == 1
    bundle().save(settings.models / "point")
    with served(settings) as http:
        assert Client(http=http).model("point").version == 1


def test_adaptations_expire_after_their_last_use(settings: Settings, demo: Episode) -> None:
    clock = [1000.0]
    settings = settings.model_copy(update={"adaptation_ttl_s": 100.0, "sweep_every_s": 0.05})
    with served(settings, lambda: clock[0]) as http:
        client = Client(http=http)
        used, idle = client.adapt("point", demos=[demo]), client.adapt("point", demos=[Episode.of(demo.observations)])
        assert (used.created_at, used.expires_at) == ("1970-01-01T00:16:40.000Z", "1970-01-01T00:18:20.000Z")
        clock[0] += 60
        used.act([[0, 0, 0]])
        clock[0] += 60
        assert client.adaptation(used.id).version == 1
        with pytest.raises(ClientError, match="unknown, deleted or expired"):
            idle.act([[0, 0, 0]])
        deadline = time.monotonic() + 10
        while len(list((settings.data / "episodes").glob("*"))) > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [path.stem for path in (settings.data / "episodes").glob("*")] == [demo.digest]


def test_blobs_are_whole_or_absent(tmp_path: Path, demo: Episode) -> None:
    blobs = EpisodeStore(tmp_path)
    for episode in (demo, demo.without_actions(), Episode.of(demo.observations.astype(np.float64), success=False)):
        assert blobs.read(*blobs.write([episode])) == episode
    half = tmp_path / "half.tmp"
    half.write_bytes(b"")
    young = tmp_path / "young.tmp"  # perhaps another server is writing it
    young.write_bytes(b"")
    os.utime(half, (0, 0))
    assert set(blobs.digests()) >= {demo.digest}
    assert not half.exists()
    assert young.exists()
    path = tmp_path / f"{demo.digest}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedEpisode):
        blobs.read(demo.digest)
    with pytest.raises(DamagedEpisode):
        blobs.read("0" * 64)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real process on the loopback."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.log = (folder / "server.log").open("ab")
        command = [sys.executable, "-m", "support.pointing", str(folder), str(port)]
        tests = {"PYTHONPATH": str(Path(support.__file__).parents[1])}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=os.environ | tests)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(self.url + "/readyz").is_success:
                    return
            except httpx.TransportError:
                assert self.process.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.05)
        raise TimeoutError

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.log.close()


def write_until_it_dies(url: str, seed: int, acknowledged: list[Adaptation], lives: threading.Event) -> None:
    """Watch, try and learn as fast as possible, and keep the last answer for each adaptation."""
    rng = np.random.default_rng(seed)
    client = Client(url, retries=0)
    while lives.is_set():
        try:
            adaptation = client.adapt("point", demos=[Episode.of(rng.normal(size=(3, 3)))])
            acknowledged.append(adaptation)
            acknowledged[-1] = adaptation.add_trials([Episode.of(rng.normal(size=(4, 3)), success=True)])
            episode = adaptation.episode()
            episode.act(np.zeros(3))
            acknowledged[-1] = episode.finish(np.ones(3), success=False)
        except ClientError:
            return


def test_kill_9_loses_nothing_that_was_acknowledged(settings: Settings, tmp_path: Path) -> None:
    server = Server(tmp_path)
    lives = threading.Event()
    lives.set()
    acknowledged: list[list[Adaptation]] = [[], [], []]
    writers = [
        threading.Thread(target=write_until_it_dies, args=(server.url, seed, mine, lives))
        for seed, mine in enumerate(acknowledged)
    ]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + 20
    while min(map(len, acknowledged)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    lives.clear()
    for writer in writers:
        writer.join()

    server = Server(tmp_path)
    client = Client(server.url)
    known = [adaptation for of_writer in acknowledged for adaptation in of_writer]
    assert len(known) >= 12
    for adaptation in known:
        found = client.adaptation(adaptation.id)
        # A write whose answer was lost may have happened; one that was answered must have.
        assert found.version >= adaptation.version
        assert client.adaptation(adaptation.id, adaptation.version).n_trials == adaptation.n_trials
        assert found.act(np.zeros((1, 3))).shape == (1, 2)
    server.stop(signal.SIGTERM)
    text = (tmp_path / "server.log").read_text()
    assert "Application shutdown complete" in text
    assert "Traceback" not in text, text
