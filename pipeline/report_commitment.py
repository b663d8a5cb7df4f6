"""The job that brings a peer the result of its storage commitment, apart from what the gateway needs to decide it."""

from __future__ import annotations

import logging

from dicom_gateway.report_commitment import report_commitment
from dicom_gateway.scu_association import Destination
from pipeline import commitment, store
from pipeline.database import Database
from pipeline.errors import CommitmentNotReported

log = logging.getLogger("radmeter.commitment")


def report(database: Database, tenant: str, ae_title: str, transaction_uid: str) -> None:
    """Bring the peer its report, unless it has it; raises `CommitmentNotReported` to be tried again."""
    with database.transaction(tenant) as conn:
        row = commitment.load(conn, tenant, ae_title, transaction_uid)
        peer = store.get_peer(conn, tenant, ae_title)
        calling = store.get_tenant(conn, tenant)["called_ae_title"]
    if row["reported_at"] is not None:
        return
    if peer is None or not peer["host"]:
        error: str | None = "the peer is not known by an address"
    else:
        error = report_commitment(
            Destination(peer["host"], peer["port"], ae_title, calling), commitment.result_of(row)
        )
    with database.transaction(tenant) as conn:
        commitment.note_report(conn, tenant, ae_title, transaction_uid, error)
    if error is not None:
        raise CommitmentNotReported(error)
    log.info("commitment_reported", extra={"tenant": tenant})
