"""A delivered result with its files, rows and usage event, as the path of a study leaves it for its reader."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg.types.json import Jsonb
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from billing.metering import meter
from billing.metering.usage import UsageEvent
from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from models.manifest import Manifest
from models.registry import list_models
from pipeline.report import build_report
from pipeline.report_file import save_report
from pipeline.status import StudyStatus
from study.findings import Finding
from study.study import Instance, Patient, Series, Study
from tests.result_builders import ball, result_context, synthetic_headers, volume_of

Owner = psycopg.Connection[dict[str, Any]]
PRODUCT = "lung_nodule_ct"
DELIVERED_AT = datetime(2026, 11, 20, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Seeded:
    """study_id: ours. uids: tracking UIDs of the findings. sop_instance_uid: of the model's SR."""

    study_id: str
    uids: tuple[str, ...]
    sop_instance_uid: str
    headers: tuple[Dataset, ...]


def lung_model() -> Manifest:
    return next(manifest for manifest in list_models() if manifest.name == PRODUCT)


def seed_result(
    owner: Owner,
    data_root: Path,
    tenant: str,
    *,
    study_id: str = "",
    revision: int = 1,
    sizes_mm: tuple[float, ...] = (9.0, 7.0),
    patient: str = "Doe^Jane",
    study_uid: str = "1.2.3",
) -> Seeded:
    """A study of twelve slices with a finding of each size, or without any; a second revision goes to `study_id`."""
    headers = synthetic_headers(StudyInstanceUID=study_uid)
    for number, header in enumerate(headers, start=1):
        header.InstanceNumber = number
        header.SOPInstanceUID, header.SeriesInstanceUID = f"{study_uid}.4.{number}", f"{study_uid}.4"
    volume = volume_of(headers)
    findings = [
        ball(volume, (-10.0 + 12 * index, 4.0, 10.0), size, id=index + 1, score=0.9 - index / 10)
        for index, size in enumerate(sizes_mm)
    ]
    manifest = lung_model()
    context = result_context(
        headers,
        volume,
        findings,
        revision=revision,
        uid_seed=f"{tenant}{study_uid}",
        model_version=manifest.version,
    )
    if not study_id:
        study_id = _insert_study(owner, tenant, study_uid, headers)
        _write_instances(owner, data_root, tenant, study_id, headers)
    owner.execute("UPDATE study SET revision = %s, status = 'delivered' WHERE id = %s", (revision, study_id))
    _insert_result(owner, tenant, study_id, revision, findings, manifest)
    folder = data_root / "results" / study_id / str(revision)
    view = build_report(
        _source(headers, patient),
        job_id=study_id,
        created_at=DELIVERED_AT,
        status=StudyStatus.DELIVERED,
        manifest=manifest,
        volume=volume,
        findings=findings,
        revision=revision,
    )
    save_report(folder, view, b"%PDF-1.7 model")
    report = encode_sr(context)
    documents = {
        "SR": report,
        "SEG": encode_seg(context),
        "PDF": encode_pdf(context, b"%PDF-1.7 model"),
    }
    for kind, document in documents.items():
        if document is not None:
            _insert_object(owner, data_root, tenant, study_id, revision, kind, document)
    event = UsageEvent(
        tenant=tenant,
        source="pipeline",
        event_id=f"{study_id}:{PRODUCT}:result_delivered:r{revision}",
        kind="result_delivered",
        product=PRODUCT,
        quantity=Decimal(1),
        occurred_at=DELIVERED_AT,
        study_ref=study_id,
        case_key=study_id.replace("-", "").ljust(64, "0"),
        dimensions={"revision": str(revision), "purpose": "clinical", "sending_peer": "PACS"},
        evidence={"study": study_id, "revision": revision},
    )
    meter.record(owner, event, received_at=DELIVERED_AT + timedelta(seconds=1))
    return Seeded(
        study_id,
        tuple(one.tracking_uid for one in findings),
        str(report.SOPInstanceUID),
        tuple(headers),
    )


def _insert_study(owner: Owner, tenant: str, study_uid: str, headers: list[Dataset]) -> str:
    route = [
        {
            "product": PRODUCT,
            "series_instance_uid": str(headers[0].SeriesInstanceUID),
            "model": PRODUCT,
            "model_version": lung_model().version,
            "input_digest": "ab" * 32,
        }
    ]
    header = {"patient_name": "DOE^JANE", "patient_id": "P-1", "accession_number": "A-1"}
    row = owner.execute(
        """INSERT INTO study (tenant, study_instance_uid, ae_title, status, header, route)
           VALUES (%s, %s, 'PACS', 'delivered', %s, %s) RETURNING id""",
        (tenant, study_uid, Jsonb(header), Jsonb(route)),
    ).fetchone()
    assert row is not None
    return str(row["id"])


def _write_instances(
    owner: Owner, data_root: Path, tenant: str, study_id: str, headers: list[Dataset]
) -> None:
    """The images, whose headers say which slice each of them is."""
    arrival = owner.execute(
        "INSERT INTO arrival (tenant, study_id, ae_title, closed_at) VALUES (%s, %s, 'PACS', now()) RETURNING id",
        (tenant, study_id),
    ).fetchone()
    assert arrival is not None
    for number, header in enumerate(headers, start=1):
        location = f"{study_id}/{number}.dcm"
        path = data_root / "instances" / location
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_file_of(header))
        owner.execute(
            """INSERT INTO instance (tenant, sop_instance_uid, study_id, series_instance_uid, sop_class_uid,
                 transfer_syntax_uid, modality, location, blake3, size_bytes, arrival_id)
               VALUES (%s, %s, %s, %s, %s, %s, 'CT', %s, %s, 1000, %s)""",
            (
                tenant, header.SOPInstanceUID, study_id, header.SeriesInstanceUID, CTImageStorage,
                ExplicitVRLittleEndian, location, f"{number:064d}", arrival["id"],
            ),
        )  # fmt: skip


def _file_of(header: Dataset) -> bytes:
    whole = Dataset()
    whole.update(header)
    whole.SamplesPerPixel, whole.PhotometricInterpretation = 1, "MONOCHROME2"
    whole.BitsAllocated, whole.BitsStored, whole.HighBit, whole.PixelRepresentation = 16, 16, 15, 1
    whole.RescaleSlope, whole.RescaleIntercept = 1, 0
    whole.PixelData = np.full((header.Rows, header.Columns), -850, np.int16).tobytes()
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    whole.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    buffer = io.BytesIO()
    dcmwrite(buffer, whole, enforce_file_format=True)
    return buffer.getvalue()


def _insert_result(
    owner: Owner, tenant: str, study_id: str, revision: int, findings: list[Finding], manifest: Manifest
) -> None:
    owner.execute(
        """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
             input_digest, findings, timing_s, created_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, '{"total": 1.0}', %s)""",
        (
            tenant, study_id, revision, PRODUCT, PRODUCT, manifest.version, manifest.weights_sha256, "ab" * 32,
            Jsonb([one.as_json() for one in findings]), DELIVERED_AT - timedelta(minutes=1),
        ),
    )  # fmt: skip


def _insert_object(
    owner: Owner, data_root: Path, tenant: str, study_id: str, revision: int, kind: str, document: Dataset
) -> None:
    location = f"{study_id}/{revision}/{PRODUCT}.{kind.lower()}.dcm"
    document.save_as(data_root / "results" / location, enforce_file_format=True)
    uid = str(document.SOPInstanceUID)
    owner.execute(
        """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind, location, sha256,
             size_bytes) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 1)""",
        (tenant, uid, study_id, revision, PRODUCT, kind, location, "0" * 64),
    )
    owner.execute(
        """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state, acknowledged_at)
           VALUES (%s, %s, 'PACS', %s, 'acknowledged', %s)""",
        (tenant, uid, study_id, DELIVERED_AT),
    )


def _source(headers: list[Dataset], patient: str) -> Study:
    instances = tuple(
        Instance(
            str(header.SOPInstanceUID),
            str(CTImageStorage),
            str(ExplicitVRLittleEndian),
            "",
            instance_number=number,
            number_of_frames=1,
        )
        for number, header in enumerate(headers, start=1)
    )
    series = Series(
        str(headers[0].SeriesInstanceUID), "CT", instances, description="Chest 2.0 LUNG", series_number=3
    )
    return Study(
        str(headers[0].StudyInstanceUID),
        (series,),
        Patient("P-1", patient),
        "20261120",
        "081500",
        "A-1",
        "CT chest",
    )
