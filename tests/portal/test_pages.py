"""What pages say, what they must not repeat, and how they behave without JavaScript."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

from pipeline.report_view import (
    FindingRow,
    KeyImage,
    ReportModel,
    ReportState,
    ReportView,
    Review,
    SeriesRead,
)
from portal import render
from portal.context import Role
from portal.csv_export import csv_text, guarded
from portal.errors import InvalidInput, PageNotFound, RoleNotAllowed
from portal.markdown import blocks
from portal.pages.study import EVENT_WORDS
from portal.render import DECISION_LOOK, KIND_WORDS, STATUS_LOOK, environment
from portal.text import ZH
from tests.portal.portal_site import Site
from tests.portal.seeds import add_contract, add_usage, write_report

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "{{ 7 * 7 }}<b>bold</b>",
    "</title></textarea><svg/onload=alert(1)>",
    "javascript:alert(1)//<a href='javascript:alert(1)'>x</a>",
)


def small_report(study_id: str, patient_name: str = "DOE^JANE", text: str = "plain") -> ReportView:
    """A report with one finding and one picture, every text of it from outside."""
    return ReportView(
        state=ReportState.FINDINGS,
        review=Review.NOT_REVIEWED,
        patient_name=patient_name,
        patient_id=text,
        patient_birth_date="19580312",
        patient_sex="F",
        patient_age="068Y",
        accession_number=text,
        study_date="20261120",
        study_time="081500",
        study_description=text,
        institution=text,
        created_at=datetime.now(UTC),
        job_id=study_id,
        revision=1,
        model=ReportModel("lung_nodule_ct", "1.0.0", text, text, "ab" * 32, text, text, 0.5),
        series=SeriesRead(text, 3, 120, 2.0, 2.0, text, text),
        input_notes=(text,),
        findings=(FindingRow(1, text, 0.9, 8.1, 6.5, 7.3, 278.0, 97, "1.2.3"),),
        key_images=(KeyImage("finding-1-overview.png", PNG, text, 1, "overview", 1, 1),),
    )


class Tree(HTMLParser):
    """Elements with the names of their attributes: what a payload must not be able to change."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))


def poisoned_site(site: Site, text: str) -> dict[str, str]:
    """Pages whose every value from outside is `text`; page → HTML."""
    tenant = f"t{uuid.uuid4().hex[:8]}"
    site.add_tenant(tenant)
    site.owner.execute("UPDATE tenant SET name = %s WHERE tenant = %s", (text, tenant))
    header = {"patient_name": text, "patient_id": text, "accession_number": text, "description": text,
              "study_date": text, "patient_sex": text, "patient_birth_date": text}  # fmt: skip
    good = site.add_study(tenant, header=header, ae_title=text[:16])
    bad = site.add_study(tenant, header=header, status="failed", reason_code=text, reason_text=text)
    write_report(site, good, small_report(good, text, text), with_pdf=False)
    for study_id in (good, bad):
        site.owner.execute(
            "INSERT INTO study_event (tenant, study_id, revision, event) VALUES (%s, %s, 1, %s)",
            (tenant, study_id, text),
        )
        site.owner.execute(
            """INSERT INTO arrival (tenant, study_id, ae_title, outcome, completion, closed_at)
               VALUES (%s, %s, %s, 'assembled', %s, now())""",
            (tenant, study_id, text, text),
        )
        site.owner.execute(
            """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind,
                 location, sha256, size_bytes, destination, attempts, last_error)
               VALUES (%s, %s, %s, 1, %s, 'SR', 'x', 'x', 1, %s, 1, %s)""",
            (tenant, uuid.uuid4().hex, study_id, text, text, text),
        )
    site.owner.execute(
        "INSERT INTO peer (tenant, ae_title, host, port) VALUES (%s, %s, %s, 104)", (tenant, text[:16], text)
    )
    add_contract(site, tenant)
    client = site.signed_in(tenant)
    client.post("/search", data={"text": text[:100]})
    pages = {"/": "/", "/?search=1": "/?search=1", "good": f"/studies/{good}", "bad": f"/studies/{bad}",
             "/peers": "/peers", "/statements": "/statements", "/usage": "/usage"}  # fmt: skip
    return {name: client.get(path).text for name, path in pages.items()}


class TestInjection:
    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_the_element_tree_does_not_depend_on_what_comes_from_outside(
        self, site: Site, payload: str
    ) -> None:
        innocent = "x" * len(payload)
        expected, actual = poisoned_site(site, innocent), poisoned_site(site, payload)
        for name in expected:
            assert Tree(actual[name]).elements == Tree(expected[name]).elements, name

    def test_the_name_typed_at_sign_in_comes_back_as_text(self, site: Site) -> None:
        answer = site.client().post("/sign-in", data={"name": PAYLOADS[1], "password": "x"})
        clean = site.client().post("/sign-in", data={"name": "x", "password": "x"})
        assert Tree(answer.text).elements == Tree(clean.text).elements

    def test_a_search_cannot_use_wildcards_or_sql(self, site: Site) -> None:
        site.add_study("alpha")
        client = site.signed_in("alpha")
        for text in ("%", "_", "' OR 1=1 --", "\\"):
            client.post("/search", data={"text": text})
            assert "DOE, JANE" not in client.get("/?search=1").text
        client.post("/search", data={"text": "doe"})
        assert "DOE, JANE" in client.get("/?search=1").text

    def test_an_api_search_finds_by_accession_number(self, site: Site) -> None:
        study_id = site.add_study("alpha")
        found = site.signed_in("alpha").post("/api/v1/studies/search", json={"text": "A-1"}).json()
        assert [study["id"] for study in found["studies"]] == [study_id]


class TestSameSite:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"Origin": "http://evil.test"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://portal.test", "Sec-Fetch-Site": "cross-site"}, 403),
            ({"Origin": "http://portal.test", "Sec-Fetch-Site": "same-site"}, 403),
            ({"Origin": "http://portal.test.evil.test"}, 403),
            ({"Origin": "http://portal.test", "Sec-Fetch-Site": "same-origin"}, 303),
            ({"Origin": "http://portal.test"}, 303),
        ],
    )
    def test_a_change_is_taken_from_our_own_pages_alone(self, site: Site, headers, expected: int) -> None:
        client = site.signed_in("alpha")
        values = {
            "ae_title": "NEW",
            "host": "pacs.test",
            "port": "104",
            "quiet_time_s": "10",
            "enabled": "true",
        }
        answer = client.post("/peers", data=values, headers=headers)
        assert answer.status_code == expected
        saved = site.owner.execute("SELECT count(*) AS n FROM peer").fetchone()
        assert saved == {"n": 1 if expected == 303 else 0}

    def test_a_cookie_without_any_origin_is_refused(self, site: Site) -> None:
        client = site.signed_in("alpha")
        del client.headers["Origin"]
        assert client.post("/sign-out").status_code == 403

    def test_a_large_body_is_not_read(self, site: Site) -> None:
        answer = site.client().post("/sign-in", content=b"x" * (1024 * 1024 + 1))
        assert answer.status_code == 413


class TestHeaders:
    @pytest.mark.parametrize(
        "path", ["/", "/sign-in", "/nothing", "/static/style.css", "/healthz", "/api/v1/studies"]
    )
    def test_every_answer_carries_the_protective_headers(self, site: Site, path: str) -> None:
        answer = site.client().get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        if not path.startswith("/static"):
            assert answer.headers["cache-control"] == "no-store"

    def test_no_page_has_inline_scripts_styles_or_handlers(self, site: Site) -> None:
        for name, html in poisoned_site(site, "plain").items():
            for tag, attributes in Tree(html).elements:
                assert tag != "style", name
                assert tag != "script" or "src" in attributes, name
                assert not [one for one in attributes if one.startswith("on") or one == "style"], (name, tag)


class TestWorkList:
    def test_htmx_gets_the_table_alone_and_nothing_when_nothing_changed(self, site: Site) -> None:
        site.add_study("alpha")
        client = site.signed_in("alpha")
        fragment = client.get("/", headers={"HX-Request": "true"})
        assert fragment.text.lstrip().startswith('<div id="worklist"')
        seen = fragment.text.split("seen=")[1].split('"')[0]
        assert client.get(f"/?seen={seen}", headers={"HX-Request": "true"}).status_code == 204
        site.add_study("alpha", status="receiving", header={})
        assert client.get(f"/?seen={seen}", headers={"HX-Request": "true"}).status_code == 200

    def test_a_session_that_ended_sends_the_polling_page_to_sign_in(self, site: Site) -> None:
        answer = site.client().get("/", headers={"HX-Request": "true"})
        assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in")

    def test_filters_are_in_the_address_and_the_search_text_is_not(self, site: Site) -> None:
        site.add_study("alpha")
        site.add_study("alpha", status="failed", reason_code="X", reason_text="No pixels.")
        client = site.signed_in("alpha")
        assert "No pixels." in client.get("/?status=failed").text
        assert "No pixels." not in client.get("/?status=delivered").text
        target = client.post("/search", data={"text": "DOE", "status": "failed"}).headers["location"]
        assert target == "/?status=failed&search=1"

    def test_older_studies_are_a_page_away(self, site: Site) -> None:
        for _ in range(51):
            site.add_study("alpha")
        client = site.signed_in("alpha")
        first = client.get("/").text
        older = first.split('href="/?before=')[1].split('"')[0].replace("&amp;", "&")
        second = client.get(f"/?before={older}").text
        assert first.count('scope="row"') == 50
        assert second.count('scope="row"') == 1

    @pytest.mark.parametrize("query", ["status=nonsense", "before=yesterday", "before=2026-01-01"])
    def test_a_query_that_means_nothing_is_refused(self, site: Site, query: str) -> None:
        assert site.signed_in("alpha").get(f"/?{query}").status_code == 422


class TestStudy:
    def test_a_refused_study_says_why_and_that_it_is_not_negative(self, site: Site) -> None:
        study_id = site.add_study(
            "alpha", status="rejected", reason_code="SLICES_TOO_THICK", reason_text="Too thick."
        )
        text = site.signed_in("alpha").get(f"/studies/{study_id}").text
        assert "Too thick." in text
        assert "not the same as “no finding”" in text

    def test_an_earlier_report_stands_until_the_next_is_made(self, site: Site) -> None:
        study_id = site.add_study("alpha", status="decoded")
        site.owner.execute("UPDATE study SET revision = 2")
        write_report(site, study_id, small_report(study_id), with_pdf=False)
        text = site.signed_in("alpha").get(f"/studies/{study_id}").text
        assert "the next revision is on its way" in text
        assert "AI result, not reviewed" in text

    @pytest.mark.parametrize(
        "name", ["report.json", "..%2Freport.json", "%2e%2e/report.json", "finding-2-overview.png", "x.png"]
    )
    def test_only_the_reports_own_pictures_are_served(self, site: Site, name: str) -> None:
        study_id = site.add_study("alpha")
        write_report(site, study_id, small_report(study_id), with_pdf=False)
        client = site.signed_in("alpha")
        picture = client.get(f"/studies/{study_id}/images/finding-1-overview.png")
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
        assert client.get(f"/studies/{study_id}/images/{name}").status_code == 404

    @pytest.mark.parametrize("study_id", ["x", "1", "%00", "00000000-0000-0000-0000-000000000000"])
    def test_an_id_that_is_nobodys_is_not_found(self, site: Site, study_id: str) -> None:
        client = site.signed_in("alpha")
        assert client.get(f"/studies/{study_id}").status_code == 404
        assert client.get(f"/api/v1/studies/{study_id}/result").status_code == 404


class TestCsv:
    @pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "＝1", " =1", "-"])
    def test_nothing_starts_a_formula(self, text: str) -> None:
        assert guarded(text) == "'" + text

    @pytest.mark.parametrize("text", ["-12.50", "12", "plain", "", "a=b", "2026-11-23"])
    def test_numbers_and_plain_text_stay_as_they_are(self, text: str) -> None:
        assert guarded(text) == text

    def test_a_text_with_quotes_and_lines_stays_one_cell(self) -> None:
        text = csv_text(("a", "b"), [('x"y\n', None)])
        assert text.startswith("\ufeff")
        assert list(csv.reader(io.StringIO(text[1:]))) == [["a", "b"], ['x"y\n', ""]]

    def test_usage_exports_every_event_once(self, site: Site) -> None:
        add_contract(site, "alpha")
        study_id = site.add_study("alpha")
        for kind in ("result_delivered", "seen_again", "failed"):
            add_usage(site, "alpha", study_id, kind)
        add_usage(site, "alpha", study_id, sending_peer="=cmd|' /C calc'!A0")
        answer = site.signed_in("alpha", Role.FINANCE).get("/usage.csv")
        rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
        assert [row["outcome"] for row in rows] == ["not_billable"] * 3 + ["billable"]
        assert rows[0]["sending_peer"].startswith("'=")
        assert "attachment" in answer.headers["content-disposition"]


class TestPeers:
    def test_a_peer_is_added_and_changed_without_javascript(self, site: Site) -> None:
        client = site.signed_in("alpha")
        values = {
            "ae_title": "PACS 1",
            "host": "10.0.0.5",
            "port": "11112",
            "quiet_time_s": "7.5",
            "enabled": "true",
        }
        assert client.post("/peers", data=values).headers["location"] == "/peers"
        form = client.get("/peers/edit?ae_title=PACS%201").text
        assert 'value="7.5"' in form
        client.post("/peers", data={**values, "original": "PACS 1", "is_test": "true"})
        row = site.owner.execute("SELECT quiet_time_s, is_test, enabled FROM peer").fetchone()
        assert row == {"quiet_time_s": 7.5, "is_test": True, "enabled": True}

    def test_a_second_peer_of_the_same_title_does_not_replace_the_first(self, site: Site) -> None:
        client = site.signed_in("alpha")
        values = {"ae_title": "PACS", "host": "first", "port": "104", "quiet_time_s": "10"}
        client.post("/peers", data=values)
        assert client.post("/peers", data={**values, "host": "second"}).status_code == 422
        assert site.owner.execute("SELECT host FROM peer").fetchall() == [{"host": "first"}]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"ae_title": ""}, {"ae_title": "A" * 17}, {"ae_title": "A\\B"}, {"host": ""}, {"host": "a b"},
            {"host": "http://x/"}, {"port": "0"}, {"port": "65536"}, {"port": "x"}, {"port": "1e3"},
            {"quiet_time_s": "0"}, {"quiet_time_s": "nan"}, {"quiet_time_s": "inf"},
            {"result_destination": "NOBODY"},
        ],
    )  # fmt: skip
    def test_a_wrong_value_comes_back_with_its_sentence(self, site: Site, wrong: dict[str, str]) -> None:
        client = site.signed_in("alpha")
        values = {"ae_title": "PACS", "host": "pacs.test", "port": "104", "quiet_time_s": "10", **wrong}
        answer = client.post("/peers", data=values)
        assert answer.status_code == 422
        assert 'aria-invalid="true"' in answer.text
        assert site.owner.execute("SELECT 1 FROM peer").fetchall() == []


class TestStatements:
    def test_issuing_twice_makes_one_statement(self, site: Site) -> None:
        contract_id = add_contract(site, "alpha")
        add_usage(site, "alpha", site.add_study("alpha"))
        client = site.signed_in("alpha", Role.FINANCE)
        values = {
            "contract_id": contract_id,
            "starts_on": datetime.now(UTC).strftime("%Y-%m-01"),
            "close_early": "true",
        }
        first, second = (client.post("/statements/issue", data=values) for _ in range(2))
        assert first.headers["location"] == second.headers["location"]
        assert site.owner.execute("SELECT count(*) AS n FROM billing.statement").fetchone() == {"n": 1}
        page = client.get(first.headers["location"])
        assert "CNY 106.00" in page.text
        assert client.get(first.headers["location"] + ".csv").text.count("106.00") == 1
        assert client.get(first.headers["location"] + ".pdf").content.startswith(b"%PDF-")

    def test_a_running_period_is_not_issued_by_accident(self, site: Site) -> None:
        contract_id = add_contract(site, "alpha")
        values = {"contract_id": contract_id, "starts_on": datetime.now(UTC).strftime("%Y-%m-01")}
        answer = site.signed_in("alpha").post("/statements/issue", data=values)
        assert answer.status_code == 409
        assert "A period is billed after its end" in answer.text


class TestWords:
    def test_every_word_of_the_pages_has_its_chinese(self) -> None:
        folder = Path(render.__file__).parent / "templates"
        words = set()
        for path in folder.glob("*.html"):
            tree = environment().parse(path.read_text("utf-8"))
            for call in tree.find_all(jinja2.nodes.Call):
                if getattr(call.node, "name", "") == "_" and hasattr(call.args[0], "value"):
                    words.add(call.args[0].value)
        assert len(words) > 60
        words |= {look[0] for look in (STATUS_LOOK | DECISION_LOOK).values()} | set(KIND_WORDS.values())
        words |= set(EVENT_WORDS.values()) | {
            kind.__doc__ for kind in (RoleNotAllowed, PageNotFound, InvalidInput)
        }
        assert sorted(words - ZH.keys()) == []

    def test_a_chinese_hospital_reads_chinese(self, site: Site) -> None:
        text = site.signed_in("beta").get("/").text
        assert "工作列表" in text
        assert 'lang="zh-Hans"' in text


def test_a_model_cards_markdown_becomes_blocks_not_markup() -> None:
    text = "# Card\n\nNot **cleared** for `use`, see [the paper](http://x).\nMore <b>text</b>.\n\n"
    text += "- one\n  two\n- three\n\n"
    text += "| a | b |\n|---|--:|\n| 1 | 2 |\n\n```\ncode\n```\n"
    kinds = [(block.kind, len(block.rows)) for block in blocks(text)]
    assert kinds == [("heading", 1), ("paragraph", 1), ("list", 1), ("table", 2), ("code", 1)]
    paragraph = blocks(text)[1].rows[0][0]
    assert ("strong", "cleared") in paragraph
    assert ("code", "use") in paragraph
    assert "".join(part for _, part in paragraph).endswith("see the paper. More <b>text</b>.")


def test_the_api_describes_itself_without_anything_from_elsewhere(site: Site) -> None:
    client = site.client()
    schema = client.get("/api/openapi.json").json()
    assert "/api/v1/studies/{study_id}/result" in schema["paths"]
    page = client.get("/api/docs").text
    assert "//cdn" not in page
    assert all(path in page for path in schema["paths"])
    assert json.dumps(schema)
