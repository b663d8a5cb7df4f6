"""What comes from outside stays text, changes come from our own pages alone, every answer is protected."""

from __future__ import annotations

import uuid
from html.parser import HTMLParser

from tests.portal.portal_site import Site
from tests.portal.report_seed import small_report
from tests.portal.seeds import add_contract, write_report

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "{{ 7 * 7 }}<b>bold</b>",
    "</title></textarea><svg/onload=alert(1)>",
    "javascript:alert(1)//<a href='javascript:alert(1)'>x</a>",
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
        for kind, state in (("SR", "waiting"), ("PDF", "dead")):
            uid = uuid.uuid4().hex
            site.owner.execute(
                """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind,
                     location, sha256, size_bytes) VALUES (%s, %s, %s, 1, %s, %s, 'x', 'x', 1)""",
                (tenant, uid, study_id, text, kind),
            )
            site.owner.execute(
                """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state, attempts, last_error,
                     warning) VALUES (%s, %s, %s, %s, %s, 1, %s, %s)""",
                (tenant, uid, text, study_id, state, text, text),
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
    def test_the_element_tree_does_not_depend_on_what_comes_from_outside(self, site: Site) -> None:
        expected = poisoned_site(site, "x" * 40)
        for payload in PAYLOADS:
            actual = poisoned_site(site, payload)
            for name in expected:
                assert Tree(actual[name]).elements == Tree(expected[name]).elements, (name, payload)

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
    def test_a_change_is_taken_from_our_own_pages_alone(self, site: Site) -> None:
        client = site.signed_in("alpha")
        values = {"ae_title": "NEW", "host": "pacs.test", "port": "104", "quiet_time_s": "10"}
        ours = {"Origin": "http://portal.test"}
        for foreign in (
            {"Origin": "http://evil.test"},
            {"Origin": "null"},
            {"Origin": "http://portal.test.evil.test"},
            {**ours, "Sec-Fetch-Site": "cross-site"},
            {**ours, "Sec-Fetch-Site": "same-site"},
        ):
            assert client.post("/peers", data=values, headers=foreign).status_code == 403, foreign
        assert site.owner.execute("SELECT 1 FROM peer").fetchall() == []
        for number, own in enumerate((ours, {**ours, "Sec-Fetch-Site": "same-origin"})):
            answer = client.post("/peers", data={**values, "ae_title": f"NEW{number}"}, headers=own)
            assert answer.status_code == 303, own

    def test_a_cookie_without_any_origin_is_refused(self, site: Site) -> None:
        client = site.signed_in("alpha")
        del client.headers["Origin"]
        assert client.post("/sign-out").status_code == 403

    def test_a_large_body_is_not_read(self, site: Site) -> None:
        answer = site.client().post("/sign-in", content=b"x" * (1024 * 1024 + 1))
        assert answer.status_code == 413


class TestHeaders:
    def test_every_answer_carries_the_protective_headers(self, site: Site) -> None:
        client = site.client()
        for path in ("/", "/sign-in", "/nothing", "/static/style.css", "/healthz", "/api/v1/studies"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert path.startswith("/static") or headers["cache-control"] == "no-store"

    def test_no_page_has_inline_scripts_styles_or_handlers(self, site: Site) -> None:
        for name, html in poisoned_site(site, "plain").items():
            for tag, attributes in Tree(html).elements:
                assert tag != "style", name
                assert tag != "script" or "src" in attributes, name
                assert not [one for one in attributes if one.startswith("on") or one == "style"], (name, tag)
