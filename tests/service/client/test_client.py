"""Both clients say the same, over sockets and in process, and try again where that is safe and helps."""

import asyncio
from collections.abc import Callable

import gymnasium as gym
import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from gymnasium import spaces
from support.pointing import SPEC
from support.scripted import FAILED, GONE, OK, busy, scripted
from support.serving import served

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from service.client import AsyncClient, Client, ClientError


def test_the_blocking_client_over_a_socket(app: FastAPI, demo: Episode) -> None:
    with served(app) as url, Client(url) as client:
        adaptation = client.adapt("point", demos=[demo])
        np.testing.assert_allclose(adaptation.act([[0, 0.5, 0]]), [[1, 0.5]])
        assert [one.id for one in client.adaptations()] == [adaptation.id]
        assert client.adaptation(adaptation.id) == adaptation
        assert [one["version"] for one in adaptation.add_demos([demo]).versions()] == [1, 2]
        fork = adaptation.fork()
        assert (fork.id != adaptation.id, fork.version, fork.n_demos) == (True, 1, 1)
        assert list(client.jobs()) == []
        with pytest.raises(ClientError) as caught:
            client.job("nothing")
        assert caught.value.status == 404
        with pytest.raises(ClientError, match="experiment"):
            client.train("../nothing")
        fork.delete()
        adaptation.delete()
        assert list(client.adaptations()) == []


def test_what_there_is_to_look_at_is_the_same_for_both_clients(app: FastAPI, demo: Episode) -> None:
    with served(app) as url, Client(url) as client:
        adaptation = client.adapt("point", demos=[demo, demo])
        fork = adaptation.fork()
        [first, second] = adaptation.preview(steps=2)
        assert ([first["index"], second["index"]], first["steps"], first["length"]) == ([0, 1], [0, 2], 2)
        np.testing.assert_allclose(first["observations"], demo.observations[[0, 2]])
        assert [one["id"] for one in fork.family()] == [adaptation.id, fork.id]
        assert (client.caller()["key"], client.keys()) == (None, [])
        log = list(client.audit_log())
        assert [one["action"] for one in log] == [
            "POST /v1/adaptations/{adaptation_id}/fork", "POST /v1/adaptations",
        ]  # fmt: skip

        async def looked_at() -> list[object]:
            async with AsyncClient(url) as other:
                same = await other.adaptation(adaptation.id)
                return [
                    [one async for one in same.preview(steps=2)], await same.family(), await other.caller(),
                    await other.keys(), [one async for one in other.audit_log()],
                ]  # fmt: skip

        previewed, *others = asyncio.run(looked_at())
        assert [one["length"] for one in previewed] == [2, 2]
        assert others == [adaptation.family(), client.caller(), client.keys(), log]
        with pytest.raises(InvalidData, match="steps"):
            adaptation.preview(steps=2.5)  # type: ignore[arg-type]


async def tell_the_story(client: AsyncClient, demo: Episode) -> None:
    [model] = await client.models()
    assert (await client.model("point", 1)).example == model.example
    adaptation = await client.adapt("point", demos=[demo])
    both = await asyncio.gather(adaptation.act([[0, 0.5, 0]]), adaptation.act([[1, 1, 0]]))
    np.testing.assert_allclose(both, [[[1, 0.5]], [[0, 0]]])
    assert (await adaptation.add_demos([demo])).n_demos == 2
    episode = await adaptation.episode(explore=False)
    action = await episode.act([0, 0, 0])
    assert action.shape == (2,)
    learned = await episode.finish([1, 0, 0], reward=0.0, success=False)
    assert (learned.version, learned.n_trials) == (3, 1)
    assert (await learned.add_trials([demo])).version == 4
    assert (await client.adaptation(adaptation.id, version=1)).n_demos == 1
    fork = await adaptation.fork()
    assert len(await fork.versions()) == 1
    await fork.delete()
    assert [job async for job in client.jobs()] == []
    assert [one.id async for one in client.adaptations()] == [adaptation.id]
    await adaptation.delete()
    with pytest.raises(ClientError) as caught:
        await adaptation.act([[0, 0, 0]])
    assert (caught.value.status, caught.value.type) == (404, "urn:problem-type:wtl:adaptation-not-found")


def test_the_awaiting_client_over_a_socket(app: FastAPI, demo: Episode) -> None:
    async def main(url: str) -> None:
        async with AsyncClient(url) as client:
            await tell_the_story(client, demo)

    with served(app) as url:
        asyncio.run(main(url))


def test_the_awaiting_client_in_process(app: FastAPI, demo: Episode) -> None:
    async def main() -> None:
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://in.process")
        async with app.router.lifespan_context(app), AsyncClient(http=http) as client:
            await tell_the_story(client, demo)

    asyncio.run(main())


def ask_blocking(url: str, **options: object) -> object:
    with Client(url, **options) as client:
        return client.request("POST", "/v1/anything", {"x": np.zeros(2)})


def ask_awaiting(url: str, **options: object) -> object:
    async def main() -> object:
        async with AsyncClient(url, **options) as client:
            return await client.request("POST", "/v1/anything", {"x": np.zeros(2)})

    return asyncio.run(main())


both = pytest.mark.parametrize("ask", [ask_blocking, ask_awaiting])


@both
def test_what_was_lost_or_met_a_busy_server_is_repeated_under_one_key(ask: Callable[..., object]) -> None:
    with scripted(None, busy(503), busy(429, **{"Retry-After": "1"}), OK) as server:
        assert ask(server.url) == {"items": [], "next_cursor": None}
    times, headers = zip(*server.seen, strict=True)
    assert len({one["Idempotency-Key"] for one in headers}) == 1
    assert len(times) == 4
    assert times[3] - times[2] >= 1  # as it was asked to


@both
def test_what_a_proxy_lost_is_repeated_and_what_the_server_failed_at_is_not(ask: Callable[..., object]) -> None:
    with scripted(busy(500), busy(502), busy(504), OK) as server:
        assert ask(server.url) == {"items": [], "next_cursor": None}
    with scripted(FAILED, OK) as server, pytest.raises(ClientError, match="failed"):
        ask(server.url)
    assert len(server.seen) == 1


@both
def test_it_gives_up_and_says_why(ask: Callable[..., object]) -> None:
    with scripted(busy(503), busy(503), OK) as server, pytest.raises(ClientError) as caught:
        ask(server.url, retries=1)
    assert (caught.value.status, len(server.seen)) == (503, 2)
    with pytest.raises(ClientError, match="cannot be reached"):
        ask("http://127.0.0.1:1", retries=0)


@both
def test_a_refusal_is_not_repeated_nor_is_a_long_wait_waited(ask: Callable[..., object]) -> None:
    with scripted(GONE, OK) as server, pytest.raises(ClientError, match="Gone: no"):
        ask(server.url)
    assert len(server.seen) == 1
    with scripted(busy(429, **{"Retry-After": "3600"}), OK) as server, pytest.raises(ClientError) as caught:
        ask(server.url)
    assert (caught.value.status, len(server.seen)) == (429, 1)


def test_a_deletion_whose_answer_was_lost_is_no_failure() -> None:
    with scripted(None, GONE) as server, Client(server.url) as client:
        client.request("DELETE", "/v1/adaptations/x")
    with scripted(GONE) as server, Client(server.url) as client, pytest.raises(ClientError):
        client.request("DELETE", "/v1/adaptations/x")


def test_the_key_is_an_argument_or_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTL_API_KEY", "wtl_env")
    with scripted(OK, OK) as server:
        ask_blocking(server.url)
        ask_awaiting(server.url, api_key="wtl_given")
    assert [seen["Authorization"] for _, seen in server.seen] == ["Bearer wtl_env", "Bearer wtl_given"]


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://nowhere", "http://[", "http://a b"])
def test_a_url_that_is_none_is_said_to_be_none(url: str) -> None:
    with pytest.raises(ClientError):
        Client(url, retries=0).models()


class LogLine(gym.Env):
    """A point that has to get to (1, 1)."""

    observation_space, action_space = spaces.Box(-9, 9, (3,), np.float32), SPEC.action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen = np.zeros(3, np.float32)
        return self.seen.copy(), {"success": False}

    def step(self, action):
        self.seen[:2] += action
        done = bool(np.abs(self.seen[:2] - 1).max() < 0.1)
        return self.seen.copy(), float(done), done, False, {"success": done}


def test_a_policy_drops_into_an_environment_loop_and_learns_from_it(client: Client, demo: Episode) -> None:
    policy, env = client.policy(client.adapt("point", demos=[demo]), explore=False), LogLine()
    (observation, _), reward, done, n_steps = env.reset(), None, False, 0
    policy.reset()
    while not done:
        observation, reward, done, _, info = env.step(policy(observation, reward))
        n_steps += 1
    learned = policy.finish(observation, reward, info["success"])
    assert (learned.version, learned.n_trials, n_steps) == (2, 1, 1)
    assert policy.adaptation == learned
    assert not policy.recording


def test_an_awaited_policy_does_the_same(app: FastAPI, demo: Episode) -> None:
    async def main() -> None:
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://in.process")
        async with app.router.lifespan_context(app), AsyncClient(http=http) as client:
            policy, env = await client.policy((await client.adapt("point", demos=[demo])).id, explore=False), LogLine()
            assert np.shape(await policy(np.zeros((4, 3)))) == (4, 2)
            (observation, _), reward, done = env.reset(), None, False
            with pytest.raises(InvalidData, match="started with reset"):
                await policy.finish(observation)
            await policy.reset()
            while not done:
                observation, reward, done, _, info = env.step(await policy(observation, reward))
            learned = await policy.finish(observation, reward, info["success"])
            assert (learned.version, learned.n_trials, policy.recording) == (2, 1, False)
            assert policy.adaptation == learned
            with pytest.raises(InvalidData, match=r"shape \[3\] or \[n, 3\]"):
                await policy(np.zeros(4))

    asyncio.run(main())


def test_a_recorded_episode_is_judged_as_an_upload_is(client: Client, demo: Episode) -> None:
    episode = client.adapt("point", demos=[demo]).episode(explore=False)
    for _ in range(3):
        episode.act([-9, -9, 0])
    learned = episode.finish([1, 1, 0], reward=0.5, success=True)
    [quality] = learned.quality
    assert (quality.episode, quality.steps, quality.success, quality.clipped) == ("trials[0]", 3, True, 1.0)
    [same] = client.adaptation(learned.id).add_trials([learned.episodes().trials[0]]).quality
    assert same.duplicate_of == "stored"
    assert (same.clipped, same.constant_actions) == (quality.clipped, quality.constant_actions)


def test_a_policy_acts_for_vectorised_environments(client: Client, demo: Episode) -> None:
    policy, envs = client.policy(client.adapt("point", demos=[demo]).id), gym.vector.SyncVectorEnv([LogLine] * 3)
    observations, _ = envs.reset()
    policy.reset()
    observations, rewards, *_ = envs.step(policy(observations))
    assert rewards.tolist() == [1, 1, 1]
    with pytest.raises(InvalidData, match="observation: expected shape"):
        policy(np.zeros(4))


def test_an_episode_has_to_be_begun(client: Client) -> None:
    with pytest.raises(InvalidData, match="started with reset"):
        client.policy(client.adapt("point")).finish([0, 0, 0])


def test_a_policy_fills_a_minari_collector(client: Client, demo: Episode, tmp_path, monkeypatch) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    policy = client.policy(client.adapt("point", demos=[demo]), explore=False)
    env = minari.DataCollector(LogLine(), record_infos=True)
    for _ in range(2):
        (observation, _), reward, done = env.reset(), None, False
        policy.reset()
        while not done:
            observation, reward, terminated, truncated, info = env.step(policy(observation, reward))
            done = terminated or truncated
        policy.finish(observation, reward, info["success"])
    dataset = env.create_dataset(dataset_id="point/trials-v0")
    assert (dataset.total_episodes, policy.adaptation.n_trials) == (2, 2)
