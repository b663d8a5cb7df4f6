"""A study with a real report, delivered objects, usage and a statement: what the pages are looked at with."""

from __future__ import annotations

import functools
import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
from psycopg.types.json import Jsonb

from billing.contracts import store as billing_store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from models.lung_nodule_ct.phantom import make_phantom
from models.manifest import Manifest
from models.registry import list_models
from pipeline.report import build_report, render_report_pdf
from pipeline.report_view import ReportView
from pipeline.status import StudyStatus
from study.findings import Finding
from study.study import Instance, Patient, Series, Study
from study.volume import Volume
from tests.portal.portal_site import Site
from tests.result_builders import ball

PRODUCT = "lung_nodule_ct"
CONTRACT = Path(__file__).resolve().parents[2] / "examples/contract_per_case.yaml"
EVENTS = ("assembled", "routed", "decoded", "inferred", "encoded", "delivered")


def lung_model() -> Manifest:
    return next(manifest for manifest in list_models() if manifest.name == PRODUCT)


@functools.cache
def phantom_volume(seed: int, *, nodule_count: int) -> tuple[Volume, list[tuple[np.ndarray, float]]]:
    """A synthetic chest and its nodules, largest first: centre in patient LPS mm, diameter. Made once: it is read."""
    phantom = make_phantom(seed, spacing_mm=(2.0, 1.0, 1.0), nodule_count=nodule_count)
    phantom.voxels.flags.writeable = False
    affine = np.zeros((4, 4))
    affine[0, 2], affine[1, 1], affine[2, 0], affine[3, 3] = 1.0, 1.0, 2.0, 1.0
    affine[:3, 3] = (-160.0, -128.0, -300.0)
    count = phantom.voxels.shape[0]
    uids = tuple(f"1.2.826.0.1.{index + 1}" for index in range(count))
    volume = Volume(phantom.voxels, affine, uids, (1,) * count, "1.2.826.0.2", "1.2.826.0.3", 2.0)
    nodules = sorted(phantom.truth, key=lambda one: -one.diameter_mm)
    return volume, [(volume.to_lps_mm(np.asarray(one.center_index)), one.diameter_mm) for one in nodules]


def phantom_report(
    study_id: str, patient: Patient, *, nodule_count: int = 3
) -> tuple[ReportView, list[Finding]]:
    """The report of a synthetic chest, its findings where the phantom has its nodules."""
    volume, nodules = phantom_volume(7, nodule_count=nodule_count)
    uids = volume.slice_sop_instance_uids
    findings = [
        ball(volume, place, diameter, id=number, score=0.96 - 0.07 * number)
        for number, (place, diameter) in enumerate(nodules, start=1)
    ]
    instances = tuple(
        Instance(
            uid,
            "1.2.840.10008.5.1.4.1.1.2",
            "1.2.840.10008.1.2.1",
            uid,
            instance_number=n,
            number_of_frames=1,
        )
        for n, uid in enumerate(uids, start=1)
    )
    series = Series("1.2.826.0.2", "CT", instances, description="Chest 2.0 LUNG", series_number=3)
    source = Study(
        "1.2.826.0.9", (series,), patient, "20261120", "081500", "A-2026-0042", "CT chest without contrast"
    )
    view = build_report(
        source,
        job_id=study_id,
        created_at=datetime.now(UTC),
        status=StudyStatus.DELIVERED,
        manifest=lung_model(),
        volume=volume,
        findings=findings,
    )
    return view, findings


def write_report(
    site: Site,
    study_id: str,
    view: ReportView,
    *,
    revision: int = 1,
    with_pdf: bool = True,
    product: str = "",
) -> None:
    """Leave the report where the encode step leaves it; under `product` that of a further model."""
    folder = site.context.results_root / study_id / str(revision) / product
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(view.as_json()), "utf-8")
    for image in view.key_images:
        (folder / image.name).write_bytes(image.png)
    if with_pdf:
        (folder / "report.pdf").write_bytes(render_report_pdf(view, "en"))


def add_history(
    site: Site, tenant: str, study_id: str, *, upto: str = "delivered", seen_again: bool = False
) -> None:
    """Arrivals, instances and the timeline of a study."""
    now = datetime.now(UTC)
    outcomes = ["assembled", *(["seen_again"] if seen_again else [])]
    for index, outcome in enumerate(outcomes):
        arrival = site.owner.execute(
            """INSERT INTO arrival
                 (tenant, study_id, ae_title, first_at, new_count, identical_count, closed_at,
                  outcome, completion)
               VALUES (%s, %s, 'PACS', %s, %s, %s, now(), %s,
                 'quiet for 10 s after the association was released')
               RETURNING id""",
            (
                tenant,
                study_id,
                now + timedelta(minutes=index),
                120 if index == 0 else 0,
                0 if index == 0 else 120,
                outcome,
            ),
        ).fetchone()
        assert arrival is not None
        if index == 0:
            site.owner.execute(
                """INSERT INTO instance (tenant, sop_instance_uid, study_id, series_instance_uid,
                     sop_class_uid, transfer_syntax_uid, modality, location, blake3, size_bytes, arrival_id)
                   SELECT %s, %s || n::text, %s, '1.2.826.0.2', '1.2', '1.2', 'CT', 'x', 'x', 164840, %s
                   FROM generate_series(1, 120) AS n""",
                (tenant, f"2.25.{uuid.uuid4().int}"[:50] + ".", study_id, arrival["id"]),
            )
    for index, name in enumerate(EVENTS):
        site.owner.execute(
            """INSERT INTO study_event (tenant, study_id, revision, at, event, duration_ms)
               VALUES (%s, %s, 1, %s, %s, %s)""",
            (
                tenant,
                study_id,
                now + timedelta(seconds=3 * index + 12),
                f"study_{name}",
                (None, 412, 2310, 14820, 1630, 640)[index],
            ),
        )
        if name == upto:
            return


def add_result(site: Site, tenant: str, study_id: str, findings: list[Finding]) -> None:
    """The result's row and its three objects, acknowledged."""
    model = lung_model()
    site.owner.execute(
        """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version,
             weights_sha256, input_digest, findings, timing_s)
           VALUES (%s, %s, 1, %s, %s, %s, %s, 'x', %s, %s)""",
        (
            tenant, study_id, PRODUCT, model.name, model.version, model.weights_sha256,
            Jsonb([finding.as_json() for finding in findings]), Jsonb({"infer": 14.8}),
        ),
    )  # fmt: skip
    for kind, size in (("SR", 41_216), ("SEG", 388_902), ("PDF", 642_118)):
        uid = f"2.25.{uuid.uuid4().int}"
        site.owner.execute(
            """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind,
                 location, sha256, size_bytes) VALUES (%s, %s, %s, 1, %s, %s, 'x', 'x', %s)""",
            (tenant, uid, study_id, PRODUCT, kind, size),
        )
        site.owner.execute(
            """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state, attempts, dicom_status,
                 acknowledged_at) VALUES (%s, %s, 'PACS', %s, 'acknowledged', 1, 0, now())""",
            (tenant, uid, study_id),
        )


SHARED = """
parties:
  - {{id: {party}, name: {name}, role: developer}}
splits:
  - split: developer
    basis: billed
    parties:
      - {{party: {party}, share: 0.70}}
      - {{party: radmeter-imaging, residual: true}}
"""


def add_contract(site: Site, tenant: str, developer: tuple[str, str] | None = None) -> int:
    """The per-case contract; developer: id and name of a party that gets 70 % of each line."""
    text = CONTRACT.read_text("utf-8")
    if developer is not None:
        text += SHARED.format(party=developer[0], name=developer[1])
    with site.database.transaction(tenant) as conn:
        return billing_store.add_contract(conn, tenant, text)


def add_usage(
    site: Site,
    tenant: str,
    study_id: str,
    kind: str = "result_delivered",
    *,
    occurred_at: datetime | None = None,
    question: str = "",
    **dimensions: str,
) -> None:
    event = UsageEvent(
        tenant=tenant,
        source="pipeline",
        event_id=f"{study_id}:{PRODUCT}:{kind}:{uuid.uuid4().hex}",
        kind=kind,
        product=PRODUCT,
        quantity=Decimal(1),
        occurred_at=occurred_at or datetime.now(UTC),
        study_ref=study_id,
        case_key=meter.case_key(b"secret", study_id, PRODUCT, question),
        dimensions={"sending_peer": "PACS", "purpose": "clinical", "revision": "1", **dimensions},
        evidence={"study": study_id},
    )
    with site.database.transaction(tenant) as conn:
        meter.record(conn, event)


def busy_day(site: Site, tenant: str, *, has_contract: bool = False) -> str:
    """A work list with every status, one full report and usage; the id of the study that has the report."""
    jane = Patient("P-1042", "LINDQVIST^JANE", "19580312", "F", "068Y")
    header = {
        "patient_name": jane.name, "patient_id": jane.patient_id, "patient_sex": "F",
        "patient_birth_date": "19580312", "accession_number": "A-2026-0042", "study_date": "20261120",
        "description": "CT chest without contrast",
    }  # fmt: skip
    if not has_contract:
        add_contract(site, tenant)
    others = (
        ("failed", "OKAFOR^SAMUEL", "STEP_GAVE_UP", "The step “infer” could not be done: WorkerLost."),
        (
            "rejected",
            "王^小明",
            "SLICES_TOO_THICK",
            "The slices are 7.5 mm thick; the model reads up to 5 mm.",
        ),
        ("delivered", "MARTIN^CLAIRE", None, None),
        ("inferred", "SATO^KENJI=佐藤^健二", None, None),
        ("receiving", "", None, None),
    )
    for number, (status, name, code, text) in enumerate(others):
        own = {
            "patient_name": name,
            "patient_id": f"P-2{number:03d}",
            "accession_number": f"A-7{number:03d}",
        }
        study_id = site.add_study(
            tenant, status=status, header=header | own if name else {}, reason_code=code, reason_text=text
        )
        add_history(site, tenant, study_id, upto=status if status in EVENTS else "assembled")
        if status == "delivered":
            add_result(site, tenant, study_id, [])
            add_usage(site, tenant, study_id)
        if code:
            add_usage(site, tenant, study_id, "refused" if status == "rejected" else "failed")
    study_id = site.add_study(tenant, header=header)
    view, findings = phantom_report(study_id, jane)
    write_report(site, study_id, view)
    add_history(site, tenant, study_id, seen_again=True)
    add_result(site, tenant, study_id, findings)
    add_usage(site, tenant, study_id)
    add_usage(site, tenant, study_id, "seen_again")
    return study_id
