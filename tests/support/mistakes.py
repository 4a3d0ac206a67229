"""Mistakes to plant into rendered manifests: what each policy is there to catch, at least one per rule."""

from collections.abc import Callable
from typing import Any

from support import policies
from support.policies import Document


def the(documents: list[Document], kind: str, name: str) -> Document:
    [found] = [doc for doc in documents if doc["kind"] == kind and doc["metadata"]["name"] == name]
    return found


Plant = Callable[[list[Document]], Any]


def service_pod(documents: list[Document]) -> Document:
    return the(documents, "Deployment", "wtl")["spec"]["template"]["spec"]


def serve(documents: list[Document]) -> Document:
    return service_pod(documents)["containers"][0]


def ray_cluster(documents: list[Document]) -> Document:
    return the(documents, "RayCluster", "wtl-ray")["spec"]


def worker(documents: list[Document]) -> Document:
    return ray_cluster(documents)["workerGroupSpecs"][0]["template"]["spec"]


def head(documents: list[Document]) -> Document:
    return ray_cluster(documents)["headGroupSpec"]["template"]["spec"]


def ray_job(documents: list[Document]) -> Document:
    [job] = policies.of_kind(documents, "RayJob")
    return job["spec"]


def ingress(documents: list[Document]) -> Document:
    return the(documents, "Ingress", "wtl")["spec"]


def settings(documents: list[Document]) -> Document:
    [found] = [doc for doc in policies.of_kind(documents, "ConfigMap") if "WTL_RUNTIME" in doc["data"]]
    return found["data"]


def remove(documents: list[Document], kind: str, name: str) -> None:
    documents.remove(the(documents, kind, name))


MISTAKES: list[tuple[str, str, Plant]] = [
    ("runs_as_somebody", "root by number", lambda d: service_pod(d)["securityContext"].update(runAsUser=0)),
    ("runs_as_somebody", "workers as anybody", lambda d: worker(d)["securityContext"].pop("runAsNonRoot")),
    ("has_seccomp", "no profile", lambda d: service_pod(d)["securityContext"].pop("seccompProfile")),
    (
        "has_seccomp",
        "unconfined head",
        lambda d: head(d)["securityContext"]["seccompProfile"].update(type="Unconfined"),
    ),
    ("root_is_read_only", "writable", lambda d: serve(d)["securityContext"].update(readOnlyRootFilesystem=False)),
    ("root_is_read_only", "writable autoscaler", lambda d: ray_cluster(d)["autoscalerOptions"].pop("securityContext")),
    ("gains_no_privilege", "escalation", lambda d: serve(d)["securityContext"].pop("allowPrivilegeEscalation")),
    (
        "gains_no_privilege",
        "a capability",
        lambda d: serve(d)["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    ),
    ("shares_nothing_of_the_node", "its network", lambda d: service_pod(d).update(hostNetwork=True)),
    (
        "shares_nothing_of_the_node",
        "its disk",
        lambda d: worker(d)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ),
    ("has_limits", "no limit of memory", lambda d: serve(d)["resources"]["limits"].pop("memory")),
    (
        "has_limits",
        "no request of the submitter",
        lambda d: ray_job(d)["submitterPodTemplate"]["spec"]["containers"][0].pop("resources"),
    ),
    ("has_probes", "not ready ever", lambda d: serve(d).pop("readinessProbe")),
    ("has_probes", "a dead worker", lambda d: worker(d)["containers"][0].pop("livenessProbe")),
    ("names_a_version", "latest", lambda d: serve(d).update(image="ghcr.io/x/serve:latest")),
    (
        "names_a_version",
        "nothing, at a port",
        lambda d: worker(d)["containers"][0].update(image="localhost:5000/train"),
    ),
    ("mounts_no_token", "by default", lambda d: service_pod(d).pop("automountServiceAccountToken")),
    (
        "mounts_no_token",
        "the account's",
        lambda d: the(d, "ServiceAccount", "wtl-service").pop("automountServiceAccountToken"),
    ),
    ("denies_by_default", "removed", lambda d: remove(d, "NetworkPolicy", "default-deny")),
    (
        "denies_by_default",
        "egress forgotten",
        lambda d: the(d, "NetworkPolicy", "default-deny")["spec"].update(policyTypes=["Ingress"]),
    ),
    (
        "denies_by_default",
        "everything allowed again",
        lambda d: the(d, "NetworkPolicy", "service")["spec"].update(ingress=[{}]),
    ),
    (
        "every_pod_is_in_a_policy",
        "misspelt",
        lambda d: the(d, "NetworkPolicy", "service")["spec"]["podSelector"]["matchLabels"].update(role="servise"),
    ),
    (
        "namespace_is_restricted",
        "baseline",
        lambda d: the(d, "Namespace", "wtl")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
    ),
    (
        "namespace_is_restricted",
        "elsewhere",
        lambda d: the(d, "Service", "wtl")["metadata"].update(namespace="default"),
    ),
    (
        "holds_no_secret",
        "a secret",
        lambda d: d.append({"kind": "Secret", "metadata": {"name": "x", "namespace": "wtl"}}),
    ),
    ("holds_no_secret", "a token", lambda d: serve(d)["env"].append({"name": "WTL_RAY_TOKEN", "value": "abc"})),
    (
        "what_is_named_exists",
        "a map without its hash",
        lambda d: serve(d).update(envFrom=[{"configMapRef": {"name": "wtl-settings"}}]),
    ),
    ("what_is_named_exists", "no volume", lambda d: service_pod(d)["volumes"].pop(0)),
    (
        "what_is_named_exists",
        "two who count replicas",
        lambda d: the(d, "Deployment", "wtl")["spec"].update(replicas=1),
    ),
    ("survives_a_drain", "no budget", lambda d: remove(d, "PodDisruptionBudget", "wtl")),
    ("ray_is_authenticated", "open", lambda d: ray_cluster(d).pop("authOptions")),
    ("ray_is_authenticated", "an open job", lambda d: ray_job(d)["rayClusterSpec"].pop("authOptions")),
    ("ray_head_does_no_work", "all its cores", lambda d: ray_cluster(d)["headGroupSpec"].update(rayStartParams={})),
    (
        "deletion_is_asked_for_once",
        "twice",
        lambda d: ray_job(d).update(
            deletionStrategy={"deletionRules": [{"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED"}}]}
        ),
    ),
    (
        "deletion_is_asked_for_once",
        "half",
        lambda d: ray_job(d).update(
            shutdownAfterJobFinishes=False,
            ttlSecondsAfterFinished=0,
            deletionStrategy={"onSuccess": {"policy": "DeleteCluster"}},
        ),
    ),
    (
        "deletion_is_asked_for_once",
        "two clusters",
        lambda d: ray_job(d).update(clusterSelector={"ray.io/cluster": "wtl-ray"}),
    ),
    (
        "gcs_state_is_configured_once",
        "a second password",
        lambda d: head(d)["containers"][0].update(
            env=[{"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]
        ),
    ),
    (
        "gcs_state_is_configured_once",
        "two backends",
        lambda d: ray_cluster(d)["gcsFaultToleranceOptions"].update(backend="rocksdb"),
    ),
    (
        "group_sizes_are_possible",
        "more than there may be",
        lambda d: ray_cluster(d)["workerGroupSpecs"][0].update(minReplicas=99),
    ),
    ("answers_as_it_is_called", "another host", lambda d: ingress(d)["rules"][0].update(host="robots.example.org")),
    ("answers_as_it_is_called", "any host", lambda d: settings(d).update(WTL_ALLOWED_HOSTS="*,wtl,wtl.example.org")),
    ("answers_as_it_is_called", "nobody", lambda d: settings(d).pop("WTL_ALLOWED_HOSTS")),
    (
        "answers_as_it_is_called",
        "a probe by another name",
        lambda d: serve(d)["livenessProbe"]["httpGet"].update(httpHeaders=[{"name": "Host", "value": "pod"}]),
    ),
]
