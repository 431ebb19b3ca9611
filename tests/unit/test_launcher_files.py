"""The files for Ray's launcher: valid, safe against typos, every command one that a shell reads."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
from cluster_files import CLUSTER, LAUNCHERS, ROOT, Document, key_paths, misspelled, read
from kuberay_keys import START_OPTIONS
from ray.autoscaler._private.util import prepare_config, validate_config

from sleep_runtime.core.pool import IDLE_RESOURCE as RESOURCE

SCHEMA = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text("utf-8"))
PROVIDER = set(SCHEMA["properties"]["provider"]["properties"])
TOP = set(SCHEMA["properties"]) | {"min_workers"}  # which the launcher moves for own machines

# What a cloud's call for a machine knows, as far as ours goes; Ray passes node_config on unread.
# EC2: RunInstances. Compute Engine: instances.insert.
NODE_CONFIG: dict[str, dict[str, Any]] = {
    "aws": {
        "InstanceType": {},
        "ImageId": {},
        "InstanceMarketOptions": {"MarketType": {}},
        "MetadataOptions": {"HttpTokens": {}},
        "BlockDeviceMappings": {
            "DeviceName": {},
            "Ebs": {"VolumeSize": {}, "VolumeType": {}, "Encrypted": {}},
        },
    },
    "gcp": {
        "machineType": {},
        "disks": {
            "boot": {},
            "autoDelete": {},
            "type": {},
            "initializeParams": {"diskSizeGb": {}, "sourceImage": {}},
        },
        "scheduling": {
            "provisioningModel": {},
            "instanceTerminationAction": {},
            "automaticRestart": {},
            "onHostMaintenance": {},
        },
    },
    "local": {},
}
NEEDED = {"aws": {"InstanceType", "ImageId"}, "gcp": {"machineType", "disks"}, "local": set()}
CLOUDS = ["aws.yaml", "gcp.yaml"]


def problems_of(config: Document) -> list[str]:
    """What Ray or the cloud would refuse, or not notice."""
    provider = config.get("provider", {})
    problems = [f"{name} is not known" for name in sorted(config.keys() - TOP)]
    problems += [f"provider.{name} is not known" for name in sorted(provider.keys() - PROVIDER)]
    if problems:
        return problems
    try:
        prepared = prepare_config(copy.deepcopy(config))
        validate_config(prepared)
    except (jsonschema.ValidationError, ValueError, KeyError) as error:
        return [str(error)]
    except SystemExit as error:  # so the launcher gives up
        return [f"refused by the launcher: {error}"]
    for name, node_type in prepared["available_node_types"].items():
        problems += _node_type(node_type, provider["type"], name)
    return problems


def _node_type(node_type: Document, cloud: str, name: str) -> Iterator[str]:
    config = node_type["node_config"]
    yield from _unknown(config, NODE_CONFIG[cloud], f"{name}.node_config")
    for missing in sorted(NEEDED[cloud] - config.keys()):
        yield f"{name}.node_config.{missing} is missing"
    for resource in sorted(node_type["resources"].keys() - {"CPU", "GPU", RESOURCE}):
        yield f"{name}.resources.{resource} is not known"
    for label in sorted(node_type.get("labels", {}).keys() - {"pool"}):
        yield f"{name}.labels.{label} is not known"


def _unknown(part: Any, known: dict[str, Any], where: str) -> Iterator[str]:
    for entry in part if isinstance(part, list) else [part]:
        if isinstance(entry, dict):
            for key, value in entry.items():
                if key not in known:
                    yield f"{where}.{key} is not known"
                else:
                    yield from _unknown(value, known[key], f"{where}.{key}")


def commands_of(config: Document) -> Iterator[str]:
    for part in (config, *config.get("available_node_types", {}).values()):
        for name, commands in part.items():
            if name.endswith("_commands"):
                yield from commands


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_file_is_valid(name: str) -> None:
    assert LAUNCHERS == ["aws.yaml", "gcp.yaml", "onprem.yaml"]
    assert problems_of(read(CLUSTER / name)) == []


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_misspelled_key_of_a_launcher_file_is_refused(name: str) -> None:
    config = read(CLUSTER / name)
    paths = [
        path
        for path in key_paths(config, free={"file_mounts"})
        if path[:-1] != ("available_node_types",)  # names of our own choice
    ]
    assert len(paths) >= 20
    assert [path for path in paths if not problems_of(misspelled(config, path))] == []


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_has_control_live_and_idle_nodes(name: str) -> None:
    config = prepare_config(read(CLUSTER / name))
    types = config["available_node_types"]
    assert config["head_node_type"] == "control"
    shape = {
        kind: (spec["min_workers"], spec["max_workers"], spec["resources"], spec["labels"])
        for kind, spec in types.items()
    }
    assert shape == {
        "control": (0, 0, {"CPU": 0}, {"pool": "control"}),
        "live": (1, 4, {"CPU": 4}, {"pool": "live"}),
        "idle_pool": (0, 2, {"CPU": 8, "GPU": 1, RESOURCE: 1}, {"pool": "idle"}),
    }
    assert types["idle_pool"]["idle_timeout_s"] < config["idle_timeout_minutes"] * 60
    assert config["max_workers"] == sum(spec["max_workers"] for spec in types.values())


def test_only_idle_nodes_of_a_cloud_may_be_taken_away() -> None:
    aws = read(CLUSTER / "aws.yaml")["available_node_types"]
    spot = {name for name, spec in aws.items() if "InstanceMarketOptions" in spec["node_config"]}
    gcp = read(CLUSTER / "gcp.yaml")["available_node_types"]
    preemptible = {
        name
        for name, spec in gcp.items()
        if spec["node_config"].get("scheduling", {}).get("provisioningModel") == "SPOT"
    }
    assert spot == preemptible == {"idle_pool"}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_idle_nodes_alone_get_what_a_gpu_needs(name: str) -> None:
    config = read(CLUSTER / name)
    with_extra = [c for c in commands_of(config) if "gpu.lock" in c or "extra=gpu" in c]
    assert len(with_extra) == 1
    if name in CLOUDS:
        assert with_extra[0] in config["available_node_types"]["idle_pool"]["worker_setup_commands"]
    else:
        assert "if [ -e /etc/sleep-runtime/idle ]" in with_extra[0]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_command_is_one_a_shell_can_read(name: str) -> None:
    for command in commands_of(read(CLUSTER / name)):
        done = subprocess.run(
            ["bash", "-n", "-c", command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_is_started_with_options_it_has_and_the_shared_environment(name: str) -> None:
    config = read(CLUSTER / name)
    for role in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = [command for command in config[role] if "ray start" in command]
        assert start.startswith("set -a; . ~/sleep-runtime/ray.env; set +a;")
        for words in re.findall(r"ray start (.*?)(?:;|$)", start):
            options = set(re.findall(r"--([a-z-]+)", words))
            assert options <= START_OPTIONS, options - START_OPTIONS
    assert any("--autoscaling-config" in command for command in config["head_start_ray_commands"])


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_is_copied_to_the_nodes_exists_and_the_token_stays_private(name: str) -> None:
    config = read(CLUSTER / name)
    mounts = config["file_mounts"]
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"
    for source in mounts.values():
        assert source in ("dist", "~/.ray/auth_token") or (ROOT / source).exists(), source
    closing = "chmod 600 ~/.ray/auth_token"
    assert any(closing in command for command in config["setup_commands"])
    for node_type in config.get("available_node_types", {}).values():
        own = node_type.get("worker_setup_commands")  # replaces the shared ones
        assert own is None or any(closing in command for command in own)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    text = (CLUSTER / "aws.yaml").read_text("utf-8")
    bent = tmp_path / "aws.yaml"
    bent.write_text(text + "\nmax_workers: 7\n", "utf-8")
    with pytest.raises(ValueError, match="max_workers is given twice"):
        read(bent)
