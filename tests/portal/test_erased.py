"""Pages about a study that was erased: none breaks, none shows the patient, the study's own says what happened."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from pipeline.protection import erase
from pipeline.protection.erase_objects import remove_objects
from portal.context import Role
from storage.folder_store import FolderStore
from tests.portal.owned import Owned, address, fill
from tests.portal.portal_site import Site
from tests.portal.test_isolation import get_routes


def erase_study(site: Site, own: Owned) -> None:
    now = datetime.now(UTC)
    with site.owner.transaction():
        site.owner.execute("SELECT set_config('radmeter.tenant', %s, true)", (own.tenant,))
        plan = erase.plan_study(site.owner, own.tenant, uuid.UUID(own.study_id))
        erase.erase(site.owner, plan, plan.code, reason="request 12", by="lin", now=now)
    remove_objects(site.database, FolderStore(site.context.data_root), now=now)


def test_no_page_breaks_and_none_shows_the_patient(site: Site) -> None:
    own = fill(site, "alpha")
    admin = site.signed_in("alpha", Role.ADMIN)
    about_studies = [path for path in get_routes() if "{study_" in path]
    shown = [path for path in about_studies if own.mark in admin.get(address(path, own)).text]
    assert len(shown) >= 5, "else the test proves nothing"

    erase_study(site, own)
    for path in get_routes():
        answer = admin.get(address(path, own))
        assert answer.status_code < 500, path
        if path in about_studies:
            assert own.mark not in answer.text, path
            assert own.study_instance_uid not in answer.text.replace(address(path, own), ""), path
    page = admin.get(f"/studies/{own.study_id}")
    assert page.status_code == 200
    assert "This study was erased" in page.text
    assert "What was charged for it stays in the books" in page.text
    assert admin.get(f"/studies/{own.study_id}/report.pdf").status_code == 404
    assert admin.get(f"/api/v1/studies/{own.study_id}").json()["status"] == "erased"
    assert admin.get(f"/api/v1/studies/{own.study_id}/result").json()["status"] == "erased"
    assert own.mark not in admin.get("/").text
    assert own.mark not in admin.post(
        "/search", data={"search": own.mark}, follow_redirects=True
    ).text.replace(f'value="{own.mark}"', "")
