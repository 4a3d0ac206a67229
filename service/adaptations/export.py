"""An adaptation as an archive that needs no server: what it has seen, and what it does.

    manifest.json          what it is, which hypotheses it holds, what the policy takes and gives, SHA-256 of the others
    episodes.safetensors   its episodes, as the body of a POST that would make the same adaptation again
    policy.onnx            the policy, self-contained

The same version makes the same bytes. Does not know HTTP.
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
from service.inference.onnx_policy import exportable, signature, standalone
from service.registry.registry import Model

SCHEMA = 1
_EPOCH = (1980, 1, 1, 0, 0, 0)  # where the time of a zip begins: when it was asked for is not in it


def archive(adaptation: Adaptation, model: Model, context: Context, *, policy: bool = True) -> bytes:
    """The archive of one version.

    Args:
        adaptation: the version.
        model: that it was made with.
        context: what it has seen.
        policy: or else the episodes alone, which any model can hand out.

    Raises:
        PolicyNotExportable: the model's bundle has no graphs.
        ModelUnavailable: it has some that do not fit its weights.
        InvalidConfig: the weights do not fit.
    """
    if policy and not exportable(model.bundle):
        raise PolicyNotExportable(model.name, model.version)
    members = {"episodes.safetensors": encode_safetensors(_body(adaptation, context))}
    about: dict[str, Any] = {}
    if policy:
        # By itself and not from memory: in company the last digits may be others, and with them the bytes.
        (belief,) = model.runtime.infer_belief([context])
        try:
            members["policy.onnx"] = standalone(model.bundle, belief)
        except InvalidConfig as error:
            raise ModelUnavailable(str(error)) from error
        about = {
            "hypotheses": [{"hypothesis": i, "probability": float(p)} for i, p in enumerate(belief.probabilities)],
            "map_hypothesis": belief.map_hypothesis,
            "policy": signature(model.bundle),
        }
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
    """What would have to be uploaded to have it again."""
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
