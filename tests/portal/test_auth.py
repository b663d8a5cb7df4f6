"""Sign-in, sessions, API keys and the first admin."""

from __future__ import annotations

import hashlib

import pytest

from portal.auth import (
    create_api_key,
    create_first_admin,
    create_user,
    find_key,
    reader_identity,
    revoke_api_key,
    set_password,
)
from portal.context import Identity, Role
from portal.errors import NotSignedIn, PasswordTooShort, UserExists
from portal.requests import SESSION_COOKIE
from tests.portal.portal_site import PASSWORD, Site


def sign_in(site: Site, name: str, password: str = PASSWORD, next: str = ""):
    client = site.client()
    return client, client.post("/sign-in", data={"name": name, "password": password, "next": next})


def identify(site: Site, key: str) -> Identity:
    return reader_identity(site.database, find_key(site.database, key))


class TestSignIn:
    def test_every_page_sends_a_stranger_to_sign_in(self, site: Site) -> None:
        answer = site.client().get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")

    def test_the_right_password_opens_the_work_list(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        client, answer = sign_in(site, "anna")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert client.get("/").status_code == 200

    def test_the_cookie_is_closed_to_scripts_and_to_other_sites(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        cookie = sign_in(site, "anna")[1].headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie

    def test_the_database_holds_neither_password_nor_token(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        client, _ = sign_in(site, "anna")
        token = client.cookies[SESSION_COOKIE]
        stored = site.owner.execute("SELECT token_hash FROM portal_session").fetchall()
        assert [bytes(row["token_hash"]) for row in stored] == [hashlib.sha256(token.encode()).digest()]
        user = site.owner.execute("SELECT password_hash FROM portal_user").fetchone()
        assert user is not None
        assert user["password_hash"].startswith("$argon2id$")
        assert len(token) >= 43  # 256 bits in base64

    def test_a_wrong_password_and_an_unknown_name_are_answered_alike(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        wrong = sign_in(site, "anna", "wrong password 1")[1]
        unknown = sign_in(site, "nobody", "wrong password 1")[1]
        assert wrong.status_code == unknown.status_code == 401
        assert wrong.text.replace("anna", "nobody") == unknown.text

    def test_guessing_is_slowed_down_after_five_failures(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        client = site.client()
        codes = [
            client.post("/sign-in", data={"name": "anna", "password": "wrong"}).status_code for _ in range(6)
        ]
        assert codes == [401] * 5 + [429]
        right = client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        assert right.status_code == 429
        assert int(right.headers["retry-after"]) > 0

    def test_signing_out_ends_the_session_on_the_server(self, site: Site) -> None:
        client = site.signed_in("alpha")
        token = client.cookies[SESSION_COOKIE]
        assert client.post("/sign-out").status_code == 303
        client.cookies.set(SESSION_COOKIE, token)
        assert client.get("/").status_code == 303

    def test_an_expired_session_is_no_session(self, site: Site) -> None:
        client = site.signed_in("alpha")
        site.owner.execute("UPDATE portal_session SET expires_at = now() - interval '1 second'")
        assert client.get("/").status_code == 303

    def test_a_new_password_ends_the_sessions_of_the_old_one(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        client, _ = sign_in(site, "anna")
        with site.database.transaction("alpha") as conn:
            assert set_password(conn, "alpha", "anna", "another long password")
        assert client.get("/").status_code == 303

    @pytest.mark.parametrize(
        ("target", "lands_on"),
        [
            ("/models", "/models"),
            ("//evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("/\\evil.example", "/"),
            ("/models\r\nX: y", "/"),
        ],
    )
    def test_after_signing_in_one_stays_on_this_server(self, site: Site, target: str, lands_on: str) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        assert sign_in(site, "anna", next=target)[1].headers["location"] == lands_on

    def test_the_sign_in_page_speaks_the_browsers_language(self, site: Site) -> None:
        page = site.client().get("/sign-in", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
        assert "登录" in page.text
        assert 'lang="zh-Hans"' in page.text


class TestUsers:
    def test_the_first_admin_is_made_once_and_can_sign_in(self, site: Site) -> None:
        with site.database.transaction("alpha") as conn:
            password = create_first_admin(conn, "alpha")
        assert password is not None
        assert sign_in(site, "admin", password)[1].status_code == 303
        with site.database.transaction("alpha") as conn:
            assert create_first_admin(conn, "alpha") is None

    def test_a_name_is_taken_for_all_tenants(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        with pytest.raises(UserExists), site.database.transaction("beta") as conn:
            create_user(conn, "beta", "anna", PASSWORD, Role.RADIOLOGIST)

    def test_a_short_password_is_refused(self, site: Site) -> None:
        with pytest.raises(PasswordTooShort), site.database.transaction("alpha") as conn:
            create_user(conn, "alpha", "anna", "short", Role.RADIOLOGIST)


class TestApiKeys:
    def test_a_key_names_its_tenant_until_it_is_revoked(self, site: Site) -> None:
        with site.database.transaction("beta") as conn:
            key = create_api_key(conn, "beta", "RIS")
        assert identify(site, key).tenant == "beta"
        with site.database.transaction("beta") as conn:
            assert revoke_api_key(conn, "beta", key.split("_")[1])
        with pytest.raises(NotSignedIn):
            identify(site, key)

    def test_only_prefix_and_digest_are_stored(self, site: Site) -> None:
        with site.database.transaction("alpha") as conn:
            key = create_api_key(conn, "alpha", "RIS")
        row = site.owner.execute("SELECT * FROM api_key").fetchone()
        assert row is not None
        assert bytes(row["key_hash"]) == hashlib.sha256(key.encode()).digest()
        assert key.split("_", 2)[2] not in repr(row)

    @pytest.mark.parametrize("change", [lambda key: key[:-1], lambda key: key + "x", lambda key: key.upper()])
    def test_a_changed_key_is_refused(self, site: Site, change) -> None:
        with site.database.transaction("alpha") as conn:
            key = create_api_key(conn, "alpha", "RIS")
        with pytest.raises(NotSignedIn):
            identify(site, change(key))

    @pytest.mark.parametrize("key", ["", "rm_", "rm__", "rm_00000000_", "x", "rm_\x00_a", "rm_ü_ü"])
    def test_nonsense_is_no_key(self, site: Site, key: str) -> None:
        with pytest.raises(NotSignedIn):
            identify(site, key)
