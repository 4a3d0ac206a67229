"""Recorded episodes: one hypothesis each, every step kept, a trial in the end."""

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.pointing import PointingRuntime

from metalearn.data.episode import Episode
from service.app import create_app
from service.client import Client, ClientError
from service.settings import Settings

START = [0.0, 0.0, 0.0]


def play(episode, n_steps: int = 2, rewards: bool = True) -> tuple[np.ndarray, float | None]:
    """Move as told; the last observation and reward."""
    observation, reward = np.zeros(3, np.float32), None
    for t in range(n_steps):
        action = episode.act(observation, reward)
        observation = observation + np.array([*action, 0], np.float32)
        reward = float(t) if rewards else None
    return observation, reward


def test_an_episode_becomes_a_trial_that_is_learnt_from(client: Client, demo: Episode, http: TestClient) -> None:
    adaptation = client.adapt("point", demos=[demo])
    with adaptation.episode(explore=False) as episode:
        observation, reward = play(episode)
        after = episode.finish(observation, reward, success=np.bool_(False))
    assert (after.id, after.version, after.n_trials) == (adaptation.id, 2, 1)
    [trial] = http.app.state.container.repository.context(after.id, 2).trials
    np.testing.assert_allclose(trial.observations[:, :2], [[0, 0], [1, 1], [1, 1]])
    np.testing.assert_allclose(trial.actions, [[1, 1], [0, 0]])
    assert (list(trial.rewards), trial.success) == ([0.0, 1.0], False)
    assert client.adaptation(after.id).episode().explore is False
    np.testing.assert_allclose(after.act([START]), [[-1, -1]])


def test_exploring_draws_one_hypothesis_and_keeps_it(client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    directions = set()
    for _ in range(20):
        with adaptation.episode() as episode:
            assert episode.explore
            actions = {tuple(episode.act(START)) for _ in range(3)}
        assert len(actions) == 1
        directions |= actions
    assert directions == {(1.0, 1.0), (-1.0, -1.0)}


def test_an_episode_acts_from_the_version_it_began_with(client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    episode = adaptation.episode(explore=False)
    adaptation.add_trials([Episode.of(demo.observations, success=False)])
    assert tuple(episode.act(START)) == (1.0, 1.0)


def test_rewards_that_were_not_sent_are_zeros_or_none(client: Client, demo: Episode, http: TestClient) -> None:
    adaptation = client.adapt("point", demos=[demo])
    silent, sparse = adaptation.episode(), adaptation.episode()
    silent.finish(play(silent, rewards=False)[0], success=True)
    sparse.finish(play(sparse, rewards=False)[0], reward=5.0)
    first, second = http.app.state.container.repository.context(adaptation.id, 3).trials
    assert first.rewards is None
    assert list(second.rewards) == [0.0, 5.0]


def test_episodes_refuse_what_they_cannot_be(client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    episode = adaptation.episode()
    cases = []
    with pytest.raises(ClientError) as empty:
        episode.finish(START)
    with pytest.raises(ClientError) as early:
        episode.act(START, reward=1.0)
    observation, reward = play(episode, n_steps=50)
    with pytest.raises(ClientError) as over:
        episode.act(observation)
    episode.finish(observation, reward)
    with pytest.raises(ClientError) as acted:
        episode.act(observation)
    with pytest.raises(ClientError) as finished:
        episode.finish(observation)
    cases = [
        (error.value.status, error.value.type.rpartition(":")[2]) for error in (empty, early, over, acted, finished)
    ]
    assert cases == [
        (409, "episode-empty"),
        (422, "invalid-payload"),
        (409, "episode-over"),
        (409, "episode-finished"),
        (409, "episode-finished"),
    ]


def test_repeated_posts_neither_act_nor_learn_twice(http: TestClient, client: Client, demo: Episode) -> None:
    path = f"/v1/adaptations/{client.adapt('point', demos=[demo]).id}/episodes"

    def twice(path: str, key: str, body: dict[str, object]) -> object:
        first, again = (http.post(path, json=body, headers={"Idempotency-Key": key}) for _ in range(2))
        assert (first.status_code, first.json()) == (again.status_code, again.json())
        return first.json()

    episode = twice(path, "start", {})
    path += f"/{episode['id']}"
    assert twice(path + "/act", "step", {"observation": START})["step"] == 0
    other = http.post(path + "/act", json={"observation": [1, 1, 1]}, headers={"Idempotency-Key": "step"})
    assert other.status_code == 422
    assert twice(path + "/act", "next", {"observation": START, "reward": 1})["step"] == 1
    assert twice(path + "/finish", "end", {"observation": START, "success": True})["version"] == 2


def test_an_episode_in_progress_outlives_the_server(settings: Settings, app: FastAPI, demo: Episode) -> None:
    with TestClient(app) as http:
        adaptation = Client(http=http).adapt("point", demos=[demo])
        episode = adaptation.episode(explore=False)
        play(episode, n_steps=1)
    with TestClient(create_app(settings, runtime_factory=PointingRuntime)) as http:
        path = f"/v1/adaptations/{adaptation.id}/episodes/{episode.id}"
        assert http.post(path + "/act", json={"observation": [1, 1, 0], "reward": 3}).json()["step"] == 1
        after = http.post(path + "/finish", json={"observation": [1, 1, 0], "reward": 4}).json()
        assert after["n_trials"] == 1
        [trial] = http.app.state.container.repository.context(adaptation.id, 2).trials
        assert (len(trial), list(trial.rewards)) == (2, [3.0, 4.0])


def test_deleting_an_adaptation_ends_its_episodes(client: Client, demo: Episode) -> None:
    adaptation = client.adapt("point", demos=[demo])
    episode = adaptation.episode()
    episode.act(START)
    adaptation.delete()
    with pytest.raises(ClientError, match="unknown, deleted or expired"):
        episode.act(START)
