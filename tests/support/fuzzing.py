"""Schemathesis over everything that the OpenAPI document describes: single requests, and sequences of them.

Every answer has to be one that the document allows, in status, media type, headers and schema; none may be a 5xx
but a busy 503; every refusal has to be a problem.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import msgpack
import schemathesis
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from schemathesis.python.asgi import get_client, shutdown_lifespans
from support.pointing import PointingRuntime, settings_in

from service.app import create_app
from service.codecs import decode_msgpack

PROBLEM = "application/problem+json"
OBSERVATIONS = [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
PHASES = ("examples", "coverage", "fuzzing", "stateful")


@dataclass
class Findings:
    """Cases and statuses per phase, and what was wrong."""

    cases: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    operations: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            phase: {"cases": self.cases[phase], "statuses": dict(sorted(self.statuses[phase].items()))}
            for phase in sorted(self.cases)
        }


@schemathesis.serializer("application/msgpack")
def _packed(_: Any, value: Any) -> bytes:
    return bytes(msgpack.packb(value, default=str))


@schemathesis.deserializer("application/msgpack")
def _unpacked(_: Any, response: Any) -> Any:
    value = decode_msgpack(response.content, 1_000_000)
    return json.loads(json.dumps(value, default=lambda array: array.tolist()))


@schemathesis.check
def refusals_are_problems(_: Any, response: Any, __: Any) -> None:
    if response.status_code >= 400:
        media_type = response.headers.get("content-type", [""])[0]
        if media_type != PROBLEM:
            raise AssertionError(f"{response.status_code} in {media_type!r}")
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["type"].startswith(("urn:problem-type:wtl:", "about:blank"))
        assert "Traceback" not in response.text


@schemathesis.check
def nobody_sees_a_traceback_or_a_path(_: Any, response: Any, __: Any) -> None:
    assert b"Traceback (most" not in response.content
    assert b"site-packages" not in response.content


def served(folder: Path) -> FastAPI:
    """A server whose trainings fail at once, so that streams of events end."""
    settings = settings_in(folder).model_copy(
        update={"train_command": "/bin/false", "training_poll_s": 0.02, "training_queue": 100_000}
    )
    return create_app(settings, runtime_factory=PointingRuntime)


def fuzz(
    app: FastAPI,
    *,
    examples: int,
    seed: int,
    phases: tuple[str, ...] = PHASES,
    most_s: int | None = None,
    into: Findings | None = None,
    noted: Callable[[], None] = lambda: None,
) -> Findings:
    """Ask `app` everything that can be asked of it, `examples` times each where there is a choice.

    What is found is added to `into` as it is found, and `noted` is told each time.
    """
    config = SchemathesisConfig.from_dict(_config(examples, seed, phases, most_s))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    findings = Findings() if into is None else into
    try:
        _help(schema, _known(app))
        for event in from_schema(schema).execute():
            if isinstance(event, ScenarioFinished):
                _note(findings, event)
                noted()
            elif isinstance(event, NonFatalError):
                findings.failures.append(f"error of the fuzzer: {event.label}: {event.value!r}")
            elif isinstance(event, FatalError):
                raise event.exception
    finally:
        shutdown_lifespans()
    return findings


def _known(app: FastAPI) -> Mapping[str, Any]:
    """Things to ask for that exist, made once the server runs."""
    with get_client(app) as client:
        body = {"model": "point", "demos": [{"observations": OBSERVATIONS}]}
        adaptation = client.post("/v1/adaptations", json=body).json()["id"]
        episode = client.post(f"/v1/adaptations/{adaptation}/episodes").json()["id"]
        client.post("/v1/training-jobs", json={"experiment": "none", "id": "known"})
    return {
        "adaptation_id": adaptation, "episode_id": episode, "job_id": "known", "name": "point", "model": "point",
        "version": 1, "observations": OBSERVATIONS, "observation": OBSERVATIONS[0], "actions": None, "rewards": None,
        "reward": None, "ask": None, "rate_hz": None,
    }  # fmt: skip


def _help(schema: Any, known: Mapping[str, Any]) -> None:
    """Every other case names what exists: no document can say which ids do, or how long an observation is."""

    @schema.hook
    def map_path_parameters(context: Any, parameters: Any) -> Any:
        if context.operation.method.upper() == "DELETE" and parameters.get("alias") == "current":
            return parameters | {"alias": "stable"}  # a model that is off offer is gone, and no document says so
        if context.operation.method.upper() == "DELETE" or not _chosen(parameters):
            return parameters
        return {name: known.get(name, value) for name, value in parameters.items()}

    @schema.hook
    def map_body(_: Any, body: Any) -> Any:
        return _sensible(body, known) if _chosen(body) else body


def _chosen(value: Any) -> bool:
    return isinstance(value, dict) and crc32(repr(value).encode()) % 2 == 0


def _sensible(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: known[name] if name in known else _sensible(item, known) for name, item in value.items()}
    return [_sensible(item, known) for item in value] if isinstance(value, list) else value


def _config(examples: int, seed: int, phases: tuple[str, ...], most_s: int | None) -> Mapping[str, Any]:
    unmet = {"enabled": False}  # what the spec of a model asks for stands in no OpenAPI document
    return {
        "seed": seed,
        # Given a time, it goes on until that is over, however few examples were asked for.
        **({} if most_s is None else {"max-time": most_s}),
        "generation": {"max-examples": examples, "deterministic": True, "database": "none", "no-shrink": True},
        "phases": {phase: {"enabled": phase in phases} for phase in PHASES},
        "checks": {"positive_data_acceptance": unmet, "negative_data_rejection": unmet},
    }


def _note(findings: Findings, event: ScenarioFinished) -> None:
    phase = event.phase.value
    statuses = findings.statuses.setdefault(phase, Counter())
    if event.label:
        findings.operations.add(event.label)
    for interaction in event.recorder.interactions.values():
        findings.cases[phase] += 1
        statuses[interaction.response.status_code if interaction.response is not None else 0] += 1
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                if check.name == "use_after_free" and "training-jobs" in str(event.recorder.cases[case_id].value.path):
                    continue  # DELETE stops a job; what it was stays to be read
                case = event.recorder.cases[case_id].value
                failure = check.failure_info.failure
                where = f"{case.method} {case.formatted_path} {_short(case.body)}"
                findings.failures.append(f"{check.name}: {where}: {failure.title}: {_short(failure.message)}")


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) < 300 else text[:300] + "..."
