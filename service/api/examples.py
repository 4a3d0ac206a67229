"""Examples of request bodies for one model: a client that sends them as they are, in a sensible order, succeeds.

Made of the demonstration that the bundle of the model brings along.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from service.api.presenters import example_of
from service.codecs import JSON
from service.registry.registry import ModelInfo
from service.settings import SHIPPED_MODELS

Examples = Mapping[str, Any]
"""Example bodies by the names of their schemas."""
_SHIPPED, _EXPERIMENT = "reach", "reach-m2"


def simplest(models: Iterable[ModelInfo]) -> ModelInfo | None:
    """Return the model whose demonstration is the shortest to read; one with a real demonstration if there is any."""
    return min(models, key=lambda m: (m.bundle.example is None, m.bundle.spec.observation_size, m.name), default=None)


def examples(model: ModelInfo) -> Examples:
    """Return examples for a served model."""
    bundle = model.bundle
    ask = {offer.kind: offer.examples[-1] for offer in bundle.asks if offer.examples}
    return _bodies(model.name, model.version, example_of(bundle).to_json(), bundle.spec.to_json(), ask)


def shipped_examples() -> Examples:
    """Return examples for a shipped model, for a document that belongs to no server; none where nothing is shipped."""
    try:
        demo = json.loads((SHIPPED_MODELS / _SHIPPED / "example.json").read_text())
        spec = json.loads((SHIPPED_MODELS / _SHIPPED / "bundle.json").read_text())["spec"]
    except FileNotFoundError:
        return {}
    return _bodies(_SHIPPED, 1, demo, spec, {})


def fill(document: dict[str, Any], bodies: Examples) -> dict[str, Any]:
    """Return the OpenAPI document with an example for every JSON body whose schema has one."""
    filled: dict[str, Any] = json.loads(json.dumps(document))
    for operation in (one for item in filled["paths"].values() for one in item.values()):
        content = operation.get("requestBody", {}).get("content", {}).get(JSON)
        if content is not None and (schema := content["schema"]["$ref"].rpartition("/")[2]) in bodies:
            content["example"] = bodies[schema]
    return filled


def _bodies(
    model: str, version: int, demo: Mapping[str, Any], spec: Mapping[str, Any], ask: Mapping[str, Any]
) -> Examples:
    tasks = [{"task": name, "demos": [demo], "experts": [demo]} for name in ("first", "second")]
    more = [{"task": "third", "demos": [demo], "experts": [demo]}]
    seen, rewards = demo["observations"], demo["rewards"] or [0.0]
    return {
        "AdaptationRequest": {"model": model, "demos": [demo]},
        "AskRequest": {"ask": dict(ask) or None},
        "DemosRequest": {"demos": [demo]},
        "TrialsRequest": {"trials": [{**demo, "success": False}]},
        "ForkRequest": {"version": 1},
        "ActRequest": {"observations": _picked(seen, slice(2))},
        "EpisodeRequest": {"explore": True},
        "StepRequest": {"observation": _picked(seen, 0), "reward": None},
        "RecognitionRequest": {
            "episodes": [demo],
            "candidates": [{"name": "shown", "model": model, "episodes": [demo]}, {"random": True}],
        },
        "FinishRequest": {"observation": _picked(seen, -1), "reward": rewards[-1], "success": True},
        "RegisterRequest": {"name": None},
        "AliasRequest": {"version": version},
        "DatasetRequest": {"spec": spec, "tasks": tasks},
        "TasksRequest": {"tasks": more},
        "TrainingJobRequest": {"experiment": _EXPERIMENT, "seed": 1, "steps": 100, "name": "my-reach"},
    }


def _picked(seen: Any, at: int | slice) -> Any:
    """Some of the observations of an episode in JSON, or one; of each part, if there are parts."""
    return {name: part[at] for name, part in seen.items()} if isinstance(seen, dict) else seen[at]
