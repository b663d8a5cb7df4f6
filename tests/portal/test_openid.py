"""Sign-in by OpenID Connect against a provider that runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import oidc_provider_mock
import pytest
from fastapi.testclient import TestClient

from portal.context import Role
from portal.errors import OpenIdUnavailable
from portal.openid_store import ProviderSettings, save_provider, switch_provider_off
from portal.requests import SESSION_COOKIE
from tests.portal.portal_site import PASSWORD, Site

ROLES = (("radmeter-admins", "admin"), ("doctors", "radiologist"))


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A provider with people of its own, on a port of this machine."""
    users = [
        oidc_provider_mock.User(sub="s-1", claims={"preferred_username": "dr.wang", "groups": ["doctors"]}),
        oidc_provider_mock.User(sub="s-2", claims={"preferred_username": "nobody", "groups": ["kitchen"]}),
        oidc_provider_mock.User(sub="s-3", claims={"preferred_username": "anna", "groups": ["doctors"]}),
        oidc_provider_mock.User(sub="s-4", claims={"preferred_username": "\u202etxt", "groups": ["doctors"]}),
        oidc_provider_mock.User(sub="s-5", claims={"preferred_username": "later", "groups": ["doctors"]}),
    ]
    with oidc_provider_mock.run_server_in_thread(user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
def hospital(site: Site, issuer: str) -> Site:
    """The tenant alpha with this provider."""
    site.context.secrets_directory.mkdir()
    (site.context.secrets_directory / "openid.txt").write_text("the secret\n")
    save_provider(site.owner, "alpha", settings_of(issuer), by="test")
    return site


def settings_of(provider: str, **values: Any) -> ProviderSettings:
    known = {
        "issuer": provider, "client_id": "radmeter", "public_url": "http://localhost", "label": "Hospital sign-in",
        "secret_file": "openid.txt", "roles": ROLES,
    }  # fmt: skip
    return ProviderSettings(**{**known, **values})


def go_out(client: TestClient, next_path: str = "") -> str:
    answer = client.get("/sign-in/openid/alpha/out", params={"next": next_path})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def back_from(address: str, subject: str) -> dict[str, str]:
    """What the provider sends the browser back with when this person agrees."""
    answer = httpx.post(address, data={"sub": subject})
    assert answer.status_code == 302, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def sign_in(client: TestClient, subject: str, next_path: str = ""):
    return client.get("/sign-in/openid/back", params=back_from(go_out(client, next_path), subject))


class TestFlow:
    def test_a_person_of_a_mapped_group_comes_in_and_goes_on_to_the_page(self, hospital: Site) -> None:
        client = hospital.client()
        assert "/sign-in/openid/alpha/out" in client.get("/sign-in").text
        answer = sign_in(client, "s-1", "/models")
        assert answer.status_code == 200
        assert 'content="0;url=/models"' in answer.text
        assert client.get("/").status_code == 200
        page = client.get("/account").text
        assert "dr.wang" in page
        assert "radiologist" in page
        row = hospital.owner.execute("SELECT * FROM portal_user WHERE name = 'dr.wang'").fetchone()
        assert row is not None
        assert (row["tenant"], row["openid_subject"], row["password_hash"]) == ("alpha", "s-1", None)
        again = hospital.client()
        assert sign_in(again, "s-1").status_code == 200
        assert again.post("/sign-in", data={"name": "dr.wang", "password": ""}).status_code == 401

    def test_the_way_out_carries_state_nonce_and_a_challenge_and_no_secret(self, hospital: Site) -> None:
        query = parse_qs(urlsplit(go_out(hospital.client())).query)
        assert query["response_type"] == ["code"]
        assert query["code_challenge_method"] == ["S256"]
        assert query["redirect_uri"] == ["http://localhost/sign-in/openid/back"]
        assert all(len(query[name][0]) >= 43 for name in ("state", "nonce", "code_challenge"))
        assert "the secret" not in str(query)
        kept = hospital.owner.execute("SELECT code_verifier FROM openid_attempt").fetchone()
        assert kept is not None
        assert kept["code_verifier"] not in str(query)

    def test_the_way_back_counts_once_and_in_the_browser_that_went_out(self, hospital: Site) -> None:
        mine, other = hospital.client(), hospital.client()
        query = back_from(go_out(mine), "s-1")
        assert other.get("/sign-in/openid/back", params=query).status_code == 403, (
            "another browser: a planted link"
        )
        assert mine.get("/sign-in/openid/back", params={**query, "state": "x" * 43}).status_code == 403
        assert mine.get("/sign-in/openid/back", params=query).status_code == 403, "the attempt is used up"
        assert SESSION_COOKIE not in {*mine.cookies, *other.cookies}
        query = back_from(go_out(mine), "s-1")
        hospital.owner.execute("UPDATE openid_attempt SET expires_at = now() - interval '1 second'")
        assert mine.get("/sign-in/openid/back", params=query).status_code == 403

    def test_a_code_that_is_not_the_providers_opens_nothing(self, hospital: Site) -> None:
        for change in ({"code": "forged"}, {"code": ""}, {"error": "access_denied", "code": ""}):
            client = hospital.client()
            query = back_from(go_out(client), "s-1")
            answer = client.get("/sign-in/openid/back", params={**query, **change})
            assert answer.status_code in (403, 502), change
            assert client.get("/").status_code == 303
        last = hospital.owner.execute(
            "SELECT action, tenant FROM audit_event ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        assert last == {"action": "sign_in_failed", "tenant": "alpha"}

    @pytest.mark.parametrize("subject", ["s-2", "s-3", "s-4"])
    def test_no_group_a_taken_name_and_a_name_that_deceives_are_refused(
        self, hospital: Site, subject: str
    ) -> None:
        hospital.add_user("alpha", "anna", Role.ADMIN)
        client = hospital.client()
        assert sign_in(client, subject).status_code == 403
        assert client.get("/").status_code == 303
        names = hospital.owner.execute("SELECT name, openid_subject FROM portal_user").fetchall()
        assert names == [{"name": "anna", "openid_subject": None}], "a local account is never taken over"

    def test_who_is_disabled_or_switched_off_here_is_out(self, hospital: Site) -> None:
        client = hospital.client()
        assert sign_in(client, "s-1").status_code == 200
        hospital.owner.execute("UPDATE portal_user SET disabled_at = now() WHERE name = 'dr.wang'")
        assert client.get("/").status_code == 303
        assert sign_in(hospital.client(), "s-1").status_code == 403
        hospital.owner.execute("UPDATE portal_user SET disabled_at = NULL")
        assert sign_in(client, "s-1").status_code == 200
        assert switch_provider_off(hospital.owner, "alpha", by="test")
        assert client.get("/").status_code == 303
        assert hospital.client().get("/sign-in/openid/alpha/out").status_code == 404

    def test_a_group_that_changes_changes_the_role_at_the_next_sign_in(
        self, hospital: Site, issuer: str
    ) -> None:
        first = hospital.client()
        assert sign_in(first, "s-5").status_code == 200
        claims = {"preferred_username": "later", "groups": ["doctors", "radmeter-admins"]}
        assert httpx.put(f"{issuer}/users/s-5", json=claims).status_code == 204
        assert sign_in(hospital.client(), "s-5").status_code == 200
        assert first.get("/").status_code == 303, "the session of the old role is over"
        row = hospital.owner.execute("SELECT role FROM portal_user WHERE name = 'later'").fetchone()
        assert row == {"role": "admin"}

    def test_nobody_is_sent_elsewhere_after_signing_in(self, hospital: Site) -> None:
        for target in ("https://evil.test/", "//evil.test/", "/\\evil.test"):
            assert "evil" not in sign_in(hospital.client(), "s-1", target).text

    def test_signing_out_leads_to_the_providers_sign_out(self, hospital: Site, issuer: str) -> None:
        client = hospital.client()
        sign_in(client, "s-1")
        answer = client.post("/sign-out")
        assert answer.status_code == 200
        assert f"{issuer}/oauth2/end_session" in answer.text
        assert client.get("/").status_code == 303

    def test_a_provider_that_is_away_is_said_and_passwords_still_work(self, hospital: Site) -> None:
        save_provider(hospital.owner, "alpha", settings_of("http://localhost:1"), by="test")
        answer = hospital.client().get("/sign-in/openid/alpha/out")
        assert answer.status_code == 502
        assert "does not answer" in answer.text
        hospital.add_user("alpha", "anna", Role.ADMIN)
        answer = hospital.client().post("/sign-in", data={"name": "anna", "password": PASSWORD})
        assert answer.status_code == 303


@pytest.mark.parametrize(
    "values",
    [
        {"issuer": "http://id.test"}, {"roles": ()}, {"roles": (("g", "god"),)}, {"roles": (("g", "vendor"),)},
        {"algorithms": ("HS256",)}, {"algorithms": ("none",)}, {"algorithms": ()}, {"scopes": "profile"},
        {"secret_file": "../key"}, {"clock_skew_s": 301}, {"public_url": "ftp://x"},
    ],
)  # fmt: skip
def test_settings_that_would_let_anybody_in_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(OpenIdUnavailable):
        settings_of("https://id.test", **values)
