"""What every manifest must satisfy beyond its schema: one function per rule, each says what is wrong and where.

A document is what YAML holds; pods are found wherever a kind keeps a pod template, Ray's kinds included.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Rule = Callable[[list[Document]], Iterator[str]]

OPERATOR_NEEDS_API = "enableInTreeAutoscaling"
"""The one reason for a token in a pod: the autoscaler of a Ray head."""


@dataclass(frozen=True)
class Pod:
    """A pod template: where it is, its spec, its labels, and whether the Kubernetes API is its business."""

    where: str
    spec: Document
    labels: dict[str, str]
    runs_to_its_end: bool
    asks_the_api: bool

    @property
    def ray_node(self) -> str | None:
        """What KubeRay labels it as: head, worker, or nothing."""
        if not self.where.startswith("Ray") or self.where.endswith("submitter"):
            return None
        return "head" if self.where.endswith("head") else "worker"

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec.get("containers", [])]


def name_of(document: Document) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def ray_clusters(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """The cluster of each RayCluster, RayJob and RayService, and where it is."""
    for document in of_kind(documents, "RayCluster", "RayJob", "RayService"):
        spec = document["spec"]
        cluster = {"RayJob": spec.get("rayClusterSpec"), "RayService": spec.get("rayClusterConfig")}.get(
            document["kind"], spec
        )
        if cluster:
            yield name_of(document), cluster


def pods_of(documents: list[Document]) -> Iterator[Pod]:
    def pod(where: str, template: Document, ends: bool = False, api: bool = False) -> Pod:
        return Pod(where, template["spec"], template.get("metadata", {}).get("labels", {}), ends, api)

    for document in documents:
        where, spec = name_of(document), document.get("spec", {})
        match document["kind"]:
            case "Deployment" | "StatefulSet" | "DaemonSet":
                yield pod(where, spec["template"])
            case "Job":
                yield pod(where, spec["template"], ends=True)
            case "CronJob":
                yield pod(where, spec["jobTemplate"]["spec"]["template"], ends=True)
            case "RayJob" if "submitterPodTemplate" in spec:
                yield pod(f"{where} submitter", spec["submitterPodTemplate"], ends=True)
    for where, cluster in ray_clusters(documents):
        scales = bool(cluster.get("enableInTreeAutoscaling"))
        yield pod(f"{where} head", cluster["headGroupSpec"]["template"], api=scales)
        for group in cluster["workerGroupSpecs"]:
            yield pod(f"{where} workers {group['groupName']}", group["template"])


def _containers(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    for pod in pods_of(documents):
        for container in pod.containers:
            yield f"{pod.where}, container {container['name']}", container
    for where, cluster in ray_clusters(documents):
        if cluster.get(OPERATOR_NEEDS_API):
            yield f"{where}, autoscaler", {"image": "from:operator", **cluster.get("autoscalerOptions", {})}


def runs_as_somebody(documents: list[Document]) -> Iterator[str]:
    for pod in pods_of(documents):
        context = pod.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{pod.where}: runAsNonRoot and a runAsUser other than 0"


def has_seccomp(documents: list[Document]) -> Iterator[str]:
    for pod in pods_of(documents):
        if pod.spec.get("securityContext", {}).get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.where}: seccompProfile RuntimeDefault"


def root_is_read_only(documents: list[Document]) -> Iterator[str]:
    for where, container in _containers(documents):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{where}: readOnlyRootFilesystem"


def gains_no_privilege(documents: list[Document]) -> Iterator[str]:
    for where, container in _containers(documents):
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{where}: allowPrivilegeEscalation false, capabilities drop ALL"


def shares_nothing_of_the_node(documents: list[Document]) -> Iterator[str]:
    for pod in pods_of(documents):
        if any(pod.spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{pod.where}: a namespace of the node"
        if any("hostPath" in volume for volume in pod.spec.get("volumes", [])):
            yield f"{pod.where}: a path of the node"


def has_limits(documents: list[Document]) -> Iterator[str]:
    for where, container in _containers(documents):
        resources = container.get("resources", {})
        for part in ("requests", "limits"):
            for what in ("cpu", "memory"):
                if what not in resources.get(part, {}):
                    yield f"{where}: {part} of {what}"


def has_probes(documents: list[Document]) -> Iterator[str]:
    for pod in pods_of(documents):
        if pod.runs_to_its_end:
            continue
        for container in pod.spec["containers"]:
            for probe in ("livenessProbe", "readinessProbe"):
                if probe not in container:
                    yield f"{pod.where}, container {container['name']}: {probe}"


def names_a_version(documents: list[Document]) -> Iterator[str]:
    for where, container in _containers(documents):
        image = container["image"]
        tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
        if "@sha256:" not in image and tag in ("", "latest"):
            yield f"{where}: image {image} without a version"


def mounts_no_token(documents: list[Document]) -> Iterator[str]:
    for pod in pods_of(documents):
        if pod.spec.get("automountServiceAccountToken") is not pod.asks_the_api:
            yield f"{pod.where}: automountServiceAccountToken {str(pod.asks_the_api).lower()}"
    for account in of_kind(documents, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name_of(account)}: automountServiceAccountToken false"


def denies_by_default(documents: list[Document]) -> Iterator[str]:
    namespaces = of_kind(documents, "Namespace")
    policies = [policy["spec"] for policy in of_kind(documents, "NetworkPolicy")]
    denies = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if namespaces and denies not in policies:
        yield "NetworkPolicy: one that denies everything"
    for policy in of_kind(documents, "NetworkPolicy"):
        for direction in ("ingress", "egress"):
            if {} in policy["spec"].get(direction, []):
                yield f"{name_of(policy)}: {direction} from anywhere to anywhere"


def every_pod_is_in_a_policy(documents: list[Document]) -> Iterator[str]:
    """A policy whose labels nobody has protects nobody: labels are misspelt silently."""
    pods = [
        {**pod.labels, "ray.io/node-type": pod.ray_node, "ray.io/cluster": "wtl-ray"} if pod.ray_node else pod.labels
        for pod in pods_of(documents)
    ]
    for policy in of_kind(documents, "NetworkPolicy"):
        for selector in _selectors(policy["spec"]):
            if not any(_selects(selector, labels) for labels in pods):
                yield f"{name_of(policy)}: no pod has the labels {selector}"


_MADE_ELSEWHERE = ("submitter", "training")
"""Roles of pods that other kustomizations make (RayJob)."""


def _selectors(spec: Document) -> Iterator[Document]:
    peers = [
        peer
        for direction, side in (("ingress", "from"), ("egress", "to"))
        for rule in spec.get(direction, [])
        for peer in rule.get(side, [])
    ]
    for selector in [
        spec["podSelector"],
        *(peer.get("podSelector", {}) for peer in peers if "namespaceSelector" not in peer),
    ]:
        if selector.get("matchLabels", {}).get("role") not in _MADE_ELSEWHERE:
            yield selector


def _selects(selector: Document, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        value = labels.get(expression["key"])
        if expression["operator"] == "Exists" and value is None:
            return False
        if expression["operator"] == "In" and value not in expression["values"]:
            return False
    return True


def namespace_is_restricted(documents: list[Document]) -> Iterator[str]:
    for namespace in of_kind(documents, "Namespace"):
        if namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{name_of(namespace)}: pod-security.kubernetes.io/enforce restricted"
    for document in documents:
        if document["kind"] != "Namespace" and document["metadata"].get("namespace") != "wtl":
            yield f"{name_of(document)}: namespace wtl"


def holds_no_secret(documents: list[Document]) -> Iterator[str]:
    """Secrets are named, never written down."""
    for secret in of_kind(documents, "Secret"):
        yield f"{name_of(secret)}: a secret in a manifest"
    for where, container in _containers(documents):
        for variable in container.get("env", []):
            if re.search(r"TOKEN|PASSWORD$|SECRET$|AUTH$", variable["name"]) and "valueFrom" not in variable:
                yield f"{where}: {variable['name']} written down"


def what_is_named_exists(documents: list[Document]) -> Iterator[str]:
    """ConfigMaps with the hash that kustomize gave them, volumes, accounts, the target of the autoscaler."""
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    for pod in pods_of(documents):
        sources = [source for container in pod.containers for source in container.get("envFrom", [])]
        wanted = [("ConfigMap", source["configMapRef"]["name"]) for source in sources if "configMapRef" in source]
        wanted += [
            ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
            for volume in pod.spec.get("volumes", [])
            if "persistentVolumeClaim" in volume
        ]
        wanted += [("ServiceAccount", pod.spec["serviceAccountName"])] if "serviceAccountName" in pod.spec else []
        wanted += [
            ("ConfigMap", volume["configMap"]["name"])
            for volume in pod.spec.get("volumes", [])
            if "configMap" in volume
        ]
        if of_kind(documents, "Namespace"):
            yield from (f"{pod.where}: {kind} {name} is nowhere" for kind, name in wanted if (kind, name) not in names)
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        for container in pod.containers:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes and not pod.where.startswith("StatefulSet"):
                    yield f"{pod.where}: volume {mount['name']} is nowhere"
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) not in names:
            yield f"{name_of(scaler)}: {target['kind']} {target['name']} is nowhere"
        for document in of_kind(documents, target["kind"]):
            if document["metadata"]["name"] == target["name"] and "replicas" in document["spec"]:
                yield f"{name_of(document)}: replicas are the autoscaler's"


def survives_a_drain(documents: list[Document]) -> Iterator[str]:
    for deployment in of_kind(documents, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        budgets = of_kind(documents, "PodDisruptionBudget")
        if not any(_selects(budget["spec"]["selector"], labels) for budget in budgets):
            yield f"{name_of(deployment)}: a PodDisruptionBudget"


def ray_is_authenticated(documents: list[Document]) -> Iterator[str]:
    for where, cluster in ray_clusters(documents):
        if cluster.get("authOptions", {}).get("mode") != "token":
            yield f"{where}: authOptions.mode token"


def ray_head_does_no_work(documents: list[Document]) -> Iterator[str]:
    for where, cluster in ray_clusters(documents):
        if cluster["headGroupSpec"].get("rayStartParams", {}).get("num-cpus") != "0":
            yield f"{where}: rayStartParams num-cpus 0 for the head"


def deletion_is_asked_for_once(documents: list[Document]) -> Iterator[str]:
    """CEL rules and the operator's own, of RayJob."""
    for job in of_kind(documents, "RayJob"):
        spec = job["spec"]
        strategy = spec.get("deletionStrategy")
        if strategy is not None and spec.get("shutdownAfterJobFinishes"):
            yield f"{name_of(job)}: deletionStrategy and shutdownAfterJobFinishes exclude each other"
        legacy = [key for key in ("onSuccess", "onFailure") if key in (strategy or {})]
        if strategy is not None and bool(legacy) == bool(strategy.get("deletionRules")):
            yield f"{name_of(job)}: deletionStrategy has either deletionRules or both onSuccess and onFailure"
        if len(legacy) == 1:
            yield f"{name_of(job)}: deletionStrategy has both onSuccess and onFailure or none"
        if spec.get("ttlSecondsAfterFinished") and not spec.get("shutdownAfterJobFinishes"):
            yield f"{name_of(job)}: ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
        if bool(spec.get("rayClusterSpec")) == bool(spec.get("clusterSelector")):
            yield f"{name_of(job)}: either rayClusterSpec or clusterSelector"


def gcs_state_is_configured_once(documents: list[Document]) -> Iterator[str]:
    """KubeRay's own rules of fault tolerance: a backend, and its password in one place."""
    for where, cluster in ray_clusters(documents):
        options = cluster.get("gcsFaultToleranceOptions", {})
        if options.get("backend") == "rocksdb" and "redisAddress" in options:
            yield f"{where}: redisAddress with the backend rocksdb"
        variables = [
            variable["name"]
            for container in cluster["headGroupSpec"]["template"]["spec"]["containers"]
            for variable in container.get("env", [])
        ]
        if options and ("REDIS_PASSWORD" in variables or "RAY_REDIS_ADDRESS" in variables):
            yield f"{where}: REDIS_PASSWORD or RAY_REDIS_ADDRESS besides gcsFaultToleranceOptions"


def group_sizes_are_possible(documents: list[Document]) -> Iterator[str]:
    for where, cluster in ray_clusters(documents):
        for group in cluster["workerGroupSpecs"]:
            sizes = [group.get("minReplicas"), group.get("replicas"), group.get("maxReplicas")]
            if None in sizes or sizes != sorted(sizes):
                yield f"{where}: minReplicas <= replicas <= maxReplicas in group {group['groupName']}"


def answers_as_it_is_called(documents: list[Document]) -> Iterator[str]:
    """The server answers under the hosts of its Ingresses and the name of its Service, and to no others."""
    settings = [d for d in of_kind(documents, "ConfigMap") if d["metadata"]["name"].startswith("wtl-settings")]
    allowed = {name for d in settings for name in d["data"].get("WTL_ALLOWED_HOSTS", "").split(",")}
    if "*" in allowed:
        yield "WTL_ALLOWED_HOSTS: any name"
    hosts = {rule["host"]: name_of(d) for d in of_kind(documents, "Ingress") for rule in d["spec"]["rules"]}
    services = {
        d["metadata"]["name"]: name_of(d) for d in of_kind(documents, "Service") if d["metadata"]["name"] == "wtl"
    }
    for host, where in (hosts | services).items():
        if settings and host not in allowed:
            yield f"{where}: {host} is not in WTL_ALLOWED_HOSTS"
    for where, container in _containers(documents):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            for header in container.get(probe, {}).get("httpGet", {}).get("httpHeaders", []):
                if header["name"].lower() == "host" and header["value"] not in allowed:
                    yield f"{where}: its {probe} asks for {header['value']}, which is not in WTL_ALLOWED_HOSTS"


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        runs_as_somebody, has_seccomp, root_is_read_only, gains_no_privilege, shares_nothing_of_the_node, has_limits,
        has_probes, names_a_version, mounts_no_token, denies_by_default, every_pod_is_in_a_policy,
        namespace_is_restricted, holds_no_secret, what_is_named_exists, survives_a_drain, ray_is_authenticated,
        ray_head_does_no_work, deletion_is_asked_for_once, gcs_state_is_configured_once, group_sizes_are_possible,
        answers_as_it_is_called,
    )
}  # fmt: skip
