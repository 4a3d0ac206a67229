"""Drift watch: trials are compared with the policy that was released, beside the requests, if the server is told to."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client
from service.settings import Settings


@pytest.fixture
def watched(settings: Settings) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update={"drift_watch": True}), runtime_factory=PointingRuntime)
    with TestClient(app, raise_server_exceptions=False) as http:
        yield http


def compared(http: TestClient, n: int) -> dict[str, float]:
    """How many trials were compared, by the bucket that they are in, once there are n of them."""
    for _ in range(200):
        lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith("wtl_action_deviation")]
        counts = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
        if counts.get('wtl_action_deviation_count{model="point"}', 0) >= n:
            break
        time.sleep(0.05)
    return {name.partition('le="')[2].partition('"')[0]: count for name, count in counts.items() if "_bucket" in name}


def test_what_acts_as_released_has_no_deviation_and_what_does_not_has_one(watched: TestClient) -> None:
    client = Client(http=watched, retries=0)
    goal = Episode.of([[0, 0, 0], [0.5, 0.5, 0]], [[0.5, 0.5]])
    adaptation = client.adapt("point", [goal])
    with adaptation.episode() as episode:
        observation = np.zeros(3)
        for _ in range(4):
            observation = observation + 0.3 * np.append(episode.act(observation, 0.0), 0.0)
        adaptation = episode.finish(observation, 1.0, success=True)
    assert compared(watched, 1)["0.001"] == 1
    turned = Episode.of([[0, 0, 0], [-0.5, 0.5, 0]], [[-0.5, 0.5]], [0], False)
    adaptation.add_trials([turned, turned.without_actions()])
    counts = compared(watched, 2)
    assert counts["0.2"] == 1
    assert counts["+Inf"] == 2


def test_it_is_off_unless_asked_for(client: Client, http: TestClient, demo: Episode) -> None:
    client.adapt("point", [demo]).add_trials([demo])
    time.sleep(0.1)
    assert "wtl_action_deviation_count" not in http.get("/metrics").text
