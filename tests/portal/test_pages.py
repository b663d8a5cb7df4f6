"""What pages say, what they must not repeat, and how they behave without JavaScript."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import pytest
from psycopg.types.json import Jsonb

from portal import render
from portal.context import Role
from portal.csv_export import csv_text, guarded
from portal.errors import InvalidInput, PageNotFound, RoleNotAllowed
from portal.markdown import blocks
from portal.pages.study import EVENT_WORDS
from portal.render import DECISION_LOOK, KIND_WORDS, STATUS_LOOK, environment
from portal.text import ZH
from tests.portal.portal_site import Site
from tests.portal.report_seed import small_report
from tests.portal.seeds import add_contract, add_result, add_usage, lung_model, write_report


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


def test_a_program_reads_statements_and_what_must_be_known_beside_the_findings(site: Site) -> None:
    study_id = site.add_study("alpha", status="delivered")
    add_result(site, "alpha", study_id, [])
    statement = {"label": "pneumothorax", "probability": 0.91, "threshold": 0.4, "is_positive": True}
    answer = {"classifications": [statement], "structures": [], "notes": ["The patient's age is not known."]}
    site.owner.execute("UPDATE result SET answer = %s", (Jsonb(answer),))
    (result,) = site.signed_in("alpha").get(f"/api/v1/studies/{study_id}/result").json()["results"]
    assert (result["findings"], result["statements"], result["structures"]) == ([], [statement], [])
    assert result["notes"] == ["The patient's age is not known."]


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

    def test_when_its_studies_are_complete_is_set_on_the_page(self, site: Site) -> None:
        client = site.signed_in("alpha")
        values = {
            "ae_title": "CT1", "host": "ct1", "port": "104", "quiet_time_s": "10", "quiet_time_max_s": "60",
            "force_after_s": "900", "force_policy": "ask", "archive_habit": "complete",
        }  # fmt: skip
        assert client.post("/peers", data=values).status_code == 303
        row = site.owner.execute(
            "SELECT quiet_time_max_s, force_after_s, force_policy, archive_habit FROM peer"
        ).fetchone()
        assert row == {
            "quiet_time_max_s": 60.0, "force_after_s": 900.0, "force_policy": "ask", "archive_habit": "complete",
        }  # fmt: skip
        form = client.get("/peers/edit?ae_title=CT1").text
        assert 'value="60"' in form
        assert '<option value="complete" selected>' in form

    def test_a_second_peer_of_the_same_title_does_not_replace_the_first(self, site: Site) -> None:
        client = site.signed_in("alpha")
        values = {"ae_title": "PACS", "host": "first", "port": "104", "quiet_time_s": "10"}
        client.post("/peers", data=values)
        assert client.post("/peers", data={**values, "host": "second"}).status_code == 422
        assert site.owner.execute("SELECT host FROM peer").fetchall() == [{"host": "first"}]

    def test_one_is_removed_unless_results_of_others_go_there(self, site: Site) -> None:
        client = site.signed_in("alpha")
        values = {"host": "10.0.0.5", "port": "104", "quiet_time_s": "10", "enabled": "true"}
        client.post("/peers", data=values | {"ae_title": "PACS"})
        client.post("/peers", data=values | {"ae_title": "CT1", "result_destination": "PACS"})
        refused = client.post("/peers/remove", data={"ae_title": "PACS"})
        assert refused.status_code == 409
        assert "Results of other peers go there" in refused.text
        assert "Remove this peer" in client.get("/peers/edit?ae_title=CT1").text
        assert client.post("/peers/remove", data={"ae_title": "CT1"}).status_code == 303
        assert client.post("/peers/remove", data={"ae_title": "PACS"}).status_code == 303
        assert client.post("/peers/remove", data={"ae_title": "PACS"}).status_code == 404
        assert site.owner.execute("SELECT FROM peer").rowcount == 0

    def test_its_archive_is_tested_with_a_sentence_and_its_certificates_are_shown(self, site: Site) -> None:
        client = site.signed_in("alpha")
        values = {"host": "127.0.0.1", "port": "1", "quiet_time_s": "10", "certificates": "cn:CT1"}
        client.post("/peers", data=values | {"ae_title": "CT1", "query_kind": "dimse"})
        client.post("/peers", data=values | {"ae_title": "CT2"})
        assert "cn:ct1" in client.get("/peers").text
        assert "no connection to the peer" in client.post("/peers/test", data={"ae_title": "CT1"}).text
        assert "no archive is set for it" in client.post("/peers/test", data={"ae_title": "CT2"}).text
        assert client.post("/peers/test", data={"ae_title": "CT3"}).status_code == 404

    def test_a_wrong_value_comes_back_with_its_sentence(self, site: Site) -> None:
        client = site.signed_in("alpha")
        right = {"ae_title": "PACS", "host": "pacs.test", "port": "104", "quiet_time_s": "10"}
        for field, wrong in (
            ("ae_title", ("", "A" * 17, "A\\B")),
            ("host", ("", "a b", "http://x/")),
            ("port", ("0", "65536", "x", "1e3", "١")),
            ("quiet_time_s", ("0", "nan", "inf", "x")),
            ("quiet_time_max_s", ("0", "x")),
            ("force_after_s", ("0", "86401")),
            ("force_policy", ("wait",)),
            ("archive_habit", ("full",)),
            ("result_destination", ("NOBODY",)),
            ("hosts", ("10.0.0.0/40", "a b", "10.0.0.1\n;")),
            ("certificates", ("ct1", "cn:")),
            ("modalities", ("C T",)),
            ("sop_classes", ("CT Image Storage",)),
            ("duplicate_policy", ("ignore",)),
            ("site", ("1.2.840", "=SUM(A1)", "x" * 65)),
            ("department", ("a.b", "<b>")),
            ("query_kind", ("fax",)),
            ("query_port", ("0", "x")),
            ("query_url", ("pacs", "javascript:x")),
        ):
            for value in wrong:
                answer = client.post("/peers", data={**right, field: value})
                assert answer.status_code == 422, (field, value)
                assert f'aria-describedby="{field}-problem' in answer.text, (field, value)
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


class TestModels:
    def test_an_installed_models_card_and_numbers_are_shown_as_text(self, site: Site) -> None:
        folder = site.context.data_root / "models/theirs"
        folder.mkdir(parents=True)
        manifest = (lung_model().folder / "manifest.toml").read_text("utf-8")
        (folder / "manifest.toml").write_text(
            manifest.replace('name = "lung_nodule_ct"', 'name = "theirs"', 1)
        )
        (folder / "MODEL_CARD.md").write_text("# Card\n\nNot **cleared**. <script>alert(1)</script>\n")
        values = {"cpm": 0.93456, "sensitivity": {"at_1_fp": 0.9}, "curve": [1, 2]}
        (folder / lung_model().evaluation_file).write_text(json.dumps(values))
        text = site.signed_in("alpha").get("/models").text
        assert "<strong>cleared</strong>" in text
        assert "<script>alert" not in text
        assert "0.9346" in text
        assert "sensitivity › at 1 fp" in text

    def test_a_broken_manifest_is_said_and_does_not_break_the_page(self, site: Site) -> None:
        folder = site.context.data_root / "models/broken"
        folder.mkdir(parents=True)
        (folder / "manifest.toml").write_text("name = ")
        answer = site.signed_in("alpha").get("/models")
        assert answer.status_code == 200
        assert "INVALID_MANIFEST" in answer.text


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
