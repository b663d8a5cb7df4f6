"""Wrong values are refused before anything is installed, with a sentence that says what to do."""

from __future__ import annotations

import helm_python
import pytest

from tests.helm_chart import Values, merged, templates, values_of

CONTRADICTIONS: list[tuple[str, Values, str]] = [
    ("hospital", {"database": {"existingSecret": ""}}, "database.existingSecret is empty: make a Secret"),
    ("hospital", {"image": {"tag": "latest"}}, "image.tag is latest, which names another image tomorrow"),
    ("region", {"triton": {"image": {"tag": "latest"}}}, "triton.image.tag is latest"),
    ("hospital", {"storage": {"s3": {"url": ""}}}, "storage.s3.url is empty: give s3://bucket/prefix"),
    ("single-node", {"gateway": {"replicas": 3}}, "gateway.replicas is 3 and the volume is ReadWriteOnce"),
    ("single-node", {"worker": {"replicas": 2}}, "worker.replicas or portal.replicas is more than 1"),
    ("hospital", {"gateway": {"tls": {"existingSecret": ""}}}, "gateway.tls.enabled needs gateway.tls.existingSecret"),
    ("single-node", {"gateway": {"plain": False}}, "no DICOM port would be open"),
    ("hospital", {"portal": {"ingress": {"tlsSecret": ""}}}, "people sign in there, which takes TLS"),
    ("hospital", {"portal": {"host": ""}}, "portal.host is empty: name the host"),
    ("hospital", {"portal": {"httpRoute": {"enabled": True}}}, "name the Gateway that it belongs to"),
    ("hospital", {"inference": {"engine": "triton"}}, "no Triton is there: set triton.enabled, or triton.url"),
    ("region", {"inference": {"engine": "openvino"}}, "Triton is configured and inference.engine is openvino"),
    ("region", {"triton": {"url": "grpc://other:8001"}}, "which of the two servers is meant"),
    ("region", {"triton": {"repository": {"kind": "claim"}}}, "name it in triton.repository.existingClaim"),
    ("region", {"triton": {"repository": {"kind": "s3"}}}, "needs triton.repository.url and"),
    ("region", {"triton": {"gpu": {"count": 0}}}, "triton.accelerator is cuda and triton.gpu.count is 0"),
    ("hospital", {"inference": {"provider": "cuda"}}, "inference.provider is cuda and worker.gpu.count is 0"),
    ("hospital", {"worker": {"gpu": {"count": 1}}}, "nothing in the worker uses a GPU"),
    ("region", {"keda": {"existingSecret": ""}}, "keda.enabled needs keda.existingSecret"),
    ("region", {"keda": {"minReplicas": 31}}, "keda.minReplicas 31 is more than keda.maxReplicas 30"),
    ("region", {"gateway": {"minAvailable": 6}}, "gateway.minAvailable 6 of 6 replicas: no node"),
    ("region", {"worker": {"minAvailable": 6}}, "worker.minAvailable 6 of 6 replicas"),
    ("hospital", {"backup": {"enabled": True}}, "backup.enabled needs backup.existingClaim"),
    ("hospital", {"masterKeys": {"existingSecret": "keys"}}, "masterKeys.existingSecret needs masterKeys.files"),
    ("hospital", {"schedules": {"reconcile": {"enabled": True}}}, "needs schedules.reconcile.existingClaim"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "change", "sentence"), CONTRADICTIONS, ids=[c[2][:40] for c in CONTRADICTIONS]
)
def test_values_that_contradict_one_another_are_refused(profile: str, change: Values, sentence: str) -> None:
    with pytest.raises(helm_python.HelmRenderError) as refused:
        templates(merged(values_of(profile), change))
    assert sentence in str(refused.value)


def test_all_contradictions_are_told_at_once() -> None:
    change = {"database": {"existingSecret": ""}, "portal": {"host": ""}}
    with pytest.raises(helm_python.HelmRenderError) as refused:
        templates(merged(values_of("hospital"), change))
    assert "database.existingSecret is empty" in str(refused.value)
    assert "portal.host is empty" in str(refused.value)


NOT_POSSIBLE: list[tuple[Values, str]] = [
    ({"gatway": {"replicas": 2}}, "'gatway' not allowed"),
    ({"gateway": {"replica": 2}}, "'/gateway': additional properties 'replica' not allowed"),
    ({"gateway": {"replicas": "two"}}, "'/gateway/replicas': got string, want integer"),
    ({"gateway": {"replicas": 0}}, "'/gateway/replicas': minimum: got 0, want 1"),
    ({"gateway": {"service": {"nodePort": 104}}}, "'/gateway/service/nodePort'"),
    ({"gateway": {"service": {"type": "ExternalName"}}}, "'/gateway/service/type': value must be one of"),
    ({"worker": {"concurrency": 65}}, "'/worker/concurrency': maximum: got 65, want 64"),
    ({"worker": {"resources": {"limits": {"cpu": "1", "memory": "much"}}}}, "'/worker/resources/limits/memory'"),
    ({"image": {"digest": "sha256:abc"}}, "'/image/digest'"),
    ({"storage": {"s3": {"url": "https://bucket"}}}, "'/storage/s3/url'"),
    ({"storage": {"kind": "nfs"}}, "'/storage/kind': value must be one of 's3', 'claim'"),
    ({"settings": {"RADMETER_TIMEZONE": "UTC"}}, "'RADMETER_TIMEZONE' not allowed"),
    ({"settings": {"RADMETER_DATABASE_URL": "postgresql://u:p@h/d"}}, "'RADMETER_DATABASE_URL' not allowed"),
    ({"settings": {"RADMETER_SMTP_PASSWORD": "hunter2"}}, "'RADMETER_SMTP_PASSWORD' not allowed"),
    ({"secretSettings": {"RADMETER_SMTP_PASSWORD": "hunter2"}}, "'/secretSettings/RADMETER_SMTP_PASSWORD'"),
    ({"networkPolicy": {"peerCidrs": ["pacs.hospital.test"]}}, "'/networkPolicy/peerCidrs/0'"),
    ({"networkPolicy": {"destinations": [{"cidr": "10.0.0.0/8"}]}}, "missing property 'ports'"),
    ({"schedules": {"jobs": {"ledger-check": {"schedule": "daily"}}}}, "/schedule'"),
    ({"schedules": {"jobs": {"worker": {"enabled": False}}}}, "/schedules/jobs"),
    ({"schedules": {"reconcile": {"file": "../$(id).csv"}}}, "'/schedules/reconcile/file'"),
    ({"triton": {"load": []}}, "'/triton/load': minItems: got 0, want 1"),
    ({"triton": {"acceleratorOptions": ["FP16"]}}, "'/triton/acceleratorOptions/0'"),
    ({"inference": {"engine": "torch"}}, "'/inference/engine': value must be one of"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), NOT_POSSIBLE)
def test_a_value_that_cannot_be_is_refused_with_its_path(change: Values, words: str) -> None:
    with pytest.raises(helm_python.HelmValuesError) as refused:
        templates(merged(values_of("hospital"), change))
    assert words in str(refused.value)


def test_a_name_that_would_run_as_shell_text_reaches_no_shell() -> None:
    """Options of the reconciliation are arguments; the shell's own text is the chart's alone."""
    import yaml

    options = ["--code", "$(touch /tmp/x); `id`"]
    change = {"schedules": {"reconcile": {"enabled": True, "existingClaim": "lists", "options": options}}}
    text = templates(merged(values_of("hospital"), change))["schedules.yaml"]
    jobs = {job["metadata"]["name"]: job for job in yaml.safe_load_all(text) if job}
    container = jobs["radmeter-reconcile"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-2:] == options
    assert "touch" not in container["args"][0]
