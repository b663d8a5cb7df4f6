"""The chart as it would be installed: rendered by Helm's own library, read as objects."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).resolve().parent.parent / "helm" / "radmeter"
PROFILES = ("single-node", "hospital", "region")
Values = dict[str, Any]
Object = dict[str, Any]

# What an installation gives beside its profile; docs/kubernetes.md shows the same.
_DATABASE = {"database": {"existingSecret": "radmeter-database"}}
_STORE = {"storage": {"s3": {"url": "s3://radmeter/objects", "existingSecret": "radmeter-s3"}}}
_HOST = {"portal": {"host": "radmeter.hospital.test"}}
_GIVEN = {
    "single-node": (_DATABASE,),
    "hospital": (_DATABASE, _STORE, _HOST),
    "region": (_DATABASE, _STORE, _HOST),
}

# Everything that can be switched on beside a profile, to look at its objects too.
EVERYTHING: Values = {
    "image": {"digest": "sha256:" + "a" * 64, "pullSecrets": ["registry"]},
    "database": {"ca": {"configMap": "database-ca"}},
    "storage": {
        "s3": {"endpoint": "https://objects.hospital.test", "region": "eu-west-3", "ca": {"configMap": "objects-ca"}}
    },
    "models": {"existingClaim": "models"},
    "destinationSecrets": {"existingSecret": "destinations"},
    "masterKeys": {"existingSecret": "master-keys", "files": ["second", "first"]},
    "secretSettings": {"RADMETER_SMTP_PASSWORD": {"secret": "mail", "key": "password"}},
    "settings": {"RADMETER_TIME_ZONE": "Asia/Shanghai", "RADMETER_ASSOCIATIONS_MAX": 128, "RADMETER_AE_TITLE": "AI"},
    "portal": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways"}]}},
    "backup": {"enabled": True, "existingClaim": "backups"},
    "heartbeat": {"minutes": 10},
    "schedules": {"reconcile": {"enabled": True, "existingClaim": "lists", "options": ["--code", "CT1=lung"]}},
    "networkPolicy": {
        "peerCidrs": ["10.1.0.0/16"],
        "databaseCidrs": ["10.2.0.5/32"],
        "objectCidrs": ["10.2.0.6/32"],
        "destinations": [{"cidr": "10.1.0.0/16", "ports": [104, 11112]}],
        "portalDestinations": [{"cidr": "10.3.0.0/16", "ports": [443]}],
        "traces": [{"cidr": "10.4.0.1/32", "ports": [4318]}],
    },
}  # fmt: skip


def merged(*layers: Values) -> Values:
    """Values as Helm lays them over one another: tables are merged, everything else is replaced."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            present = result.get(key)
            both = isinstance(value, dict) and isinstance(present, dict)
            result[key] = merged(present, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return result


def values_of(profile: str) -> Values:
    """A profile with what its installation gives."""
    return merged(
        yaml.safe_load((CHART / f"values-{profile}.yaml").read_text(encoding="utf-8")), *_GIVEN[profile]
    )


@functools.cache
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def templates(values: Values, name: str = "radmeter") -> dict[str, str]:
    """Text of each template. Raises `HelmValuesError` for what the schema refuses, `HelmRenderError` for
    contradictions."""
    chart().validate_schema(values)
    rendered = chart().render(values, name=name, namespace="imaging", is_install=True)
    return {path.removeprefix("radmeter/templates/"): text for path, text in rendered.items()}


def rendered(values: Values, name: str = "radmeter") -> list[Object]:
    """Every object, hooks too. The caller may change what it gets."""
    return copy.deepcopy(_rendered(json.dumps(values), name))


@functools.cache
def _rendered(values: str, name: str) -> list[Object]:
    return [
        found
        for path, text in templates(json.loads(values), name).items()
        if path.endswith(".yaml")
        for found in yaml.load_all(text, _NoKeyTwice)
        if found is not None
    ]


class _NoKeyTwice(yaml.CSafeLoader):
    """Kubernetes refuses what names a key twice; YAML would take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice: {keys}"
        return super().construct_mapping(node, deep)


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Objects of a kind by name."""
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """(kind/name, pod template) of everything that makes pods."""
    for found in objects:
        spec = found.get("spec") or {}
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "containers" in spec.get("template", {}).get("spec", {}):
            yield f"{found['kind']}/{found['metadata']['name']}", spec["template"]


def containers(template: Object) -> list[Object]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def selects(labels: dict[str, str], selector: Object) -> bool:
    """Whether a label selector of Kubernetes, or a Service's plain one, takes these labels."""
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        selector = {"matchLabels": selector}
    for rule in selector.get("matchExpressions", []):
        if rule["operator"] != "NotIn":
            raise AssertionError(f"an operator that the tests do not know: {rule}")
        if labels.get(rule["key"]) in rule["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def variants() -> dict[str, Values]:
    """Each profile, and the same with all that can be switched on."""
    plain = {profile: values_of(profile) for profile in PROFILES}
    full = {
        f"{profile} with everything": merged(values, EVERYTHING)
        for profile, values in plain.items()
        if profile != "single-node"
    }
    gpu = {
        "worker": {"gpu": {"count": 1}, "runtimeClassName": "nvidia"},
        "inference": {"provider": "tensorrt", "precision": "fp16"},
    }
    claim = {"storage": {"kind": "claim", "claim": {"accessMode": "ReadWriteMany", "storageClass": "nfs"}}}
    bucket = {
        "triton": {"repository": {"kind": "s3", "url": "s3://models/triton", "existingSecret": "models"}}
    }
    return {
        **plain,
        **full,
        "hospital with GPUs in the workers": merged(plain["hospital"], gpu),
        "hospital with a shared volume": merged(plain["hospital"], claim),
        "region with models in a bucket": merged(plain["region"], bucket),
        "region by NodePort": merged(
            plain["region"],
            {"gateway": {"service": {"type": "NodePort", "tlsNodePort": 30762}, "plain": False}},
        ),
    }


VARIANTS = variants()


def leaves_of_schema() -> set[str]:
    """Every value that the schema knows, as a.b.c; a table that an installation fills as it likes is one value."""
    schema = chart().schema
    assert schema is not None

    def leaves(node: Object, path: str) -> set[str]:
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")] if "$ref" in node else node
        is_open = not node.get("properties") or "required" in node or path in ("settings", "secretSettings")
        if is_open:
            return {path}
        inside = (leaves(part, f"{path}.{name}".lstrip(".")) for name, part in node["properties"].items())
        return set().union(*inside)

    return leaves(schema, "")
