"""Send files to a destination by the protocol that it speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.errors import TLSFilesUnusable
from dicom_gateway.scu_association import Destination
from dicom_gateway.tls import client_context
from pipeline.destinations import DestinationRecord
from pipeline.errors import SecretMissing

OnOutcome = Callable[[DeliveryOutcome], None]


def send_objects(
    paths: Sequence[Path],
    target: DestinationRecord,
    *,
    calling_ae_title: str,
    secrets: Path | None,
    on_outcome: OnOutcome,
) -> None:
    """Send each file once and tell what became of it. What is wrong with the destination is an outcome."""
    try:
        node = dimse_node(target, calling_ae_title=calling_ae_title, secrets=secrets)
    except (SecretMissing, TLSFilesUnusable) as error:
        for path in paths:
            on_outcome(DeliveryOutcome("", None, False, str(error), path))
        return
    send_instances(paths, node, on_outcome)


def dimse_node(target: DestinationRecord, *, calling_ae_title: str, secrets: Path | None) -> Destination:
    """The DICOM node of a destination. Raises `SecretMissing` or `TLSFilesUnusable`."""
    assert target.host is not None
    assert target.port is not None
    assert target.ae_title is not None
    tls = None
    if target.use_tls:
        tls = client_context(
            authorities=secret_path(secrets, target.authority_file),
            certificate=secret_path(secrets, target.certificate_file),
        )
    return Destination(
        host=target.host,
        port=target.port,
        called_ae_title=target.ae_title,
        calling_ae_title=calling_ae_title,
        dimse_timeout_s=target.response_timeout_s,
        tls=tls,
    )


def secret_path(secrets: Path | None, name: str | None) -> Path | None:
    """The file of that name in the folder of secrets; its path is never shown."""
    if name is None:
        return None
    path = secrets / name if secrets is not None else None
    if path is None or not path.is_file():
        raise SecretMissing(name)
    return path
