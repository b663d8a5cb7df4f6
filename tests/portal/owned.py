"""What one tenant has of everything, and the mark that must never show to another."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from psycopg.types.json import Jsonb
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from billing.books import reconcile
from billing.books.reconcile import Reconciliation
from billing.claims import credit_notes
from billing.contracts import store as billing_store
from billing.guarding import wallet_sale
from billing.splits import payout_statement
from billing.statements import statement
from dicom_gateway.instance_store import locate
from pipeline import rule_store
from pipeline.database import Connection
from tests.billing.limits_builders import MEMBERSHIP
from tests.portal.portal_site import Site
from tests.portal.report_seed import small_report
from tests.portal.seeds import add_contract, add_result, add_usage, write_report
from tests.result_builders import ball, synthetic_headers, volume_of

LAST_MONTH = (datetime.now(UTC).replace(day=1) - timedelta(days=10)).replace(hour=12)


@dataclass(frozen=True)
class Owned:
    """What one tenant has, and the mark that must never show anywhere else."""

    tenant: str
    mark: str
    study_id: str
    statement_id: int
    contract_id: int
    ae_title: str
    image: str
    ingest_sequence: int
    payout_statement_id: int
    credit_note_id: int
    reconciliation_id: int
    wallet_contract_id: int
    study_instance_uid: str


def payee_of(tenant: str) -> str:
    return f"maker-of-{tenant}"


def workitem_of(tenant: str) -> str:
    return f"2.25.{int.from_bytes(tenant.encode(), 'big')}"


def fill(site: Site, tenant: str) -> Owned:
    mark = f"MARK{tenant.upper()}"
    header = {"patient_name": mark, "patient_id": mark, "accession_number": mark, "description": mark}
    study_instance_uid = f"2.25.{zlib.crc32(tenant.encode())}"
    study_id = site.add_study(tenant, header=header, study_instance_uid=study_instance_uid)
    add_image(site, tenant, study_id, study_instance_uid, mark)
    view = small_report(study_id, patient_name=mark)
    write_report(site, study_id, view, with_pdf=False)
    pdf = site.context.results_root / study_id / "1/report.pdf"
    pdf.write_bytes(b"%PDF-1.7 " + mark.encode())
    volume = volume_of(synthetic_headers())
    add_result(site, tenant, study_id, [ball(volume, (0.0, 0.0, 10.0), 8.0)])
    contract_id = add_contract(site, tenant, (payee_of(tenant), mark))
    add_usage(site, tenant, study_id, occurred_at=LAST_MONTH)
    add_usage(site, tenant, study_id, question="another one")
    now = datetime.now(UTC)
    with site.database.transaction(tenant) as conn:
        statement.issue(conn, tenant, contract_id, LAST_MONTH)
        (account,) = payout_statement.accounts(conn, tenant)
        paid = payout_statement.issue(conn, account, LAST_MONTH, by="seed", now=now)
        issued = statement.issue(conn, tenant, contract_id, now, close_early=True)
        note = credit_notes.issue(
            conn, tenant, issued.statement_id or 0, None, reason="too much", by="seed", now=now
        )
        compared = compare(conn, tenant, mark)
        wallet_contract_id = billing_store.add_contract(conn, tenant, MEMBERSHIP)
        package = (wallet_contract_id, "three-screenings", "P-1")
        wallet_sale.sell(conn, tenant, *package, member=f"member-{mark}", now=now)
    ae_title = f"PEER{tenant.upper()}"
    site.owner.execute(
        "INSERT INTO peer (tenant, ae_title, host, port) VALUES (%s, %s, 'pacs.test', 104)",
        (tenant, ae_title),
    )
    site.owner.execute(
        """INSERT INTO workitem (tenant, uid, ae_title, attributes, is_ours) VALUES (%s, %s, %s, %s, false)""",
        (
            tenant,
            workitem_of(tenant),
            ae_title,
            Jsonb({"00100010": {"vr": "PN", "Value": [{"Alphabetic": mark}]}}),
        ),
    )
    site.owner.execute(
        """INSERT INTO destination (tenant, name, kind, ae_title, host, port)
           VALUES (%s, %s, 'dimse', 'X', 'pacs.test', 104)""",
        (tenant, f"DEST{mark}"),
    )
    site.owner.execute(
        """INSERT INTO model_health_day (tenant, day, product, model_version, site, dimension, value, count)
           VALUES (%s, %s, %s, '1', %s, 'status', 'completed', 1)""",
        (tenant, datetime.now(UTC).date(), f"model-of-{tenant}", mark),
    )
    with site.database.transaction(tenant) as conn:
        rules = f"rules:\n  - {{name: {mark}, models: [lung_nodule_ct]}}\n"
        rule_store.add_rule_set(conn, tenant, rules, author=mark, note=mark)
        recorded = billing_store.usage_of_statement(conn, tenant, issued)
    assert issued.statement_id is not None
    image = view.key_images[0].name
    sequence = recorded[0].ingest_sequence
    assert paid.payout_statement_id is not None
    return Owned(
        tenant,
        mark,
        study_id,
        issued.statement_id,
        contract_id,
        ae_title,
        image,
        sequence,
        paid.payout_statement_id,
        note.credit_note_id,
        compared.reconciliation_id,
        wallet_contract_id,
        study_instance_uid,
    )


def add_image(site: Site, tenant: str, study_id: str, study_uid: str, mark: str) -> None:
    """One received instance with pixels and with the tenant's mark in its header."""
    (image,) = synthetic_headers(1, 16, PatientName=mark, PatientID=mark, StudyInstanceUID=study_uid)
    image.SeriesInstanceUID, image.SOPInstanceUID = f"{study_uid}.1", f"{study_uid}.1.1"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.add_new(0x00281201, "OW", bytes(2048))
    image.PixelData = bytes(16 * 16 * 2)
    location = locate(tenant, study_uid, image.SeriesInstanceUID, image.SOPInstanceUID, mark)
    path = site.context.instances_root / location
    path.parent.mkdir(parents=True)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    site.owner.execute(
        """WITH arrived AS (
             INSERT INTO arrival (tenant, study_id, ae_title, first_at, new_count, closed_at, outcome)
             VALUES (%(tenant)s, %(study)s, 'PACS', now(), 1, now(), 'assembled') RETURNING id)
           INSERT INTO instance (tenant, sop_instance_uid, study_id, series_instance_uid, sop_class_uid,
                                 transfer_syntax_uid, modality, location, blake3, size_bytes, arrival_id)
           SELECT %(tenant)s, %(sop)s, %(study)s, %(series)s, %(class)s, %(syntax)s, 'CT', %(location)s, %(mark)s, 1,
                  id FROM arrived""",
        {
            "tenant": tenant, "study": study_id, "sop": image.SOPInstanceUID, "series": image.SeriesInstanceUID,
            "class": image.SOPClassUID, "syntax": ExplicitVRLittleEndian, "location": location, "mark": mark,
        },
    )  # fmt: skip


def compare(conn: Connection, tenant: str, mark: str) -> Reconciliation:
    content = f"token,code,day,quantity\n{'ab' * 32},lung_nodule_ct,{LAST_MONTH:%Y-%m-%d},1\n".encode()
    day = LAST_MONTH.date()
    return reconcile.reconcile(
        conn, tenant, content, style="csv", since=day, until=day, by=mark, now=datetime.now(UTC)
    )


def address(path: str, own: Owned) -> str:
    """A route's template with one tenant's ids."""
    values = {
        "study_id": own.study_id,
        "statement_id": str(own.statement_id),
        "name": own.image,
        "line_number": "1",
        "ingest_sequence": str(own.ingest_sequence),
        "party_id": payee_of(own.tenant),
        "payout_statement_id": str(own.payout_statement_id),
        "credit_note_id": str(own.credit_note_id),
        "reconciliation_id": str(own.reconciliation_id),
        "month": "2026-10",
        "contract_id": str(own.wallet_contract_id),
        "package": "three-screenings",
        "owner": f"member-{own.mark}",
        "product": f"model-of-{own.tenant}",
        "study_instance_uid": own.study_instance_uid,
        "series_instance_uid": f"{own.study_instance_uid}.1",
        "sop_instance_uid": f"{own.study_instance_uid}.1.1",
        "frames": "1",
        "element": "00281201",
        "workitem_uid": workitem_of(own.tenant),
        "token": "1",
        **dict.fromkeys(("dispute_id", "request_id", "payment_id", "bank_line_id"), "1"),
    }
    filled = re.sub(r"\{(\w+)(?::path)?\}", lambda match: values[match[1]], path)
    query = {
        "/studies/{study_id}/verdicts/{token}/edit": "?revision=1",
        "/studies/{study_id}/missed": "?revision=1",
        "/peers/edit": f"?ae_title={own.ae_title}",
        "/destinations/edit": f"?name=DEST{own.mark}",
        "/routing/edit": "?version=1",
        "/routing/activate": "?version=1",
        "/models/health/{product}/plot.png": f"?version=1&site={own.mark}",
        "/statements/draft": f"?contract_id={own.contract_id}&starts_on=2026-11-01",
    }
    return filled + query.get(path, "")
