"""Every kustomization renders, fits the schemas of its kinds and keeps the policies; and each check can fail."""

import copy
import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from support import policies
from support.mistakes import MISTAKES, Plant, ray_cluster, serve, the
from support.policies import Document

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
RAY_SCHEMAS = next(
    (up / "shared/crds" for up in ROOT.parents if (up / "shared/crds").is_dir()), ROOT.parent / "shared/crds"
)
KUBERNETES = ("1.33", "1.37")
KUSTOMIZATIONS = ("overlays/dev", "overlays/prod", "training", "ray-serve")
RAY_KINDS = ("RayCluster", "RayJob", "RayService")

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: nothing renders")


@cache
def _rendered(path: str) -> tuple[Document, ...]:
    done = subprocess.run(["kubectl", "kustomize", K8S / path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def rendered(path: str) -> list[Document]:
    """A kustomization's documents, to change at will."""
    return copy.deepcopy(list(_rendered(path)))


def everything() -> list[Document]:
    """What production holds when a training job and the alternative server run, each document once."""
    return [document for path in KUSTOMIZATIONS[1:] for document in rendered(path)]


def schema_errors(document: Document) -> list[str]:
    """What is wrong with a document of a core kind, against the oldest and the newest Kubernetes that we mean."""
    errors = []
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            errors.append(f"{policies.name_of(document)}: {error.message}")
    return errors


def ray_errors(document: Document) -> list[str]:
    schema = json.loads((RAY_SCHEMAS / f"{document['kind']}_v1.json").read_text())
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]


needs_ray_schemas = pytest.mark.skipif(
    not RAY_SCHEMAS.is_dir(), reason=f"no schemas of Ray's kinds at {RAY_SCHEMAS}: Ray manifests are not validated"
)


@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_core_kinds_fit_their_schemas(path: str):
    core = [doc for doc in rendered(path) if "." not in doc["apiVersion"] or doc["apiVersion"].endswith("k8s.io/v1")]
    assert [error for document in core for error in schema_errors(document)] == []


@needs_ray_schemas
@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_ray_kinds_fit_their_schemas(path: str):
    ray = policies.of_kind(rendered(path), *RAY_KINDS)
    assert ray
    assert [error for document in ray for error in ray_errors(document)] == []


def test_every_kind_is_validated_by_something():
    """kubernetes-validate passes kinds that it does not know; those must be Ray's or the Prometheus operator's."""
    unknown = {
        doc["kind"] for doc in everything() if "." in doc["apiVersion"] and not doc["apiVersion"].endswith("k8s.io/v1")
    }
    assert unknown <= {*RAY_KINDS, "ServiceMonitor", "PodMonitor", "PrometheusRule"}


@pytest.mark.parametrize("rule", policies.RULES.values(), ids=policies.RULES.keys())
@pytest.mark.parametrize("path", KUSTOMIZATIONS)
def test_the_policies_are_kept(path: str, rule: policies.Rule):
    assert list(rule(rendered(path))) == []


@pytest.mark.parametrize(
    ("rule", "plant"), [(r, p) for r, _, p in MISTAKES], ids=[f"{r}: {what}" for r, what, _ in MISTAKES]
)
def test_a_planted_mistake_is_caught(rule: str, plant: Plant):
    documents = everything()
    assert list(policies.RULES[rule](documents)) == []
    plant(documents)
    assert list(policies.RULES[rule](documents))


def test_every_rule_has_a_planted_mistake():
    assert {rule for rule, _, _ in MISTAKES} == set(policies.RULES)


def _wrong_core() -> Iterator[tuple[str, Document]]:
    for what, plant in {
        "a misspelt field": lambda d: serve(d).update(readinesProbe={}),
        "a number in quotes": lambda d: the(d, "Service", "wtl")["spec"]["ports"][0].update(port="80"),
        "a selector forgotten": lambda d: the(d, "Deployment", "wtl")["spec"].pop("selector"),
    }.items():
        documents = rendered("overlays/prod")
        plant(documents)
        yield what, the(documents, "Service" if "number" in what else "Deployment", "wtl")


def test_a_wrong_core_document_does_not_fit():
    assert {what for what, document in _wrong_core() if schema_errors(document)} == {what for what, _ in _wrong_core()}


@needs_ray_schemas
@pytest.mark.parametrize(
    "plant",
    [
        lambda d: ray_cluster(d).update(enableIntreeAutoscaling=True),
        lambda d: ray_cluster(d)["authOptions"].update(mode="password"),
        lambda d: ray_cluster(d).pop("headGroupSpec"),
        lambda d: ray_cluster(d)["workerGroupSpecs"][0].update(maxReplicas="many"),
    ],
    ids=["a misspelt field", "an unknown mode", "no head", "no number"],
)
def test_a_wrong_ray_document_does_not_fit(plant: Plant):
    documents = rendered("overlays/prod")
    plant(documents)
    assert ray_errors(the(documents, "RayCluster", "wtl-ray"))


def test_the_hash_of_the_settings_reaches_whoever_reads_them():
    documents = rendered("overlays/prod")
    [settings] = [doc for doc in policies.of_kind(documents, "ConfigMap") if "WTL_RUNTIME" in doc["data"]]
    assert settings["metadata"]["name"] != "wtl-settings"
    assert serve(documents)["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]


def test_the_images_of_ray_kinds_are_named_as_those_of_pods():
    images = {container["image"] for pod in policies.pods_of(everything()) for container in pod.containers}
    assert {image.partition(":")[0] for image in images if "wtl" in image or "watch" in image} == {
        "ghcr.io/watch-try-learn/serve", "ghcr.io/watch-try-learn/train",
    }  # fmt: skip


def test_ray_is_the_projects_version():
    pinned = next(line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("ray=="))
    versions = {cluster["rayVersion"] for _, cluster in policies.ray_clusters(everything())}
    assert versions == {pinned.partition("==")[2].split()[0]}
