"""A morning at a hospital on the work list, of made-up people: what the picture in the README shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from tests.portal.portal_site import Site

_TOO_THICK = ("SLICES_TOO_THICK", "The slices are 7.5 mm thick; the model reads up to 5 mm.")
_NOT_RUN = ("INFERENCE_FAILED", "The model did not run.")

# Minutes ago, status, name, id, birth, sex, accession, description, sender, images; then what is said of it.
MORNING: tuple[tuple[Any, ...], ...] = (
    (52, "delivered", "HADDAD^AMINA", "P-10442", "19571103", "F", "A-26-08811", "CT chest, low dose", "CT02", 312,
     {"findings": 2, "worst_category": "4B", "critical": ["lung_rads_4b"]}),
    (9, "delivered", "NOVAK^PETR", "P-20917", "19990214", "M", "A-26-08846", "Chest PA", "DX01", 1,
     {"findings": 1, "critical": ["pneumothorax"]}),
    (3, "inferred", "GARCIA^LUIS", "P-18230", "19660730", "M", "A-26-08852", "CT chest, trauma", "CT01", 405,
     {"priority": "emergency"}),
    (64, "encoded", "MARTIN^CLAIRE", "P-11873", "19490522", "F", "A-26-08803", "CT chest", "CT01", 288,
     {"is_overdue": True}),
    (1, "receiving", "", "", "", "", "", "", "CT02", 88, {}),
    (6, "decoded", "Sato^Kenji=佐藤^健二", "P-30012", "19711208", "M", "A-26-08850", "CT chest", "CT02", 276, {}),
    (14, "delivered", "王^小明", "P-29114", "19620419", "M", "A-26-08841", "CT chest, low dose", "CT02", 301,
     {"findings": 3, "worst_category": "3"}),
    (21, "rejected", "OKAFOR^SAMUEL", "P-17702", "19801017", "M", "A-26-08835", "CT chest", "CT01", 64,
     {"reason": _TOO_THICK}),
    (27, "delivered", "LINDQVIST^JANE", "P-10421", "19580312", "F", "A-26-08830", "CT chest", "CT01", 290,
     {"findings": 0, "review_state": "in_review"}),
    (38, "failed", "KIM^MIN-JUN", "P-26650", "19750606", "M", "A-26-08822", "CT chest", "CT02", 330,
     {"reason": _NOT_RUN}),
    (75, "delivered", "李^伟", "P-23391", "19530901", "M", "A-26-08797", "CT chest, low dose", "CT02", 298,
     {"findings": 1, "worst_category": "4A", "review_state": "reviewed"}),
)  # fmt: skip


def busy_morning(site: Site, tenant: str) -> None:
    """The studies of `MORNING`, with as many images as stand beside them."""
    for sender in ("CT01", "CT02", "DX01"):
        site.owner.execute(
            "INSERT INTO peer (tenant, ae_title, host, port) VALUES (%s, %s, 'modality.test', 104)",
            (tenant, sender),
        )
    for minutes, status, name, patient, birth, sex, accession, description, sender, images, said in MORNING:
        header = {
            "patient_name": name, "patient_id": patient, "patient_birth_date": birth, "patient_sex": sex,
            "accession_number": accession, "description": description,
            "study_date": f"{datetime.now(UTC):%Y%m%d}",
        }  # fmt: skip
        code, text = said.get("reason", (None, None))
        study_id = site.add_study(
            tenant, ae_title=sender, status=status, reason_code=code, reason_text=text,
            header=header if name else {},
        )  # fmt: skip
        at = datetime.now(UTC) - timedelta(minutes=minutes)
        site.owner.execute(
            """UPDATE study SET created_at = %s, updated_at = %s, finding_count = %s, worst_category = %s,
                 critical = %s, priority = %s, is_overdue = %s, review_state = %s WHERE id = %s""",
            (
                at, at, said.get("findings"), said.get("worst_category"), said.get("critical", []),
                said.get("priority", "normal"), said.get("is_overdue", False),
                said.get("review_state", "not_reviewed"), study_id,
            ),
        )  # fmt: skip
        _receive(site, tenant, study_id, sender, at, images)


def _receive(site: Site, tenant: str, study_id: str, sender: str, at: datetime, images: int) -> None:
    waits = {
        "verdict": "wait", "code": "missing_of_series",
        "values": {"images": 188, "series_count": 1, "series": 4, "modality": "CT"},
    }  # fmt: skip
    is_open = images == 88
    arrival = site.owner.execute(
        """INSERT INTO arrival (tenant, study_id, ae_title, first_at, new_count, decision, closed_at, outcome)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            tenant, study_id, sender, at, images, Jsonb(waits if is_open else {}),
            None if is_open else at, None if is_open else "assembled",
        ),
    ).fetchone()  # fmt: skip
    assert arrival is not None
    site.owner.execute(
        """INSERT INTO instance (tenant, sop_instance_uid, study_id, series_instance_uid, sop_class_uid,
             transfer_syntax_uid, modality, location, blake3, size_bytes, arrival_id)
           SELECT %s, %s || '.' || n, %s, '1.2', '1.2', '1.2', 'CT', 'x', 'x', 1, %s
           FROM generate_series(1, %s) AS n""",
        (tenant, f"2.25.{arrival['id']}", study_id, arrival["id"], images),
    )
