"""What an operator's own rules ask of every pod, and whether all that one object says of another is true."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest

from tests.helm_chart import VARIANTS, Object, containers, of_kind, pods, rendered, selects

# What an installation makes beside the release, as its values name it.
EXTERNAL = {
    ("Secret", "radmeter-database"), ("Secret", "radmeter-s3"), ("Secret", "radmeter-dicom-tls"),
    ("Secret", "radmeter-portal-tls"), ("Secret", "radmeter-keda"), ("Secret", "registry"),
    ("Secret", "destinations"), ("Secret", "master-keys"), ("Secret", "mail"), ("Secret", "models"),
    ("ConfigMap", "database-ca"), ("ConfigMap", "objects-ca"),
    ("PersistentVolumeClaim", "models"), ("PersistentVolumeClaim", "lists"), ("PersistentVolumeClaim", "backups"),
}  # fmt: skip


@pytest.fixture(params=VARIANTS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(VARIANTS[request.param])


def each_container(objects: list[Object]) -> list[tuple[str, Object]]:
    return [
        (f"{where}/{one['name']}", one) for where, template in pods(objects) for one in containers(template)
    ]


def amount(text: Any) -> Fraction:
    """A quantity of Kubernetes."""
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    powers = {"": 1, "m": Fraction(1, 1000), "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
    return Fraction(number) * powers[unit]


class TestPods:
    def test_none_runs_as_root_or_talks_to_kubernetes(self, objects: list[Object]) -> None:
        accounts = of_kind(objects, "ServiceAccount")
        for where, template in pods(objects):
            spec = template["spec"]
            security = spec["securityContext"]
            assert security["runAsNonRoot"] is True, where
            assert security["runAsUser"] >= 1000, where
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert spec["automountServiceAccountToken"] is False, where
            assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False, where
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), where

    def test_no_container_can_gain_rights_or_write_beside_its_volumes(self, objects: list[Object]) -> None:
        for where, one in each_container(objects):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "privileged": False,
                "capabilities": {"drop": ["ALL"]},
            }, where

    def test_every_container_asks_for_what_it_needs_and_has_a_limit(self, objects: list[Object]) -> None:
        for where, one in each_container(objects):
            wanted, most = one["resources"]["requests"], one["resources"]["limits"]
            for what in ("cpu", "memory"):
                assert 0 < amount(wanted[what]) <= amount(most[what]), f"{where}: {what}"
            # What lies in an emptyDir counts against it, and the cache alone is larger than a guess.
            assert "ephemeral-storage" not in most, where

    def test_every_image_is_pinned(self, objects: list[Object]) -> None:
        for where, one in each_container(objects):
            assert re.fullmatch(r"[\w./-]+(:(?!latest)[\w.-]+|@sha256:[0-9a-f]{64})", one["image"]), where

    def test_what_serves_is_asked_whether_it_lives(self, objects: list[Object]) -> None:
        for where, template in pods(objects):
            if not where.startswith("Deployment"):
                continue
            for one in template["spec"]["containers"]:
                ports = {port["name"]: port["containerPort"] for port in one["ports"]}
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    asked = one[probe].get("httpGet") or one[probe]["grpc"]
                    assert asked["port"] in ports or asked["port"] in ports.values(), f"{where}: {probe}"
                patience_s = one["livenessProbe"]["periodSeconds"] * one["livenessProbe"]["failureThreshold"]
                assert patience_s >= 60, f"{where}: a busy moment is no reason to kill"

    def test_what_drains_gets_the_time_for_it(self, objects: list[Object]) -> None:
        for where, template in pods(objects):
            for one in template["spec"]["containers"]:
                drain = [v["value"] for v in one.get("env", []) if v["name"] == "RADMETER_DRAIN_S"]
                if where.startswith("Deployment") and not where.endswith(("triton", "backup")):
                    assert len(drain) == 1, where
                    sleep = one.get("lifecycle", {}).get("preStop", {}).get("exec", {"command": ["", "0"]})
                    needed_s = float(drain[0]) + float(sleep["command"][1])
                    assert needed_s < template["spec"]["terminationGracePeriodSeconds"], where

    def test_replicas_are_spread_over_zones_and_nodes(self, objects: list[Object]) -> None:
        for where, template in pods(objects):
            if where.startswith("Deployment"):
                rules = template["spec"]["topologySpreadConstraints"]
                assert {rule["topologyKey"].rsplit("/")[-1] for rule in rules} == {"zone", "hostname"}, where
                labels = template["metadata"]["labels"]
                assert all(selects(labels, rule["labelSelector"]) for rule in rules), where

    def test_what_serves_goes_before_what_works_off_a_queue(self, objects: list[Object]) -> None:
        classes = {name: one["value"] for name, one in of_kind(objects, "PriorityClass").items()}
        values = {
            where.rsplit("-", 1)[-1]: classes[template["spec"]["priorityClassName"]]
            for where, template in pods(objects)
            if where.startswith("Deployment")
        }
        assert values["gateway"] == values["portal"] > values["worker"]

    def test_every_volume_is_mounted_and_every_mount_has_its_volume(self, objects: list[Object]) -> None:
        for where, template in pods(objects):
            volumes = {volume["name"] for volume in template["spec"]["volumes"]}
            mounted = {mount["name"] for one in containers(template) for mount in one["volumeMounts"]}
            assert volumes == mounted, where
            for volume in template["spec"]["volumes"]:
                assert "hostPath" not in volume, where
                if "emptyDir" in volume:
                    assert amount(volume["emptyDir"]["sizeLimit"]) > 0, (
                        f"{where}: a node's disk is not endless"
                    )


class TestReferences:
    def test_a_workload_selects_its_own_pods_and_nobody_elses(self, objects: list[Object]) -> None:
        workloads = of_kind(objects, "Deployment")
        for name, found in workloads.items():
            chosen = [
                other
                for other, one in workloads.items()
                if selects(one["spec"]["template"]["metadata"]["labels"], found["spec"]["selector"])
            ]
            assert chosen == [name]

    def test_every_service_has_pods_with_the_ports_it_sends_to(self, objects: list[Object]) -> None:
        for name, service in of_kind(objects, "Service").items():
            chosen = [
                t for _, t in pods(objects) if selects(t["metadata"]["labels"], service["spec"]["selector"])
            ]
            assert len(chosen) == 1, f"{name} leads to {len(chosen)} kinds of pods"
            ports = {port["name"] for one in chosen[0]["spec"]["containers"] for port in one["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name

    def test_peers_are_known_by_their_own_address(self, objects: list[Object]) -> None:
        service = next(one for name, one in of_kind(objects, "Service").items() if name.endswith("-gateway"))
        assert service["spec"]["type"] in ("LoadBalancer", "NodePort")
        assert service["spec"]["externalTrafficPolicy"] == "Local"

    def test_every_secret_map_and_claim_is_made_here_or_named_by_the_installation(
        self, objects: list[Object]
    ) -> None:
        made = {(found["kind"], found["metadata"]["name"]) for found in objects}
        missing = {reference for found in objects for reference in references(found)} - made - EXTERNAL
        assert missing == set()

    def test_no_secret_stands_in_a_manifest(self, objects: list[Object]) -> None:
        assert of_kind(objects, "Secret") == {}
        suspicious = re.compile(r"PASSWORD|SECRET|TOKEN|API_KEY|ACCESS_KEY|DATABASE_URL|STRIPE")
        for found in of_kind(objects, "ConfigMap").values():
            assert [name for name in found["data"] if suspicious.search(name)] == []
        for where, one in each_container(objects):
            named = {v["name"]: v for v in one.get("env", []) if suspicious.search(v["name"])}
            assert [
                f"{where}: {name}" for name, v in named.items() if "secretKeyRef" not in v["valueFrom"]
            ] == []

    def test_an_ingress_leads_to_a_port_of_a_service_by_tls(self, objects: list[Object]) -> None:
        services = of_kind(objects, "Service")
        for ingress in of_kind(objects, "Ingress").values():
            assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"] for rule in ingress["spec"]["rules"]]
            backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
            assert backend["port"]["name"] in {p["name"] for p in services[backend["name"]]["spec"]["ports"]}
        for route in of_kind(objects, "HTTPRoute").values():
            backend = route["spec"]["rules"][0]["backendRefs"][0]
            assert backend["port"] in {p["port"] for p in services[backend["name"]]["spec"]["ports"]}

    def test_a_node_can_always_be_emptied(self, objects: list[Object]) -> None:
        workloads = of_kind(objects, "Deployment")
        scaled = {
            one["spec"]["scaleTargetRef"]["name"]: one for one in of_kind(objects, "ScaledObject").values()
        }
        budgets = of_kind(objects, "PodDisruptionBudget")
        assert set(budgets) == set(workloads)
        for name, budget in budgets.items():
            least = workloads[name]["spec"].get("replicas") or scaled[name]["spec"]["minReplicaCount"]
            assert selects(
                workloads[name]["spec"]["template"]["metadata"]["labels"], budget["spec"]["selector"]
            )
            assert budget["spec"].get("maxUnavailable", 0) >= 1 or budget["spec"]["minAvailable"] < least

    def test_the_migration_and_what_it_needs_come_before_everything(self, objects: list[Object]) -> None:
        hooks = {
            (found["kind"], found["metadata"]["name"]): found["metadata"]["annotations"]
            for found in objects
            if "helm.sh/hook" in found["metadata"].get("annotations", {})
        }
        assert all(one["helm.sh/hook"] == "pre-install,pre-upgrade" for one in hooks.values())
        weight = {kind: int(one["helm.sh/hook-weight"]) for (kind, _), one in hooks.items()}
        assert weight["Job"] > weight["ServiceAccount"] == weight["NetworkPolicy"]
        job = next(found for found in objects if found["kind"] == "Job")
        there = {reference for kind, name in hooks for reference in [(kind, name)]} | EXTERNAL
        assert set(references(job)) <= there, "a hook that waits for an object of the release waits for ever"


def references(node: Any) -> list[tuple[str, str]]:
    """(kind, name) of each Secret, ConfigMap, claim, account and class that this object names."""
    if isinstance(node, list):
        return [found for part in node for found in references(part)]
    if not isinstance(node, dict):
        return []
    found = []
    for key, value in node.items():
        if key in ("secretKeyRef", "configMapKeyRef", "secretRef", "configMapRef"):
            found.append(("Secret" if key.startswith("secret") else "ConfigMap", value["name"]))
        elif key == "secret" and isinstance(value, dict):
            found.append(("Secret", value["secretName"]))
        elif key == "configMap":
            found.append(("ConfigMap", value["name"]))
        elif key == "persistentVolumeClaim":
            found.append(("PersistentVolumeClaim", value["claimName"]))
        elif key == "serviceAccountName":
            found.append(("ServiceAccount", value))
        elif key == "priorityClassName":
            found.append(("PriorityClass", value))
        elif key == "secretTargetRef" or key == "imagePullSecrets":
            found += [("Secret", one["name"]) for one in value]
        elif key == "tls" and isinstance(value, list):
            found += [("Secret", one["secretName"]) for one in value]
        else:
            found += references(value)
    return found
