"""Export of an adaptation as an archive that can be used without a server.

    manifest.json          ids, hypotheses, inputs and outputs of the policy, SHA-256 of the other files
    episodes.safetensors   the episodes, as the body of a POST that would create the same adaptation again
    policy.onnx            the self-contained policy
    remember.onnx          what a step adds to its input `effects`, if the model adapts within an episode

Exports of the same version are identical byte for byte. Does not know HTTP.
"""

import hashlib
import json
import zipfile
from io import BytesIO
from typing import Any

from metalearn.data.context import Context
from metalearn.data.errors import InvalidConfig
from metalearn.data.formats import encode_safetensors
from service.adaptations.records import Adaptation
from service.errors import ModelUnavailable, PolicyNotExportable
from service.inference.onnx_policy import (
    exportable,
    remembering,
    remembering_signature,
    signature,
    standalone,
)
from service.registry.registry import Model

SCHEMA = 1
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in a zip: the archive must not depend on when it was made


def archive(adaptation: Adaptation, model: Model, context: Context, *, policy: bool = True) -> bytes:
    """Make the archive of one version.

    Args:
        adaptation: the version.
        model: the model of the adaptation.
        context: the episodes of the version.
        policy: True to include the policy; the episodes alone can be exported from any model.

    Raises:
        PolicyNotExportable: the model's bundle has no graphs.
        ModelUnavailable: the graphs do not fit the weights.
    """
    if policy and not exportable(model.bundle):
        raise PolicyNotExportable(model.name, model.version)
    members = {"episodes.safetensors": encode_safetensors(_body(adaptation, context))}
    about: dict[str, Any] = {}
    if policy:
        # Inferred alone and not taken from memory: in a batch the last digits, and so the bytes, may differ.
        (belief,) = model.runtime.infer_belief([context])
        try:
            members["policy.onnx"] = standalone(model.bundle, belief)
            if (steps := remembering(model.bundle)) is not None:
                members["remember.onnx"] = steps
        except InvalidConfig as error:
            raise ModelUnavailable(str(error)) from error
        about = {
            "hypotheses": [{"hypothesis": i, "probability": float(p)} for i, p in enumerate(belief.probabilities)],
            "map_hypothesis": belief.map_hypothesis,
            "searches": belief.searches,
            "policy": signature(model.bundle),
        }
        if "remember.onnx" in members:
            about["remember"] = remembering_signature(model.bundle)
    manifest = {
        "schema": SCHEMA,
        "adaptation": adaptation.id,
        "version": adaptation.version,
        "model": model.name,
        "model_version": model.version,
        "bundle": model.bundle.id,
        "n_demos": len(context.demos),
        "n_trials": len(context.trials),
        "ask": context.ask.to_json(),
        "spec": model.spec.to_json(),
        **about,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    return _zip({"manifest.json": (json.dumps(manifest, indent=1) + "\n").encode(), **members})


def _body(adaptation: Adaptation, context: Context) -> dict[str, Any]:
    """Return the body of a POST that creates the same adaptation."""
    return {
        "model": f"{adaptation.model}@{adaptation.model_version}",
        "demos": [episode.to_dict() for episode in context.demos],
        "trials": [episode.to_dict() for episode in context.trials],
        "ask": context.ask.to_json(),
    }


def _zip(members: dict[str, bytes]) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            file.writestr(entry, content)
    return target.getvalue()
