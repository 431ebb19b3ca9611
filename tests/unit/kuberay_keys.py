"""The fields of KubeRay's resources that our files may use, and what checks them.

KubeRay ships its schema as a definition of several hundred thousand characters, most of it the pod
template, which Kubernetes' own schema covers. Here are the names of the rest, as the reference of
KubeRay 1.6 lists them (https://docs.ray.io/en/master/cluster/kubernetes/references/api.html).
A field that is right and not in this table is added to it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes_validate
import ray.scripts.scripts

KUBERNETES = "1.33"  # the schemas pods and the rest are checked by

CLUSTER = frozenset(
    {
        "suspend",
        "managedBy",
        "authOptions",
        "autoscalerOptions",
        "headServiceAnnotations",
        "enableInTreeAutoscaling",
        "gcsFaultToleranceOptions",
        "headGroupSpec",
        "rayVersion",
        "upgradeStrategy",
        "workerGroupSpecs",
    }
)
AUTH = frozenset({"mode", "secretName", "enableK8sTokenAuth"})
AUTOSCALER = frozenset(
    {
        "resources",
        "image",
        "imagePullPolicy",
        "securityContext",
        "idleTimeoutSeconds",
        "upscalingMode",
        "version",
        "env",
        "envFrom",
        "volumeMounts",
    }
)
HEAD = frozenset(
    {
        "template",
        "headService",
        "enableIngress",
        "resources",
        "labels",
        "rayStartParams",
        "serviceType",
    }
)
WORKER = frozenset(
    {
        "suspend",
        "groupName",
        "replicas",
        "minReplicas",
        "maxReplicas",
        "idleTimeoutSeconds",
        "priority",
        "resources",
        "labels",
        "rayStartParams",
        "template",
        "scaleStrategy",
        "numOfHosts",
    }
)
CHOICES = {
    ("authOptions", "mode"): {"disabled", "token"},
    ("autoscalerOptions", "version"): {"v1", "v2"},
    ("autoscalerOptions", "upscalingMode"): {"Default", "Aggressive", "Conservative"},
}
COMPUTE = frozenset({"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"})
START_OPTIONS = frozenset(
    option.removeprefix("--")
    for parameter in ray.scripts.scripts.start.params
    for option in parameter.opts
)


def problems_of_cluster(cluster: Mapping[str, Any]) -> list[str]:
    """What KubeRay, Kubernetes or Ray would refuse or silently not know in a RayCluster."""
    return list(_cluster(cluster))


def _cluster(cluster: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(cluster, {"apiVersion", "kind", "metadata", "spec"}, "")
    yield from _metadata(cluster.get("metadata", {}), "metadata")
    spec = cluster.get("spec", {})
    yield from _unknown(spec, CLUSTER, "spec")
    yield from _missing(spec, {"headGroupSpec", "rayVersion"}, "spec")
    yield from _unknown(spec.get("authOptions", {}), AUTH, "spec.authOptions")
    autoscaler = spec.get("autoscalerOptions", {})
    yield from _unknown(autoscaler, AUTOSCALER, "spec.autoscalerOptions")
    yield from _container(autoscaler, "spec.autoscalerOptions")
    for (section, name), allowed in CHOICES.items():
        value = spec.get(section, {}).get(name)
        if value is not None and value not in allowed:
            yield f"spec.{section}.{name}: {value!r} is none of {sorted(allowed)}"
    yield from _group(spec.get("headGroupSpec", {}), HEAD, "spec.headGroupSpec")
    for index, group in enumerate(spec.get("workerGroupSpecs", [])):
        where = f"spec.workerGroupSpecs[{index}]"
        yield from _group(group, WORKER, where)
        yield from _missing(group, {"groupName", "minReplicas", "maxReplicas"}, where)


def _group(group: Mapping[str, Any], known: frozenset[str], where: str) -> Iterator[str]:
    yield from _unknown(group, known, where)
    yield from _missing(group, {"template"}, where)
    params = group.get("rayStartParams", {})
    yield from _unknown(params, START_OPTIONS, f"{where}.rayStartParams")
    if "labels" in params:  # KubeRay refuses them there since it has a field for them
        yield f"{where}.rayStartParams.labels: belongs into {where}.labels"
    for name, value in params.items():
        if not isinstance(value, str):
            yield f"{where}.rayStartParams.{name}: {value!r} is no string"
    template = group.get("template", {})
    yield from kubernetes_problems(
        {"apiVersion": "v1", "kind": "PodTemplate", "template": dict(template)}, where
    )
    for container in template.get("spec", {}).get("containers", []):
        yield from _compute(container.get("resources", {}), f"{where}.{container.get('name')}")


def _container(options: Mapping[str, Any], where: str) -> Iterator[str]:
    """The parts of the autoscaler's options that are parts of a container."""
    parts = {n: options[n] for n in ("resources", "securityContext", "env") if n in options}
    pod = {"containers": [{"name": "autoscaler", **parts}]}
    yield from kubernetes_problems({"apiVersion": "v1", "kind": "Pod", "spec": pod}, where)
    yield from _compute(options.get("resources", {}), where)


def _compute(resources: Mapping[str, Any], where: str) -> Iterator[str]:
    for kind in ("requests", "limits"):
        yield from _unknown(resources.get(kind, {}), COMPUTE, f"{where}.resources.{kind}")


def _metadata(metadata: Mapping[str, Any], where: str) -> Iterator[str]:
    yield from _unknown(metadata, {"name", "namespace", "labels", "annotations"}, where)
    yield from _missing(metadata, {"name"}, where)


def problems_of_monitor(monitor: Mapping[str, Any]) -> list[str]:
    """The same for a ServiceMonitor of the Prometheus operator, as far as ours goes."""
    spec = monitor.get("spec", {})
    return [
        *_unknown(monitor, {"apiVersion", "kind", "metadata", "spec"}, ""),
        *_metadata(monitor.get("metadata", {}), "metadata"),
        *_unknown(spec, {"jobLabel", "selector", "endpoints", "namespaceSelector"}, "spec"),
        *_missing(spec, {"selector", "endpoints"}, "spec"),
        *_unknown(spec.get("selector", {}), {"matchLabels", "matchExpressions"}, "spec.selector"),
        *(problem for endpoint in spec.get("endpoints", []) for problem in _endpoint(endpoint)),
    ]


def kubernetes_problems(document: Mapping[str, Any], where: str = "") -> list[str]:
    """What Kubernetes' own schema, read strictly, says against a document."""
    said = _schema_says(json.dumps(document, sort_keys=True))
    return [f"{where or document.get('kind')}: {said}"] if said else []


@functools.cache  # bent documents are alike in all but one place
def _schema_says(document: str) -> str:
    try:
        kubernetes_validate.validate(json.loads(document), KUBERNETES, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return str(error)
    return ""


def problems_of(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with one document of our manifests, whatever its kind."""
    if document.get("kind") == "RayCluster":
        return problems_of_cluster(document)
    if document.get("kind") == "ServiceMonitor":
        return problems_of_monitor(document)
    claimed = document.get("spec", {}).get("resources", {})
    return [
        *kubernetes_problems(document),
        *_unknown(claimed.get("requests", {}), {"storage"}, "spec.resources.requests"),
    ]


def _endpoint(endpoint: dict[str, Any]) -> list[str]:
    where = "spec.endpoints"
    authorization = endpoint.get("authorization", {})
    return [
        *_unknown(endpoint, {"port", "path", "interval", "authorization"}, where),
        *_unknown(authorization, {"type", "credentials"}, f"{where}.authorization"),
        *_unknown(authorization.get("credentials", {}), {"name", "key", "optional"}, where),
    ]


def _unknown(part: Mapping[str, Any], known: frozenset[str] | set[str], where: str) -> list[str]:
    return [f"{where}.{name}: is not known" for name in sorted(part.keys() - known)]


def _missing(part: Mapping[str, Any], needed: set[str], where: str) -> list[str]:
    return [f"{where}.{name}: is missing" for name in sorted(needed - part.keys())]
