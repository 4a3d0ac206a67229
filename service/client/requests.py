"""Every verb of the API as a value: what is sent where. Knows no connection."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np

from metalearn.data.episode import Episode


@dataclass(frozen=True)
class Call:
    """One request. A POST has a key of its own, so that sending it twice does it once."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None


def get(path: str, **params: Any) -> Call:
    """Read something; parameters that are None are left out."""
    return Call("GET", path, params={name: value for name, value in params.items() if value is not None})


def post(path: str, body: Mapping[str, Any] | None = None) -> Call:
    """Make or change something."""
    return Call("POST", path, body, key=secrets.token_hex(16))


def any_call(method: str, path: str, body: Mapping[str, Any] | None, params: Mapping[str, Any]) -> Call:
    """For what has no verb here."""
    key = secrets.token_hex(16) if method == "POST" else None
    return Call(method, path, body, params, key)


def adapt(
    model: str, demos: Sequence[Episode], trials: Sequence[Episode], ask: Any, rate_hz: float | None = None
) -> Call:
    """Watch."""
    body = {"model": model, "demos": wired(demos), "trials": wired(trials), "ask": ask}
    return post("/v1/adaptations", _with_rate(body, rate_hz))


def read(adaptation_id: str, version: int | None) -> Call:
    """An adaptation without arrays."""
    return get(of_adaptation(adaptation_id), version=version)


def page(cursor: str | None) -> Call:
    """Some adaptations."""
    return get("/v1/adaptations", limit=100, cursor=cursor)


def delete(adaptation_id: str) -> Call:
    """Forget one."""
    return Call("DELETE", of_adaptation(adaptation_id))


def learn(adaptation_id: str, role: str, episodes: Sequence[Episode], rate_hz: float | None = None) -> Call:
    """More "demos" or "trials"."""
    return post(f"{of_adaptation(adaptation_id)}/{role}", _with_rate({role: wired(episodes)}, rate_hz))


def act(adaptation_id: str, observations: Any) -> Call:
    """Observations `[n, *o]` to actions, remembering nothing."""
    return post(f"{of_adaptation(adaptation_id)}/act", {"observations": np.asarray(observations)})


def start(adaptation_id: str, explore: bool | None) -> Call:
    """Begin a recorded episode."""
    return post(f"{of_adaptation(adaptation_id)}/episodes", {"explore": explore})


def step(adaptation_id: str, episode_id: str, observation: Any, reward: Any) -> Call:
    """The next action of a recorded episode."""
    body = {"observation": np.asarray(observation), "reward": _number(reward)}
    return post(f"{of_adaptation(adaptation_id)}/episodes/{_quoted(episode_id)}/act", body)


def finish(adaptation_id: str, episode_id: str, observation: Any, reward: Any, success: Any) -> Call:
    """The end of a recorded episode."""
    body = {
        "observation": np.asarray(observation),
        "reward": _number(reward),
        "success": None if success is None else bool(success),
    }
    return post(f"{of_adaptation(adaptation_id)}/episodes/{_quoted(episode_id)}/finish", body)


def fork(adaptation_id: str, version: int | None) -> Call:
    """An adaptation of its own that begins where another one is, or was."""
    return post(f"{of_adaptation(adaptation_id)}/fork", {"version": version})


def versions(adaptation_id: str, cursor: str | None) -> Call:
    """Some versions of an adaptation."""
    return get(f"{of_adaptation(adaptation_id)}/versions", limit=100, cursor=cursor)


def export(adaptation_id: str, version: int, policy: bool) -> Call:
    """One version as a zip, with its policy or without."""
    return get(f"{of_adaptation(adaptation_id)}/export", version=version, policy=None if policy else "false")


def train(experiment: str, seed: int | None, steps: int | None, name: str | None, job_id: str | None) -> Call:
    """A training job."""
    body = {"experiment": experiment, "seed": seed, "steps": steps, "name": name, "id": job_id}
    return post("/v1/training-jobs", {key: value for key, value in body.items() if value is not None})


def job(job_id: str, method: str = "GET") -> Call:
    """How a training is, or that it shall stop."""
    return Call(method, of_job(job_id))


def jobs(cursor: str | None) -> Call:
    """Some training jobs."""
    return get("/v1/training-jobs", limit=100, cursor=cursor)


def job_log(job_id: str) -> Call:
    """The end of what a training printed."""
    return get(f"{of_job(job_id)}/logs")


def models() -> Call:
    """Every model card."""
    return get("/v1/models")


def model(name: str, version: int | None) -> Call:
    """One model card."""
    return get(f"/v1/models/{_quoted(name)}" + ("" if version is None else f"/{version}"))


def model_versions(name: str) -> Call:
    """Every version of a model."""
    return get(f"/v1/models/{_quoted(name)}/versions")


def register(name: str | None) -> Call:
    """Register a bundle of the server's models folder, or what is new there."""
    return post("/v1/models", {} if name is None else {"name": name})


def aliases(name: str, cursor: str | None) -> Call:
    """What the aliases of a model mean, and some of their history."""
    return get(f"/v1/models/{_quoted(name)}/aliases", limit=100, cursor=cursor)


def set_alias(name: str, alias: str, version: int) -> Call:
    """Let an alias mean a version."""
    return Call("PUT", _alias(name, alias), {"version": int(version)})


def delete_alias(name: str, alias: str) -> Call:
    """Let an alias mean nothing."""
    return Call("DELETE", _alias(name, alias))


def rollback(name: str, alias: str) -> Call:
    """Let an alias mean what it meant before."""
    return post(f"{_alias(name, alias)}/rollback")


def of_adaptation(adaptation_id: str) -> str:
    """The address of an adaptation."""
    return f"/v1/adaptations/{_quoted(adaptation_id)}"


def of_job(job_id: str) -> str:
    """The address of a training job."""
    return f"/v1/training-jobs/{_quoted(job_id)}"


def wired(episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """Episodes as they travel."""
    names = ("observations", "actions", "rewards", "success")
    return [{name: getattr(episode, name) for name in names} for episode in episodes]


def _with_rate(body: dict[str, Any], rate_hz: float | None) -> dict[str, Any]:
    return body if rate_hz is None else body | {"rate_hz": float(rate_hz)}


def _alias(name: str, alias: str) -> str:
    return f"/v1/models/{_quoted(name)}/aliases/{_quoted(alias)}"


def _quoted(part: str) -> str:
    """Whatever a user hands in stays one part of a path."""
    return quote(part, safe="")


def _number(value: Any) -> float | None:
    """Environments return rewards as Python, numpy or 0-d array numbers."""
    return None if value is None else float(value)
