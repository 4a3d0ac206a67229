"""`act` with `sample`: actions as whoever was watched may take them, with the deviation that was seen."""

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.pointing import settings_in

from metalearn.data.episode import Episode
from service.client import Client, ClientError
from service.settings import Settings

HERE = np.zeros((400, 3), np.float32)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path).model_copy(update={"max_rows": 1000})


def watched(shaking: float) -> Episode:
    """Somebody who goes to (0.5, 0), with a hand that shakes."""
    rng, seen, done = np.random.default_rng(0), [np.zeros(3)], []
    for _ in range(45):
        done.append(np.clip([0.5, 0.0] - seen[-1][:2] + rng.normal(0, shaking, 2), -1, 1))
        seen.append(seen[-1] + 0.1 * np.append(done[-1], 0.0))
    seen.append([0.5, 0.0, 0.0])
    return Episode.of(np.array(seen), np.array([*done, [0.0, 0.0]]))


def test_actions_are_as_shaky_as_who_was_watched(client: Client) -> None:
    for shaking in (0.02, 0.3):
        adaptation = client.adapt("point", [watched(shaking)])
        drawn, plain = adaptation.act(HERE, sample=True), adaptation.act(HERE)
        np.testing.assert_allclose(drawn.std(0), shaking, rtol=0.35)
        np.testing.assert_allclose(drawn.mean(0), plain[0], atol=4 * shaking / np.sqrt(len(HERE)) + 0.02)
        assert (plain == plain[0]).all()
        assert (np.abs(drawn) <= 1).all()


def test_a_version_shakes_as_its_own_demonstrations_do(client: Client) -> None:
    adaptation = client.adapt("point", [watched(0.02)])
    steady = adaptation.act(HERE, sample=True).std(0)
    shaky = adaptation.add_demos([watched(0.5)]).act(HERE, sample=True).std(0)
    assert (shaky > 3 * steady).all()


@pytest.mark.parametrize("value", ["yes", 1, None, [True]])
def test_what_is_no_boolean_is_refused(http: TestClient, client: Client, value: object) -> None:
    made = client.adapt("point", [watched(0.1)])
    answer = http.post(f"/v1/adaptations/{made.id}/act", json={"observations": [[0, 0, 0]], "sample": value})
    assert answer.status_code == 422
    assert answer.json()["field"] == "sample"


def test_what_is_no_observation_is_refused_as_without_sampling(client: Client) -> None:
    made = client.adapt("point", [watched(0.1)])
    with pytest.raises(ClientError, match="observations"):
        made.act(np.full((2, 3), np.nan), sample=True)
