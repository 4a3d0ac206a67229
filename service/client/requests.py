"""The requests of the API as values: method, path and body. Knows no connection.

The arguments are a user's. Whatever is not what it should be is an InvalidData here, with field, expected and got.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.parts import named, split
from metalearn.data.values import describe, flag, number, numbers
from service.client.responses import AdaptationState

if TYPE_CHECKING:
    import metalearn.data.dataset

RANDOM = "random"
"""The candidate that acts uniformly at random."""
PART_BYTES = 16 * 1024**2
"""What one request with episodes holds at most, unless one episode is larger: half of what servers usually take."""


@dataclass(frozen=True)
class Part:
    """Episodes that travel in one request; the first of them is number `start` of those with its role."""

    role: str
    start: int
    episodes: list[Episode]


@dataclass(frozen=True)
class ApiRequest:
    """One request. A POST has an idempotency key, so that it can be repeated safely."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None


PageRequest = Callable[[str | None], ApiRequest]
"""From a cursor to the request for the page that begins there."""


def get(path: str, **params: Any) -> ApiRequest:
    """Make a GET request; parameters that are None are left out."""
    return ApiRequest("GET", path, params={name: value for name, value in params.items() if value is not None})


def post(path: str, body: Mapping[str, Any] | None = None) -> ApiRequest:
    """Make a POST request with a new idempotency key."""
    return ApiRequest("POST", path, body, key=secrets.token_hex(16))


def any_request(method: str, path: str, body: Mapping[str, Any] | None, params: Mapping[str, Any]) -> ApiRequest:
    """Make a request for which there is no function here."""
    key = secrets.token_hex(16) if method == "POST" else None
    return ApiRequest(method, path, body, params, key)


def parts(demos: object, trials: object = ()) -> list[Part]:
    """The episodes in requests of at most `PART_BYTES`. Raises InvalidData for what are no episodes."""
    found: list[Part] = []
    for role, given in (("demos", demos), ("trials", trials)):
        n_bytes = PART_BYTES
        for i, episode in enumerate(_episodes(role, given)):
            size = sum(array.nbytes for array in episode.arrays().values())
            if n_bytes + size > PART_BYTES:
                found.append(Part(role, i, []))
                n_bytes = 0
            n_bytes += size
            found[-1].episodes.append(episode)
    return found


def more_parts(role: str, episodes: object) -> list[Part]:
    """At least one episode to add, in requests of at most `PART_BYTES`. Raises InvalidData."""
    found = parts(episodes) if role == "demos" else parts((), episodes)
    if not found:
        raise InvalidData(role, "at least one Episode", "none")
    return found


def first_request(found: list[Part]) -> tuple[list[Episode], list[Episode], list[Part]]:
    """Demos and trials to create an adaptation with, and the parts to add to it: all at once where they fit."""
    sizes = [array.nbytes for part in found for episode in part.episodes for array in episode.arrays().values()]
    now = found if sum(sizes) <= PART_BYTES else found[:1]
    demos, trials = (
        [one for part in now if part.role == role for one in part.episodes] for role in ("demos", "trials")
    )
    return demos, trials, found[len(now) :]


def create_adaptation(
    model: str, demos: Iterable[Episode], trials: Iterable[Episode], ask: Any, rate_hz: float | None = None
) -> ApiRequest:
    """Create an adaptation of a model."""
    episodes = {"demos": _to_dicts(demos), "trials": _to_dicts(trials)}
    body = {"model": _text("model", model), **episodes, "ask": _asked(ask)}
    return post("/v1/adaptations", _with_rate(body, rate_hz))


def get_adaptation(adaptation_id: str, version: int | None) -> ApiRequest:
    """Read an adaptation, in its newest version or another one."""
    return get(adaptation_path(adaptation_id), version=_whole("version", version))


def list_adaptations(cursor: str | None) -> ApiRequest:
    """Read a page of adaptations."""
    return get("/v1/adaptations", limit=100, cursor=cursor)


def delete_adaptation(adaptation_id: str) -> ApiRequest:
    """Delete an adaptation and its episodes."""
    return ApiRequest("DELETE", adaptation_path(adaptation_id))


def add_episodes(
    adaptation_id: str, role: str, episodes: Iterable[Episode], rate_hz: float | None = None
) -> ApiRequest:
    """Add episodes to an adaptation; `role` is "demos" or "trials"."""
    return post(f"{adaptation_path(adaptation_id)}/{role}", _with_rate({role: _to_dicts(episodes)}, rate_hz))


def act(adaptation_id: str, observations: Any, sample: bool = False) -> ApiRequest:
    """Get actions for observations `[n, *o]`, without recording."""
    body = {"observations": _seen("observations", observations)}
    drawn = {"sample": True} if flag("sample", sample) else {}  # a plain body takes the server's fast path
    return post(f"{adaptation_path(adaptation_id)}/act", body | drawn)


def recognise(episodes: object, candidates: object) -> ApiRequest:
    """Ask who acted in episodes. Raises InvalidData for what are no episodes or no candidates."""
    shown = [episodes] if isinstance(episodes, Episode) else episodes
    named_ones: Iterable[tuple[object, object]]
    if isinstance(candidates, Mapping):
        named_ones = candidates.items()
    elif isinstance(candidates, Iterable) and not isinstance(candidates, str | bytes):
        named_ones = [(None, one) for one in candidates]
    else:
        raise InvalidData("candidates", "a list, or a mapping from names", describe(candidates))
    bodies = [_candidate(f"candidates[{i}]", name, one) for i, (name, one) in enumerate(named_ones)]
    return post("/v1/recognitions", {"episodes": _to_dicts(_episodes("episodes", shown)), "candidates": bodies})


def _candidate(field: str, name: object, one: object) -> dict[str, Any]:
    """One candidate as the body of a request has it. Raises InvalidData."""
    body: dict[str, Any] = {} if name is None else {"name": _text(f"{field}.name", name)}
    if isinstance(one, AdaptationState):
        return body | {"adaptation": one.id, "version": one.version}
    if isinstance(one, str):
        return body | ({"random": True} if one == RANDOM else {"model": one})
    if isinstance(one, tuple) and len(one) == 2:
        model, episodes = one
        shown = _to_dicts(_episodes(f"{field}.episodes", episodes))
        return body | {"model": _text(f"{field}.model", model), "episodes": shown}
    if isinstance(one, Mapping):
        return body | dict(one)
    raise InvalidData(
        field, 'an adaptation, the name of a model, (model, episodes), {"expert": model} or "random"', describe(one)
    )


def start_episode(adaptation_id: str, explore: bool | None) -> ApiRequest:
    """Start a recorded episode."""
    return post(f"{adaptation_path(adaptation_id)}/episodes", {"explore": flag("explore", explore)})


def act_in_episode(adaptation_id: str, episode_id: str, observation: Any, reward: Any) -> ApiRequest:
    """Get the next action of a recorded episode; `reward` is that of the previous action."""
    body = {"observation": _seen("observation", observation), "reward": number("reward", reward)}
    return post(f"{adaptation_path(adaptation_id)}/episodes/{_quoted(episode_id)}/act", body)


def finish_episode(adaptation_id: str, episode_id: str, observation: Any, reward: Any, success: Any) -> ApiRequest:
    """End a recorded episode."""
    body = {
        "observation": _seen("observation", observation),
        "reward": number("reward", reward),
        "success": flag("success", success),
    }
    return post(f"{adaptation_path(adaptation_id)}/episodes/{_quoted(episode_id)}/finish", body)


def ask_for(adaptation_id: str, ask: Any) -> ApiRequest:
    """Ask for something else from the next version on."""
    return post(f"{adaptation_path(adaptation_id)}/ask", {"ask": _asked(ask)})


def fork_adaptation(adaptation_id: str, version: int | None, ask: Any = None) -> ApiRequest:
    """Create an adaptation that starts from a version of another one, and asks for the same unless `ask` is given."""
    body = {"version": _whole("version", version)}
    return post(f"{adaptation_path(adaptation_id)}/fork", body if ask is None else body | {"ask": _asked(ask)})


def list_versions(adaptation_id: str, cursor: str | None) -> ApiRequest:
    """Read a page of the versions of an adaptation."""
    return get(f"{adaptation_path(adaptation_id)}/versions", limit=100, cursor=cursor)


def list_stored_episodes(adaptation_id: str, version: int, steps: object, pictures: object) -> PageRequest:
    """Read pages of the episodes of a version, to look at: with some of their steps and pictures."""
    path, at = f"{adaptation_path(adaptation_id)}/episodes", _whole("version", version)
    wanted = {"steps": _whole("steps", steps), "pictures": _whole("pictures", pictures)}
    return lambda cursor: get(path, version=at, limit=100, cursor=cursor, **wanted)


def get_family(adaptation_id: str) -> ApiRequest:
    """Read the adaptations that come from one, by forks."""
    return get(f"{adaptation_path(adaptation_id)}/family")


def get_caller() -> ApiRequest:
    """Read whom the key belongs to."""
    return get("/v1/caller")


def list_keys() -> ApiRequest:
    """Read the keys of the tenant."""
    return get("/v1/keys")


def list_audit_entries(cursor: str | None) -> ApiRequest:
    """Read a page of the audit log."""
    return get("/v1/audit", limit=100, cursor=cursor)


def export_adaptation(adaptation_id: str, version: int, policy: bool) -> ApiRequest:
    """Export one version as a zip archive, with or without its policy."""
    return get(
        f"{adaptation_path(adaptation_id)}/export",
        version=_whole("version", version),
        policy=None if policy else "false",
    )


def list_experiments(cursor: str | None) -> ApiRequest:
    """Read a page of the experiments that can be trained."""
    return get("/v1/experiments", limit=100, cursor=cursor)


def put_dataset(name: str, dataset: "metalearn.data.dataset.Dataset") -> Iterator[ApiRequest]:
    """Upload a data set: its first tasks, and further ones in requests of at most PART_BYTES, or of one task each."""
    path = f"/v1/datasets/{_quoted(name)}"
    parts: list[list[dict[str, Any]]] = [[]]
    size = 0
    for record in dataset.tasks:
        roles = {role: getattr(record, role) for role in ("demos", "experts", "trials")}
        n_bytes = sum(a.nbytes for episodes in roles.values() for e in episodes for a in e.arrays().values())
        if parts[-1] and size + n_bytes > PART_BYTES:
            parts.append([])
            size = 0
        size += n_bytes
        episodes = {role: [episode.to_dict() for episode in found] for role, found in roles.items()}
        parts[-1].append({"task": record.task, **episodes, "labels": list(record.labels)})
    yield ApiRequest("PUT", path, {"spec": dataset.spec.to_json(), "tasks": parts[0]})
    for i, tasks in enumerate(parts[1:], 1):
        yield ApiRequest("PUT", f"{path}/parts/{i}", {"tasks": tasks})


def delete_dataset(name: str) -> ApiRequest:
    """Delete an uploaded data set."""
    return ApiRequest("DELETE", f"/v1/datasets/{_quoted(name)}")


def list_datasets(cursor: str | None) -> ApiRequest:
    """Read a page of uploaded data sets."""
    return get("/v1/datasets", limit=100, cursor=cursor)


def create_job(
    experiment: str | None,
    seed: int | None,
    steps: int | None,
    name: str | None,
    job_id: str | None,
    dataset: str | None = None,
    family: str | None = None,
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> ApiRequest:
    """Start a training job."""
    body = {"experiment": experiment, "seed": seed, "steps": steps, "name": name, "id": job_id,
            "dataset": dataset, "family": family, "minutes": minutes,
            "settings": dict(settings) if settings else None}  # fmt: skip
    return post("/v1/training-jobs", {key: value for key, value in body.items() if value is not None})


def get_job(job_id: str) -> ApiRequest:
    """Read a training job."""
    return get(job_path(job_id))


def stop_job(job_id: str) -> ApiRequest:
    """Stop a training job."""
    return ApiRequest("DELETE", job_path(job_id))


def list_jobs(cursor: str | None) -> ApiRequest:
    """Read a page of training jobs."""
    return get("/v1/training-jobs", limit=100, cursor=cursor)


def get_job_log(job_id: str) -> ApiRequest:
    """Read the end of the log of a training job."""
    return get(f"{job_path(job_id)}/logs")


def list_models() -> ApiRequest:
    """Read the cards of all models."""
    return get("/v1/models")


def get_model(name: str, version: int | None) -> ApiRequest:
    """Read the card of one model."""
    number_of = _whole("version", version)
    return get(f"/v1/models/{_quoted(name)}" + ("" if number_of is None else f"/{number_of}"))


def list_model_versions(name: str) -> ApiRequest:
    """Read every version of a model."""
    return get(f"/v1/models/{_quoted(name)}/versions")


def register_models(name: str | None) -> ApiRequest:
    """Register one bundle of the server's models folder, or all new ones."""
    return post("/v1/models", {} if name is None else {"name": name})


def get_aliases(name: str, cursor: str | None) -> ApiRequest:
    """Read the targets of a model's aliases, and a page of their history."""
    return get(f"/v1/models/{_quoted(name)}/aliases", limit=100, cursor=cursor)


def set_alias(name: str, alias: str, version: int) -> ApiRequest:
    """Point an alias at a version."""
    return ApiRequest("PUT", _alias(name, alias), {"version": _whole("version", version)})


def delete_alias(name: str, alias: str) -> ApiRequest:
    """Delete an alias."""
    return ApiRequest("DELETE", _alias(name, alias))


def rollback(name: str, alias: str) -> ApiRequest:
    """Point an alias at the version that it pointed at before."""
    return post(f"{_alias(name, alias)}/rollback")


def adaptation_path(adaptation_id: str) -> str:
    """Return the path of an adaptation."""
    return f"/v1/adaptations/{_quoted(adaptation_id)}"


def job_path(job_id: str) -> str:
    """Return the path of a training job."""
    return f"/v1/training-jobs/{_quoted(job_id)}"


def _to_dicts(episodes: Iterable[Episode]) -> list[dict[str, Any]]:
    return [episode.to_dict() for episode in episodes]


def _episodes(field: str, given: object) -> list[Episode]:
    """The episodes in any iterable of them. Raises InvalidData."""
    if isinstance(given, Episode | Mapping | str | bytes) or not isinstance(given, Iterable):
        raise InvalidData(field, "a list of Episode", describe(given))
    found = list(given)
    for i, one in enumerate(found):
        if not isinstance(one, Episode):
            raise InvalidData(f"{field}[{i}]", "an Episode (Episode.of(observations, ...) makes one)", describe(one))
    return found


def _seen(field: str, observations: object) -> Any:
    """Observations as arrays: those of each part by name, if there are parts. Raises InvalidData."""
    if isinstance(observations, np.ndarray | np.void) and observations.dtype.names:
        return split(np.asarray(observations))
    if isinstance(observations, Mapping):
        return {name: _seen(f"{field}.{name}", part) for name, part in named(observations).items()}
    if isinstance(observations, bytes) or (isinstance(observations, str) and observations.startswith("data:")):
        return observations
    if isinstance(observations, list) and observations and isinstance(observations[0], bytes | str):
        return observations
    return numbers(field, observations, keep_uint8=True)


def _with_rate(body: dict[str, Any], rate_hz: object) -> dict[str, Any]:
    rate = number("rate_hz", rate_hz)
    return body if rate is None else body | {"rate_hz": rate}


def _alias(name: str, alias: str) -> str:
    return f"/v1/models/{_quoted(name)}/aliases/{_quoted(alias, 'alias')}"


def _asked(ask: object) -> dict[str, Any] | None:
    """An ask as JSON has it: numbers and lists for numpy's. What a model can be asked for, its server knows."""
    if ask is None:
        return None
    if not isinstance(ask, Mapping):
        raise InvalidData("ask", 'a mapping by kind, as {"return": 120.0}, or None', describe(ask))
    return {
        _text("ask", kind): value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for kind, value in ask.items()
    }


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidData(field, "text", describe(value))
    return value


def _quoted(part: object, field: str = "id or name") -> str:
    """Quote a user's value, so that it stays one part of the path. Raises InvalidData."""
    return quote(_text(field, part), safe="")


def _whole(field: str, value: object) -> int | None:
    """A whole number, or None where there is none. Raises InvalidData."""
    found = number(field, value)
    if found is not None and (isinstance(value, bool) or found != int(found)):
        raise InvalidData(field, "a whole number", describe(value))
    return None if found is None else int(found)
