"""The page of retention and holds, and what is said of images that went: on the study's page and by DICOMweb."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from portal.context import Role
from tests.portal.portal_site import Site

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def with_images_removed(site: Site) -> tuple[str, str]:
    """(our id, Study Instance UID) of a study whose only image went by policy."""
    study_id = site.add_study("alpha")
    (row,) = site.owner.execute(
        "SELECT study_instance_uid AS uid FROM study WHERE id = %s", (study_id,)
    ).fetchall()
    site.owner.execute(
        "INSERT INTO association (tenant, ae_title) VALUES ('alpha', 'PACS') RETURNING id"
    ).fetchone()
    (arrival,) = site.owner.execute(
        """INSERT INTO arrival (tenant, study_id, ae_title, last_at, closed_at)
           VALUES ('alpha', %s, 'PACS', %s, %s) RETURNING id""",
        (study_id, datetime(2026, 1, 1, tzinfo=UTC), NOW),
    ).fetchall()
    site.owner.execute(
        """INSERT INTO instance (tenant, sop_instance_uid, study_id, series_instance_uid, sop_class_uid,
             transfer_syntax_uid, modality, location, blake3, size_bytes, arrival_id)
           VALUES ('alpha', %(uid)s || '.1.1', %(study)s, %(uid)s || '.1', '1.2.840.10008.5.1.4.1.1.2',
             '1.2.840.10008.1.2.1', 'CT', 'gone.dcm', 'x', 1, %(arrival)s)""",
        {"uid": row["uid"], "study": study_id, "arrival": arrival["id"]},
    )
    site.owner.execute(
        """INSERT INTO retention_removal (tenant, study_id, what, days, decided_at, done_at)
           VALUES ('alpha', %s, 'images', 30, %s, %s)""",
        (study_id, NOW, NOW),
    )
    return study_id, row["uid"]


def test_an_admin_sets_a_policy_and_places_and_releases_a_hold(site: Site) -> None:
    study_id = site.add_study("alpha")
    admin = site.signed_in("alpha")
    days = {"images_days": "30", "results_days": "", "quarantine_days": "7"}
    assert admin.post("/retention/policy", data=days).status_code == 303
    (policy,) = site.owner.execute("SELECT * FROM retention_policy").fetchall()
    assert (policy["images_days"], policy["results_days"], policy["quarantine_days"]) == (30, None, 7)
    assert policy["changed_by"].startswith("admin-alpha")

    placed = admin.post("/retention/hold", data={"of": "study", "which": study_id, "reason": "claim 12"})
    assert placed.status_code == 303
    assert (
        admin.post("/retention/hold", data={"of": "patient", "which": "P-1", "reason": "court"}).status_code
        == 303
    )
    page = admin.get("/retention").text
    for words in ("claim 12", "court", study_id, "P-1", policy["changed_by"]):
        assert words in page
    (hold,) = site.owner.execute(
        "SELECT hold_id FROM retention_hold WHERE study_id = %s", (study_id,)
    ).fetchall()
    release = {"hold_id": str(hold["hold_id"]), "reason": "settled"}
    assert admin.post("/retention/release", data=release).status_code == 303
    assert "settled" in admin.get("/retention").text
    assert admin.post("/retention/release", data=release).status_code == 404
    actions = [
        row["action"] for row in site.owner.execute("SELECT action FROM audit_event ORDER BY sequence")
    ]
    assert [one for one in actions if "hold" in one or "retention" in one] == [
        "retention_changed", "hold_placed", "hold_placed", "hold_released",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "form", "words"),
    [
        ("/retention/policy", {"images_days": "0"}, "Give whole days"),
        ("/retention/policy", {"images_days": "a year"}, "Give whole days"),
        ("/retention/policy", {"images_days": "60", "results_days": "30"}, "Give whole days"),
        ("/retention/hold", {"of": "study", "which": "nobody", "reason": "x"}, "Name the study by its id"),
        ("/retention/hold", {"of": "patient", "which": " ", "reason": "x"}, "Name the study by its id"),
        ("/retention/hold", {"of": "everything", "reason": " "}, "Name the study by its id"),
        ("/retention/release", {"hold_id": "1", "reason": ""}, "Say why it is released"),
    ],
)
def test_what_cannot_be_done_says_what_to_give(
    site: Site, path: str, form: dict[str, str], words: str
) -> None:
    answer = site.signed_in("alpha").post(path, data=form)
    assert answer.status_code == 422
    assert words in answer.text
    assert site.owner.execute("SELECT 1 FROM retention_policy").fetchall() == []
    assert site.owner.execute("SELECT 1 FROM retention_hold").fetchall() == []


def test_operators_read_the_page_and_change_nothing(site: Site) -> None:
    operator = site.signed_in("alpha", Role.OPERATOR)
    page = operator.get("/retention")
    assert page.status_code == 200
    assert '<form method="post" action="/retention' not in page.text
    assert operator.post("/retention/hold", data={"of": "everything", "reason": "x"}).status_code in (
        403,
        404,
    )


def test_the_page_of_a_study_says_when_its_images_went(site: Site) -> None:
    study_id, _ = with_images_removed(site)
    page = site.signed_in("alpha").get(f"/studies/{study_id}")
    assert page.status_code == 200
    assert "The images were removed on 2026-03-01 by policy, 30 days after delivery." in page.text


@pytest.mark.parametrize(
    "what", ["/metadata", "/series/{uid}.1/metadata", "/series/{uid}.1/instances/{uid}.1.1/metadata"]
)
def test_dicomweb_says_that_images_were_removed(site: Site, what: str) -> None:
    _, uid = with_images_removed(site)
    answer = site.signed_in("alpha").get(
        f"/dicom-web/studies/{uid}{what.format(uid=uid)}", headers={"Accept": "application/dicom+json"}
    )
    assert answer.status_code == 410
    assert "removed on 2026-03-01 by policy" in answer.text
