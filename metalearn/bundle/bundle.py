"""The one artefact between training and serving: weights, configuration, spec, provenance, report.

A folder of JSON and safetensors, no pickle. Knows files and digests; does not know torch or models.

    bundle.json            schema, name, spec, model configuration, provenance, digest of every weights file
    weights.safetensors    the policy, normaliser included
    baselines/*.safetensors   weights of baselines trained on the same data (bc, mil)
    confidence.safetensors    what confidence is computed with, if it was calibrated (`metalearn.confidence`)
    recognition.safetensors   what agents are recognised with, if that was calibrated (`metalearn.recognition`)
    belief.onnx, conditioning.onnx, act.onnx, heads.onnx    the policy as graphs, with weights.safetensors, if exported
    example.json           a demonstration as the policy was trained on them, if there is one
    report.json            evaluation report, if it was evaluated
    README.md              the model card, made of the files above; it is not read
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from metalearn.bundle.model_card import model_card
from metalearn.data.asks import AskOffer
from metalearn.data.dataset import DAMAGE
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidConfig, InvalidData
from metalearn.data.names import check_file_names
from metalearn.data.reading import read_json, refuse_pointer
from metalearn.data.spec import Spec

SCHEMA = 2
_OBJECTS = ("spec", "model", "provenance", "sha256")
Weights = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
Graphs = Mapping[str, bytes]


@dataclass(frozen=True)
class Bundle:
    """A trained policy and where it came from.

    Attributes:
        name: of the model, for example "reach".
        spec: of the tasks it acts in.
        model: the model's configuration (`ModelConfig` as JSON).
        weights: parameters and buffers by name.
        baselines: weights of baselines by method name; how each was made is in `provenance["baselines"]`.
        confidence: weights of its calibrated confidence, or None; how it was made is in `provenance["confidence"]`.
        recognition: what agents are recognised with, or None; how it was made is in `provenance["recognition"]`.
        graphs: `belief`, `conditioning`, `act` and `heads` as ONNX without weights (`metalearn.model.export`); or none.
        provenance: experiment, seeds, versions, wall time: whatever made it.
        report: its evaluation report, or None.
        example: a demonstration as the policy was trained on them, or None.
    """

    name: str
    spec: Spec
    model: dict[str, Any]
    weights: Weights
    baselines: Mapping[str, Weights] = field(default_factory=dict)
    confidence: Weights | None = None
    recognition: Weights | None = None
    graphs: Graphs = field(default_factory=dict, repr=False)
    provenance: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] | None = None
    example: Episode | None = None

    @property
    def id(self) -> str:
        """Content address: SHA-256 over spec, model configuration and weights (nothing else)."""
        head = {"spec": self.spec.to_json(), "model": self.model}
        hasher = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        hasher.update(self.encoded_weights)
        return hasher.hexdigest()

    @property
    def asks(self) -> tuple[AskOffer, ...]:
        """What the policy was trained for beyond the task itself."""
        return tuple(AskOffer.of(offer) for offer in self.model.get("ask_offers", ()))

    @property
    def _head(self) -> dict[str, Any]:
        """What `bundle.json` says, without the digests of the files."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "id": self.id,
            "spec": self.spec.to_json(),
            "model": self.model,
            "provenance": self.provenance,
        }

    @property
    def encoded_weights(self) -> bytes:
        """The content of `weights.safetensors`."""
        return _encode(self.weights)

    def with_report(self, report: dict[str, Any]) -> "Bundle":
        """The same bundle, evaluated."""
        return replace(self, report=report)

    def with_baseline(self, method: str, weights: Weights, made: dict[str, Any]) -> "Bundle":
        """The same bundle with one baseline more; `made` says how it was made, as JSON."""
        baselines = {**self.provenance.get("baselines", {}), method: made}
        provenance = {**self.provenance, "baselines": baselines}
        return replace(self, baselines={**self.baselines, method: weights}, provenance=provenance)

    def with_confidence(self, weights: Weights, made: dict[str, Any]) -> "Bundle":
        """The same bundle, calibrated; `made` says how, as JSON."""
        return replace(self, confidence=weights, provenance={**self.provenance, "confidence": made})

    def with_recognition(self, weights: Weights, made: dict[str, Any]) -> "Bundle":
        """The same bundle, with what agents are recognised with; `made` says how that was made, as JSON."""
        return replace(self, recognition=weights, provenance={**self.provenance, "recognition": made})

    def with_graphs(self, graphs: Graphs) -> "Bundle":
        """The same bundle, that also runs without torch."""
        return replace(self, graphs=graphs)

    def with_example(self, demo: Episode | None) -> "Bundle":
        """The same bundle, with a demonstration to show. Raises InvalidData if it does not fit the spec."""
        return replace(self, example=None if demo is None else self.spec.check(demo))

    def save(self, folder: Path) -> Path:
        """Write it to `folder` (made if absent); returns the folder. Raises InvalidConfig for names of no files."""
        check_file_names(f"baselines of {self.name}", self.baselines)
        check_file_names(f"graphs of {self.name}", self.graphs)
        (folder / "baselines").mkdir(parents=True, exist_ok=True)
        digests = {"weights": _write(folder / "weights.safetensors", self.weights)}
        for method, weights in self.baselines.items():
            digests[f"baselines/{method}"] = _write(folder / "baselines" / f"{method}.safetensors", weights)
        if self.confidence is not None:
            digests["confidence"] = _write(folder / "confidence.safetensors", self.confidence)
        if self.recognition is not None:
            digests["recognition"] = _write(folder / "recognition.safetensors", self.recognition)
        if not self.baselines:
            (folder / "baselines").rmdir()
        head = self._head | {
            "sha256": digests,
            "onnx": {name: hashlib.sha256(graph).hexdigest() for name, graph in self.graphs.items()},
        }
        for name, graph in self.graphs.items():
            (folder / f"{name}.onnx").write_bytes(graph)
        if self.report is not None:
            (folder / "report.json").write_text(json.dumps(self.report, indent=1) + "\n")
        self.save_description(folder)
        (folder / "bundle.json").write_text(json.dumps(head, indent=1) + "\n")
        return folder

    def save_description(self, folder: Path) -> None:
        """Write only what describes the bundle: its example and its model card."""
        if self.example is not None:
            (folder / "example.json").write_text(json.dumps(self.example.to_json()) + "\n")
        card = model_card(self._head, self.report, has_example=self.example is not None)
        (folder / "README.md").write_text(card)

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Read and verify what `save` wrote.

        Raises:
            InvalidConfig: no bundle there, an unknown schema, or content that does not match its digest.
        """
        try:
            head = read_json(_file(folder / "bundle.json"))
            if not isinstance(head, dict):
                raise InvalidConfig(f"bundle {folder}: expected an object in bundle.json, got {type(head).__name__}")
            if head.get("schema") == 1:
                raise InvalidConfig(f"bundle {folder} is of schema 1: `wtl models upgrade {folder}` upgrades it")
            if head.get("schema") != SCHEMA:
                raise InvalidConfig(f"bundle {folder}: expected schema {SCHEMA}, got {head.get('schema')}")
            if not isinstance(head["name"], str) or not all(isinstance(head[key], dict) for key in _OBJECTS):
                raise InvalidConfig(f"bundle {folder}: expected a name, and objects as {', '.join(_OBJECTS)}")
            named = [key.removeprefix("baselines/") for key in head["sha256"]]
            check_file_names(f"bundle {folder}", [*named, *head.get("onnx", {})])
            weights = {key: _read(folder / f"{key}.safetensors", digest) for key, digest in head["sha256"].items()}
            graphs = {name: _read_bytes(folder / f"{name}.onnx", d) for name, d in head.get("onnx", {}).items()}
            report_file = folder / "report.json"
            spec = _spec(folder, head["spec"])
            return cls(
                name=head["name"],
                spec=spec,
                model=head["model"],
                weights=weights.pop("weights"),
                confidence=weights.pop("confidence", None),
                recognition=weights.pop("recognition", None),
                baselines={key.removeprefix("baselines/"): value for key, value in weights.items()},
                graphs=graphs,
                provenance=head["provenance"],
                report=_report(report_file) if report_file.exists() else None,
                example=_example(folder / "example.json", spec),
            )
        except OSError as error:
            raise InvalidConfig(f"no bundle at {folder}: {error.filename}: {error.strerror}") from error
        except InvalidData as error:
            raise InvalidConfig(f"bundle {folder} is damaged: {error}") from error
        except DAMAGE as error:
            raise InvalidConfig(f"bundle {folder} is damaged: {error!r}") from error


def run_bundle(folder: Path) -> Path | None:
    """Return `folder` if it is a bundle, the bundle in it if it is the folder of a run, else None."""
    if _has_head(folder):
        return folder
    try:
        inside = [path for path in folder.iterdir() if _has_head(path)]
    except OSError:  # reading it as a bundle says why
        return None
    return folder / "bundle" if inside == [folder / "bundle"] else None


def _has_head(folder: Path) -> bool:
    try:
        return (folder / "bundle.json").exists()
    except OSError:  # a folder that may not be read, or a link that nobody can follow
        return False


def _spec(folder: Path, value: dict[str, Any]) -> Spec:
    try:
        return Spec.from_json(value)
    except InvalidConfig as error:
        raise InvalidConfig(f"bundle {folder}: {error}") from error


def _report(file: Path) -> dict[str, Any]:
    report = read_json(_file(file))
    if not isinstance(report, dict):
        raise InvalidConfig(f"{file}: expected an object, got {type(report).__name__}")
    return report


def _example(file: Path, spec: Spec) -> Episode | None:
    if not file.exists():
        return None
    given = read_json(_file(file))
    try:
        return spec.fit(Episode.of(**given))
    except (InvalidData, OverflowError) as error:
        raise InvalidConfig(f"{file}: {error}") from error


def _encode(weights: Weights) -> bytes:
    return save_bytes({key: np.ascontiguousarray(weights[key]) for key in sorted(weights)})


def _write(path: Path, weights: Weights) -> str:
    content = _encode(weights)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _read(path: Path, digest: str) -> Weights:
    return load_bytes(_read_bytes(path, digest))


def _read_bytes(path: Path, digest: str) -> bytes:
    with _file(path).open("rb") as file:
        refuse_pointer(file.read(200), path.name)
        file.seek(0)
        # In pieces, for the wrong file could be larger than the memory.
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise InvalidConfig(f"{path} does not match the digest in its bundle.json: it was changed or cut short")
        file.seek(0)
        return file.read()


def _file(path: Path) -> Path:
    """Return `path`, unless reading it could last for ever. Raises InvalidConfig."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InvalidConfig(f"{path}: expected a file, got a pipe or a device")
    return path
