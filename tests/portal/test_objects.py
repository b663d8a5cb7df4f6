"""Portals of several nodes with one bucket: what comes in by one is shown by another; a bucket that is away is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from portal.context import Role
from storage.remote_objects import RemoteObjects
from tests.dicom_peers import ct_data_set
from tests.portal.live_portal import live_portal, part10
from tests.portal.portal_site import Site
from tests.portal.report_seed import small_report
from tests.portal.seeds import write_report
from tests.s3_server import Bucket

UIDS = ("1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3")
NodeOf = Callable[[str], Site]


@pytest.fixture
def node(site: Site, bucket: Bucket, tmp_path: Path) -> NodeOf:
    """`node("a")`: the site as the portal of that node has it."""

    def make(name: str) -> Site:
        root = tmp_path / name
        root.mkdir()
        objects = RemoteObjects(root, bucket.store(request_s=5.0), cache_bytes_max=1 << 30)
        own = replace(site.context, data_root=root, objects=objects, registry=CollectorRegistry())
        return replace(site, context=own, clients=[])

    return make


def test_what_is_stored_by_one_portal_is_read_by_another(node: NodeOf, bucket: Bucket) -> None:
    with live_portal(node("a")) as live:
        bucket.door.set("refuse")
        refused = live.stow([part10(uid) for uid in UIDS])
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert live.instances() == []
        bucket.door.set(None)
        assert live.stow([part10(uid) for uid in UIDS]).status_code == 200
    assert len(bucket.server.keys(bucket.name, "hospital/a/instances/")) == 3
    reader = node("b").signed_in("alpha", Role.RADIOLOGIST)
    metadata = reader.get("/dicom-web/studies/1.2.3/metadata").json()
    assert sorted(one["00080018"]["Value"][0] for one in metadata) == list(UIDS)
    address = f"/dicom-web/studies/1.2.3/series/1.2.3.4/instances/{UIDS[0]}"
    stored = reader.get(address, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert stored.content.endswith(ct_data_set(UIDS[0]))
    every = reader.get(
        "/dicom-web/studies/1.2.3", headers={"Accept": 'multipart/related; type="application/dicom"'}
    )
    assert all(ct_data_set(uid) in every.content for uid in UIDS)


def test_a_report_is_shown_by_a_portal_that_never_had_it(node: NodeOf, bucket: Bucket) -> None:
    a, b, away = node("a"), node("b"), node("c")
    study_id = a.add_study("alpha")
    write_report(a, study_id, small_report(study_id))
    a.context.objects.keep("alpha", [a.context.results_root / study_id])
    reader = b.signed_in("alpha", Role.RADIOLOGIST)
    assert "not reviewed" in reader.get(f"/studies/{study_id}").text
    sent = (a.context.results_root / study_id / "1/report.pdf").read_bytes()
    assert reader.get(f"/studies/{study_id}/report.pdf").content == sent
    reader = away.signed_in("alpha", Role.RADIOLOGIST)
    bucket.door.set("refuse")
    answer = reader.get(f"/studies/{study_id}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "not ready" in answer.text
    bucket.door.set(None)
    assert reader.get(f"/studies/{study_id}").status_code == 200
