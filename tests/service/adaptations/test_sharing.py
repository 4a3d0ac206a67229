"""Several server processes on one database serve the same sessions; one that is killed takes nothing with it."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.surviving.books import Server
from metalearn.data.episode import Episode
from service.client import Client, ClientError
from service.settings import Settings

ROOT = Path(__file__).parents[3]


def test_two_servers_share_a_session_and_one_outlives_the_other(
    settings: Settings, tmp_path: Path, database_url: str, demo: Episode
) -> None:
    servers = [Server(tmp_path, f"server{i}", database=database_url) for i in range(2)]
    here, there = (Client(server.wait().url, retries=0) for server in servers)
    try:
        adaptation = here.adapt("point", demos=[demo])
        np.testing.assert_array_equal(there.adaptation(adaptation.id).act([[0, 0, 0]]), [[1, 1]])
        there.adaptation(adaptation.id).add_trials([Episode.of(demo.observations, success=False)])
        np.testing.assert_array_equal(here.adaptation(adaptation.id).act([[0, 0, 0]]), [[-1, -1]])

        episode = here.adaptation(adaptation.id).episode(explore=False)
        path = f"/v1/adaptations/{adaptation.id}/episodes/{episode.id}"
        episode.act([0.0, 0.0, 0.0])
        second = httpx.post(servers[1].url + path + "/act", json={"observation": [0.5, 0, 0], "reward": 1}).json()
        assert second == {"step": 1, "action": [-1.0, -1.0]}
        # The first server has not seen the second step, and finds out.
        third = httpx.post(servers[0].url + path + "/act", json={"observation": [0.25, 0, 0], "reward": 2})
        assert third.json()["step"] == 2

        servers[0].kill()
        last = {"observation": [0, 0, 0], "reward": 3, "success": True}
        after = httpx.post(servers[1].url + path + "/finish", json=last).json()
        assert (after["version"], after["n_trials"]) == (3, 2)
        late = httpx.post(servers[1].url + path + "/act", json={"observation": [0, 0, 0]})
        assert late.json()["type"] == "urn:problem-type:wtl:episode-finished"

        servers[0].start()
        servers[0].wait()
        np.testing.assert_array_equal(here.adaptation(adaptation.id).act([[0, 0, 0]]), [[1, 1]])
        there.adaptation(adaptation.id).delete()
        with pytest.raises(ClientError, match="unknown, deleted or expired"):
            adaptation.act([[0, 0, 0]])
        assert [list((tmp_path / "data" / "episodes").iterdir()), list(here.adaptations())] == [[], []]
    finally:
        for server in servers:
            server.process.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_whatever_happens(tmp_path: Path, postgres) -> None:
    """The benchmark, in small: kill -9, connections cut, disk full, slow clients and those that vanish."""
    report = tmp_path / "survival.json"
    command = [sys.executable, ROOT / "benchmarks" / "survival.py", "--kills", "5", "--seed", "0", "--out", report]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(report.read_text())["findings"]
    assert {finding["fault"].split()[0] for finding in findings} == {"kill", "database", "disk", "slow", "client"}
    assert all(finding["rounds"] > 0 and finding["acknowledged"] > 0 for finding in findings)
