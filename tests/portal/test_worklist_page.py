"""The page of the work list: what htmx gets, filters in the address, pages, searches of anything."""

from __future__ import annotations

import pytest

from tests.portal.portal_site import Site


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
        older = first.split('href="/?after=')[1].split('"')[0].replace("&amp;", "&")
        second = client.get(f"/?after={older}").text
        assert first.count('id="study-') == 50
        assert second.count('id="study-') == 1

    @pytest.mark.parametrize(
        "query", ["status=nonsense", "view=x", "days=2", "after=x", "after=1~2026-01-01~x"]
    )
    def test_a_query_that_means_nothing_is_refused(self, site: Site, query: str) -> None:
        assert site.signed_in("alpha").get(f"/?{query}").status_code == 422

    @pytest.mark.parametrize(
        "text", ["%", "_", "\\", "' OR 1=1 --", "王" * 100, "a b c d e f g h i j", ",", "^="]
    )
    def test_a_search_of_anything_is_answered(self, site: Site, text: str) -> None:
        site.add_study("alpha")
        client = site.signed_in("alpha")
        assert client.post("/search", data={"text": text}).status_code == 303
        page = client.get("/?search=1")
        assert page.status_code == 200
        assert "No study matches." in page.text

    @pytest.mark.parametrize("text", ["x" * 10_240, "DOE\x00"])
    def test_a_search_that_cannot_be_is_refused_with_a_sentence(self, site: Site, text: str) -> None:
        client = site.signed_in("alpha")
        answer = client.post("/search", data={"text": text})
        if answer.status_code == 303:
            answer = client.get("/?search=1")
        assert answer.status_code == 422
        assert "characters" in answer.text or "not valid" in answer.text
