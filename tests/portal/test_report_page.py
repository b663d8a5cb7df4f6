"""The report in the portal: language, earlier revisions, pictures that are asked about again, the table as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime

from pypdf import PdfReader

from pipeline import reviews
from portal.context import Role
from study.review import Verdict, VerdictKind
from study.study import Patient
from tests.portal.portal_site import Site
from tests.portal.report_seed import small_report
from tests.portal.seeds import phantom_report, write_report
from tests.review_seed import seed_result

JANE = Patient("P-1042", "LINDQVIST^JANE", "19580312", "F", "068Y")


def seeded(site: Site, *, revision: int = 1) -> str:
    study_id = site.add_study("alpha")
    view, _ = phantom_report(study_id, JANE, nodule_count=1)
    write_report(site, study_id, view)
    for number in range(2, revision + 1):
        write_report(site, study_id, replace(view, revision=number), revision=number)
    site.owner.execute("UPDATE study SET revision = %s WHERE id = %s", (revision, study_id))
    return study_id


def test_a_reader_changes_the_language_of_a_report_and_of_its_pdf(site: Site) -> None:
    study_id = seeded(site)
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    english = client.get(f"/studies/{study_id}").text
    assert f'href="/studies/{study_id}?language=zh"' in english
    assert "1 finding marked as possible pulmonary nodule" in english
    chinese = client.get(f"/studies/{study_id}?language=zh").text
    assert '<article class="report" lang="zh-Hans">' in chinese
    assert "标记 1 处疑似肺结节" in chinese
    address = f"/studies/{study_id}/report.pdf?revision=1&language=zh"
    assert address.replace("&", "&amp;") in chinese
    pdf = client.get(address)
    assert "疑似肺结节" in PdfReader(io.BytesIO(pdf.content)).pages[0].extract_text()
    assert client.get(f"/studies/{study_id}?language=tlh").status_code == 422


def test_an_earlier_revision_says_that_it_is_superseded_and_where_the_newer_one_is(site: Site) -> None:
    study_id = seeded(site, revision=2)
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    assert "Do not use this one" not in client.get(f"/studies/{study_id}").text
    old = client.get(f"/studies/{study_id}?revision=1").text
    assert "Do not use this one" in old
    assert f'<a href="/studies/{study_id}">Open the newer report</a>' in old
    printed = client.get(f"/studies/{study_id}/report.pdf?revision=1").content
    assert "superseded" in PdfReader(io.BytesIO(printed)).pages[0].extract_text()
    sent = (site.context.results_root / study_id / "2/report.pdf").read_bytes()
    assert client.get(f"/studies/{study_id}/report.pdf").content == sent


def test_a_picture_is_sent_once_and_then_only_asked_about(site: Site) -> None:
    study_id = seeded(site)
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    address = f"/studies/{study_id}/images/finding-1-plain.png?revision=1"
    first = client.get(address)
    assert first.headers["cache-control"] == "private, no-cache"
    again = client.get(address, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert client.get(address, headers={"If-None-Match": '"other"'}).content == first.content
    assert site.client().get(address, headers={"If-None-Match": first.headers["etag"]}).status_code != 304


def test_the_table_comes_as_csv_and_what_is_not_known_is_empty(site: Site) -> None:
    study_id = seeded(site)
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    answer = client.get(f"/studies/{study_id}/findings.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff")))
    assert row["number"] == "1"
    assert float(row["mean_diameter_mm"]) > 3
    assert {row[name] for name in ("lobe", "prior_volume_mm3", "doubling_days", "category")} == {""}


def test_a_study_that_is_removed_while_its_report_is_open_is_said_to_be_gone(site: Site) -> None:
    study_id = site.add_study("alpha")
    write_report(site, study_id, small_report(study_id), with_pdf=False)
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    assert client.get(f"/studies/{study_id}").status_code == 200
    site.owner.execute("DELETE FROM study WHERE id = %s", (study_id,))
    gone = client.get(f"/studies/{study_id}")
    assert gone.status_code == 404
    assert "This study is not here" in gone.text
    assert "Back to the work list" in gone.text
    assert client.get(f"/studies/{study_id}/images/finding-1-overview.png").status_code == 404
    polled = client.get(f"/studies/{study_id}?seen=x", headers={"HX-Request": "true"})
    assert (polled.status_code, polled.headers["hx-refresh"]) == (204, "true")


def test_text_without_end_or_with_a_direction_of_its_own_does_no_harm(site: Site) -> None:
    study_id = site.add_study("alpha", header={"patient_name": "\u202e" + "A" * 65_536})
    view = small_report(study_id, "\u202eEVIL^" + "Ж" * 65_536, "x" * 65_536)
    write_report(site, study_id, view, with_pdf=False)
    text = site.signed_in("alpha", Role.RADIOLOGIST).get(f"/studies/{study_id}").text
    assert "\u202e" not in text
    assert len(text.encode()) < 100_000
    assert "EVIL, ЖЖЖ" in text


def test_who_only_reads_sees_the_review_too_on_the_page_and_in_the_pdf(site: Site) -> None:
    seeded_result = seed_result(site.owner, site.context.data_root, "alpha")
    with site.database.transaction("alpha") as conn:
        result = reviews.open_result(conn, "alpha", seeded_result.study_id, 1, "", lock=True)
        said = Verdict(
            seeded_result.uids[0], VerdictKind.REJECT, "Dr Roe", datetime.now(UTC), note="a vessel"
        )
        reviews.say(conn, result, said, seen=result.books.version)
    client = site.signed_in("alpha", Role.REFERRER)
    page = client.get(f"/reports/{seeded_result.study_id}").text
    assert "AI result, review begun and not finished" in page
    printed = client.get(f"/studies/{seeded_result.study_id}/report.pdf").content
    assert "a vessel" in PdfReader(io.BytesIO(printed)).pages[0].extract_text()
