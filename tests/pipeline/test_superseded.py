"""Which objects a later revision replaces, and how the page shows them."""

from __future__ import annotations

import dataclasses

from pipeline import deliveries, store
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance


def test_the_delivered_objects_of_the_latest_earlier_revision_are_replaced(clinic: Clinic) -> None:
    clinic.receive(make_instance())
    study = clinic.study(make_instance())
    for revision in (1, 2):
        at = dataclasses.replace(study, revision=revision)
        clinic.add_result_object(at, f"2.25.{revision}1", kind="SR", location=f"{revision}/sr")
        clinic.add_result_object(at, f"2.25.{revision}2", kind="PDF", location=f"{revision}/pdf")
    clinic.add_result_object(at, "2.25.23", kind="KOS", location="2/kos")
    clinic.add_result_object(at, "2.25.24", kind="SEG", location="2/seg", is_delivered=False)
    with clinic.database.transaction(ALPHA) as conn:
        third, second = (dataclasses.replace(study, revision=revision) for revision in (3, 2))
        assert store.superseded_objects(conn, third) == {"lung_nodule_ct": ["2/sr", "2/pdf"]}
        assert store.superseded_objects(conn, second) == {"lung_nodule_ct": ["1/sr", "1/pdf"]}
        assert store.superseded_objects(conn, study) == {}
    with clinic.database.transaction(BETA) as conn:
        assert store.superseded_objects(conn, third) == {}


def test_a_study_is_delivered_without_its_rejection_note(clinic: Clinic) -> None:
    """An archive that takes no key objects has the result all the same."""
    clinic.receive(make_instance())
    study = clinic.study(make_instance())
    for kind in ("SR", "KOS"):
        clinic.add_result_object(study, f"2.25.{len(kind)}", kind=kind, is_delivered=False)
    routed = dataclasses.replace(study, route=[{"product": "lung_nodule_ct"}])
    with clinic.database.transaction(ALPHA) as conn:
        deliveries.plan(conn, routed)
        rows = conn.execute(
            "SELECT o.kind, d.required FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid)"
        ).fetchall()
    assert {row["kind"]: row["required"] for row in rows} == {"SR": True, "KOS": False}
