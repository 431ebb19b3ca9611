"""The manifests for Kubernetes: valid, safe against typos, and what comes of them."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_files import (
    FREE,
    KUBERNETES,
    OVERLAYS,
    ROOT,
    Document,
    key_paths,
    kustomize,
    misspelled,
    of_kind,
    rendered,
)
from kuberay_keys import problems_of

from benchmarks.fake_cluster_types import node_types_of
from sleep_runtime.config import load
from sleep_runtime.core.pool import IDLE_RESOURCE as RESOURCE

SPOT = {
    "gke": {"cloud.google.com/gke-spot": "true"},
    "eks": {"eks.amazonaws.com/capacityType": "SPOT"},
    "onprem": {"sleep-runtime/idle": "true"},
}
CUTOFF = -10  # the cluster autoscaler starts no node for pods of lower priority


def cluster_of(overlay: str) -> Document:
    (cluster,) = of_kind(rendered(overlay), "RayCluster")
    return cluster


def groups_of(cluster: Document) -> dict[str, Document]:
    spec = cluster["spec"]
    return {
        "head": spec["headGroupSpec"],
        **{group["groupName"]: group for group in spec["workerGroupSpecs"]},
    }


def pod_of(group: Document) -> Document:
    pod: Document = group["template"]["spec"]
    return pod


def pod_labels(cluster: Document, name: str) -> dict[str, str]:
    """The labels of a group's pods: ours and the ones KubeRay sets."""
    return {
        **groups_of(cluster)[name]["template"]["metadata"]["labels"],
        "ray.io/cluster": cluster["metadata"]["name"],
        "ray.io/node-type": "head" if name == "head" else "worker",
        "ray.io/group": "headgroup" if name == "head" else name,
    }


# ---------------------------------------------------------------------------- valid


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_document_of_an_overlay_is_valid(overlay: str) -> None:
    documents = rendered(overlay)
    assert len(documents) >= 14
    assert [problem for document in documents for problem in problems_of(document)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_misspelled_key_of_an_overlay_is_refused(overlay: str) -> None:
    unseen = [
        (document["kind"], document["metadata"]["name"], path)
        for document in rendered(overlay)
        for path in key_paths(document, free=_free(document))
        if not problems_of_anything(misspelled(document, path))
    ]
    assert unseen == []


def _free(document: Document) -> frozenset[str]:
    """A service's selector is a map of labels; elsewhere it is a structure."""
    return FREE | {"selector"} if document["kind"] == "Service" else FREE


def problems_of_anything(document: Document) -> list[str]:
    """A document that cannot even be looked at is refused as well."""
    try:
        return problems_of(document)
    except KeyError as error:
        return [f"{error} is missing"]


def test_a_misspelled_key_of_a_kustomization_is_refused(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "cluster" / "kubernetes")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    copied = tmp_path / "cluster" / "kubernetes"
    for folder in [copied / "base", copied / "overlays" / "gke", tmp_path / "configs"]:
        file = folder / "kustomization.yaml"
        text = file.read_text("utf-8")
        for name in yaml.safe_load(text):
            file.write_text(text.replace(f"{name}:", f"{name}x:", 1), "utf-8")
            assert kustomize(copied / "overlays" / "gke").returncode != 0, (folder, name)
        file.write_text(text, "utf-8")
    assert kustomize(copied / "overlays" / "gke").returncode == 0


def test_patches_fail_when_the_order_of_the_groups_changes(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "cluster" / "kubernetes")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    copied = tmp_path / "cluster" / "kubernetes"
    file = copied / "base" / "raycluster.yaml"
    cluster = yaml.safe_load(file.read_text("utf-8"))
    cluster["spec"]["workerGroupSpecs"].reverse()
    file.write_text(yaml.safe_dump(cluster), "utf-8")
    for overlay in OVERLAYS:
        assert "test" in kustomize(copied / "overlays" / overlay).stderr


# ---------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_autoscaler_sees_three_kinds_of_nodes(overlay: str) -> None:
    gib = 1024**3
    assert node_types_of(cluster_of(overlay)) == {
        "headgroup": {
            "min_workers": 0,
            "max_workers": 0,
            "node_config": {},
            "resources": {"CPU": 0, "memory": 8 * gib},
            "labels": {"pool": "control"},
        },
        "live": {
            "min_workers": 1,
            "max_workers": 4,
            "node_config": {},
            "resources": {"CPU": 4, "memory": 8 * gib},
            "labels": {"pool": "live"},
        },
        "idle-pool": {
            "min_workers": 0,
            "max_workers": 2,
            "node_config": {},
            "resources": {"CPU": 8, "GPU": 1, RESOURCE: 1, "memory": 24 * gib},
            "labels": {"pool": "idle"},
            "idle_timeout_s": 60.0,
        },
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nights_have_the_lowest_priority_on_nodes_that_may_go_away(overlay: str) -> None:
    (priority,) = of_kind(rendered(overlay), "PriorityClass")
    assert CUTOFF <= priority["value"] < 0
    assert (priority["preemptionPolicy"], priority["globalDefault"]) == ("Never", False)
    groups = groups_of(cluster_of(overlay))
    idle = pod_of(groups.pop("idle-pool"))
    assert idle["priorityClassName"] == priority["metadata"]["name"]
    assert SPOT[overlay].items() <= idle["nodeSelector"].items()
    assert all("priorityClassName" not in pod_of(group) for group in groups.values())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_beside_a_live_pod_a_night_weighs_next_to_nothing(overlay: str) -> None:
    weights = {
        name: sum(cpu_weight(container) for container in pod_of(group)["containers"])
        for name, group in groups_of(cluster_of(overlay)).items()
    }
    assert weights["idle-pool"] == 1
    assert min(weights["head"], weights["live"]) >= 100
    for group in groups_of(cluster_of(overlay)).values():
        (container,) = pod_of(group)["containers"]
        assert "cpu" not in container["resources"]["limits"], "throttles what the node could give"
        assert container["resources"]["limits"]["memory"]


def cpu_weight(container: Document) -> int:
    """cpu.weight of cgroup v2, as the kubelet's CPU shares are converted (KEP 2254)."""
    request = str(container["resources"]["requests"]["cpu"])
    milli = int(request[:-1]) if request.endswith("m") else int(request) * 1000
    shares = max(2, milli * 1024 // 1000)
    return 1 + (shares - 2) * 9999 // 262142


def ray_environment() -> dict[str, str]:
    """What the runtime gives a Ray that it starts itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray Serve's own, at its first import
        from sleep_runtime.compose.cluster import RAY_ENVIRONMENT
    return RAY_ENVIRONMENT


def test_every_node_has_the_environment_before_ray_starts() -> None:
    lines = (KUBERNETES / "base" / "ray.env").read_text("utf-8").splitlines()
    given = [line for line in lines if line and not line.startswith("#")]
    environment = {name: value for name, _, value in (line.partition("=") for line in given)}
    assert ray_environment().items() <= environment.items()
    assert environment["RAY_AUTH_MODE"] == "token"
    documents = rendered("gke")
    (source,) = [
        config["data"]
        for config in of_kind(documents, "ConfigMap")
        if config["metadata"]["name"] == "sleep-runtime-ray"
    ]
    assert source == environment
    for group in groups_of(cluster_of("gke")).values():
        (container,) = pod_of(group)["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "sleep-runtime-ray"}}]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_confined(overlay: str) -> None:
    for group in groups_of(cluster_of(overlay)).values():
        pod = pod_of(group)
        # A service of our name would set SLEEP_RUNTIME_…, which the runtime refuses as a setting.
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_secrets_are_references_and_ray_asks_for_its_token() -> None:
    documents = rendered("gke")
    assert of_kind(documents, "Secret") == []
    auth = cluster_of("gke")["spec"]["authOptions"]
    assert auth == {"mode": "token", "secretName": "sleep-runtime-ray"}
    for group in groups_of(cluster_of("gke")).values():
        for variable in pod_of(group)["containers"][0].get("env", []):
            if any(word in variable["name"] for word in ("KEY", "TOKEN")):
                assert set(variable) == {"name", "valueFrom"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_stores_are_on_a_disk_that_one_pod_writes(overlay: str) -> None:
    (claim,) = of_kind(rendered(overlay), "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] in (["ReadWriteOncePod"], ["ReadWriteOnce"])
    assert not any(nfs in claim["spec"]["storageClassName"] for nfs in ("nfs", "efs", "filestore"))
    mounts = {
        name: {volume.get("persistentVolumeClaim", {}).get("claimName") for volume in volumes}
        for name, group in groups_of(cluster_of(overlay)).items()
        for volumes in [pod_of(group).get("volumes", [])]
    }
    name = claim["metadata"]["name"]
    assert {group for group, claims in mounts.items() if name in claims} == {"head"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_selects_pods_of_ours(overlay: str) -> None:
    cluster = cluster_of(overlay)
    pods = [pod_labels(cluster, name) for name in groups_of(cluster)]
    documents = rendered(overlay)
    selectors = [
        *(policy["spec"]["podSelector"] for policy in of_kind(documents, "NetworkPolicy")),
        *(budget["spec"]["selector"] for budget in of_kind(documents, "PodDisruptionBudget")),
        *(
            {"matchLabels": service["spec"]["selector"]}
            for service in of_kind(documents, "Service")
        ),
    ]
    assert len(selectors) >= 7
    for selector in selectors:
        assert any(_selects(selector, labels) for labels in pods), selector
        for expression in selector.get("matchExpressions", []):
            known = {labels.get(expression["key"]) for labels in pods}
            assert set(expression["values"]) <= known, expression


def _selects(selector: Document, labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )


def test_the_network_opens_the_ports_that_are_served_and_no_others() -> None:
    opened: dict[str, set[int]] = {}
    for policy in of_kind(rendered("gke"), "NetworkPolicy"):
        ruled = {kind for kind in ("Ingress", "Egress") if kind.lower() in policy["spec"]}
        assert set(policy["spec"]["policyTypes"]) == ruled, "a type without rules closes all"
        for rule in policy["spec"].get("ingress", []):
            assert rule["from"], "open to everybody"
            ports = {port["port"] for port in rule.get("ports", [])}
            opened[policy["metadata"]["name"]] = ports
    settings = load(ROOT / "configs" / "cluster.yaml", environ={}).settings
    assert opened == {
        "sleep-runtime-nodes": set(),  # all ports, of each other's pods alone
        "sleep-runtime-clients": {settings.http.port},
        "sleep-runtime-metrics": {settings.http.port, 8080, 9101},
    }
    outside = [
        to["ipBlock"]
        for policy in of_kind(rendered("gke"), "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        for to in rule["to"]
        if "ipBlock" in to
    ]
    assert outside == [{"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}]
    head = pod_of(groups_of(cluster_of("gke"))["head"])["containers"][0]
    named = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert (named["http"], named["ray-metrics"]) == (settings.http.port, 8080)


def test_the_pod_starts_the_runtime_with_the_shipped_settings() -> None:
    data = {
        config["metadata"]["name"]: config["data"]
        for config in of_kind(rendered("gke"), "ConfigMap")
    }
    shipped = (ROOT / "configs" / "cluster.yaml").read_text("utf-8")
    assert data["sleep-runtime-config"] == {"cluster.yaml": shipped}
    head = pod_of(groups_of(cluster_of("gke"))["head"])
    container: dict[str, Any] = head["containers"][0]
    environment = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    settings = load(ROOT / "configs" / "cluster.yaml", environ=environment | {"SLEEP_CONFIG": ""})
    assert str(settings.settings.data_dir) == mounts["data"]
    assert environment["SLEEP_CONFIG"] == f"{mounts['config']}/cluster.yaml"
    assert container["command"] == ["/bin/bash", f"{mounts['head']}/head.sh"]
    assert set(data["sleep-runtime-head"]) == {"head.sh"}


def test_the_monitoring_component_is_valid_and_refuses_typos() -> None:
    folder = KUBERNETES / "components" / "monitoring"
    monitor = yaml.safe_load((folder / "servicemonitor.yaml").read_text("utf-8"))
    assert problems_of(monitor) == []
    for path in key_paths(monitor):
        assert problems_of_anything(misspelled(monitor, path)), path
    (service,) = of_kind(rendered("gke"), "Service")
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    names = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= names
    assert labels[monitor["spec"]["jobLabel"]] == "sleep-runtime"
