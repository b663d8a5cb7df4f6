"""The second factor and the first password: asked for, used once, reset, and never a way around them."""

from __future__ import annotations

import re
import time

import pyotp
import pytest
from fastapi.testclient import TestClient

from portal import second_factor
from portal.auth import create_user
from portal.context import Role
from portal.errors import PasswordCommon, PasswordTooShort
from portal.passwords import require_strong
from portal.requests import SESSION_COOKIE
from tests.portal.portal_site import PASSWORD, Site

NEW = "violet tractor hums quietly"


def enrol(client: TestClient) -> tuple[str, list[str]]:
    """(secret, recovery codes) of a person who sets one up on the page."""
    form = client.get("/account/second-factor").text
    found = re.search(r'name="secret" value="([A-Z2-7]{32})"', form)
    assert found
    assert "<svg" in form
    code = pyotp.TOTP(found[1]).now()
    answer = client.post(
        "/account/second-factor", data={"secret": found[1], "code": code, "password": PASSWORD}
    )
    assert answer.status_code == 200, answer.text
    return found[1], re.findall(r"<li><code>([a-z0-9-]+)</code></li>", answer.text)


def sign_in(site: Site, name: str, password: str = PASSWORD) -> TestClient:
    client = site.client()
    assert client.post("/sign-in", data={"name": name, "password": password}).status_code == 303
    return client


def later(seconds: float):
    return lambda: time.time() + seconds


class TestSecondFactor:
    def test_a_password_alone_opens_nothing(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        first = sign_in(site, "anna")
        secret, codes = enrol(first)
        assert len(set(codes)) == 10
        assert first.get("/").status_code == 200, "the session that set it up has proved it"
        client = sign_in(site, "anna")
        for path in ("/", "/account", "/account/password", "/account/second-factor", "/models"):
            answer = client.get(path)
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/sign-in/second-factor"), path
        assert client.get("/api/v1/studies").status_code == 401
        for path, data in (
            ("/account/password", {"present": PASSWORD, "new": NEW, "again": NEW}),
            ("/account/second-factor", {"secret": secret, "code": "1", "password": PASSWORD}),
            ("/account/second-factor/remove", {"password": PASSWORD}),
        ):
            assert client.post(path, data=data).headers["location"].startswith("/sign-in/second-factor"), path
        stored = site.owner.execute("SELECT totp_secret FROM portal_user").fetchone()
        assert stored is not None
        assert secret not in stored["totp_secret"]

    def test_each_code_is_good_once_and_the_session_gets_a_new_token(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        secret, codes = enrol(sign_in(site, "anna"))
        used = pyotp.TOTP(secret).now()
        client = sign_in(site, "anna")
        assert client.post("/sign-in/second-factor", data={"code": used}).status_code == 401, "used to set up"
        before = client.cookies[SESSION_COOKIE]
        answer = client.post("/sign-in/second-factor", data={"code": codes[0].upper(), "next": "/models"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/models")
        assert client.cookies[SESSION_COOKIE] != before
        assert client.get("/").status_code == 200
        client.cookies.set(SESSION_COOKIE, before)
        assert client.get("/").status_code == 303
        again = sign_in(site, "anna")
        assert again.post("/sign-in/second-factor", data={"code": codes[0]}).status_code == 401

    def test_codes_beside_the_present_one_count_and_none_twice(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        secret, _ = enrol(sign_in(site, "anna"))
        with site.database.transaction("alpha") as conn:

            def use(code: str, at: float) -> str | None:
                return second_factor.use_code(conn, site.context, "alpha", "anna", code, later(at))

            code = pyotp.TOTP(secret).at(int(time.time()) + 300)
            assert use(code, 300 - 90) is None
            assert use(code, 300 + 90) is None
            assert use(code, 300 - 30) == "code"
            assert use(code, 300) is None
            assert use(pyotp.TOTP(secret).at(int(time.time()) + 270), 300) is None, (
                "older than one that was used"
            )
            for nonsense in ("", "12345", "１２３４５６", "000000000000", "x" * 100, "\x00"):
                assert use(nonsense, 600) is None, nonsense

    def test_guessing_codes_is_slowed_down(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        _, codes = enrol(sign_in(site, "anna"))
        client = sign_in(site, "anna")
        answers = [
            client.post("/sign-in/second-factor", data={"code": f"00000{n}"}).status_code for n in range(6)
        ]
        assert answers == [401] * 5 + [429]
        assert client.post("/sign-in/second-factor", data={"code": codes[0]}).status_code == 429

    def test_a_role_can_be_told_to_have_one(self, site: Site) -> None:
        radiologist = site.signed_in("alpha", Role.RADIOLOGIST)
        admin = site.signed_in("alpha", Role.ADMIN)
        assert radiologist.get("/").status_code == 200
        assert admin.post("/users/policy", data={"roles": ["radiologist", "operator"]}).status_code == 303
        assert radiologist.get("/").headers["location"] == "/account/second-factor"
        enrol(radiologist)
        assert radiologist.get("/").status_code == 200
        assert site.signed_in("beta", Role.RADIOLOGIST).get("/").status_code == 200, (
            "another hospital's policy"
        )

    def test_an_admin_resets_it_and_ends_the_sessions(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        anna = sign_in(site, "anna")
        enrol(anna)
        admin = site.signed_in("alpha", Role.ADMIN)
        assert admin.post("/users/change", data={"name": "anna", "what": "second-factor"}).status_code == 303
        assert anna.get("/").status_code == 303
        assert sign_in(site, "anna").get("/").status_code == 200
        row = site.owner.execute("SELECT count(*) AS n FROM recovery_code").fetchone()
        assert row == {"n": 0}

    def test_setting_it_up_takes_the_password_and_a_right_code(self, site: Site) -> None:
        client = site.signed_in("alpha")
        secret = second_factor.new_secret()
        code = pyotp.TOTP(secret).now()
        for data, status in (
            ({"secret": secret, "code": code, "password": "wrong"}, 401),
            ({"secret": secret, "code": "000000" if code != "000000" else "1", "password": PASSWORD}, 401),
            ({"secret": "short", "code": code, "password": PASSWORD}, 422),
        ):
            assert client.post("/account/second-factor", data=data).status_code == status
        assert (
            site.owner.execute("SELECT 1 FROM portal_user WHERE totp_secret IS NOT NULL").fetchone() is None
        )


class TestPassword:
    def test_a_first_password_is_changed_before_anything_else(self, site: Site) -> None:
        with site.database.transaction("alpha") as conn:
            create_user(conn, "alpha", "anna", PASSWORD, Role.RADIOLOGIST, must_change=True)
        client, other = sign_in(site, "anna"), sign_in(site, "anna")
        assert client.get("/models").headers["location"] == "/account/password?next=/models"
        data = {"present": PASSWORD, "new": NEW, "again": NEW, "next": "/models"}
        for wrong in (
            {"present": "not this one"}, {"again": NEW + "x"}, {"new": PASSWORD, "again": PASSWORD},
            {"new": "short", "again": "short"}, {"new": "passwordpassword1", "again": "passwordpassword1"},
        ):  # fmt: skip
            assert client.post("/account/password", data={**data, **wrong}).status_code in (401, 422), wrong
        before = client.cookies[SESSION_COOKIE]
        answer = client.post("/account/password", data=data)
        assert (answer.status_code, answer.headers["location"]) == (303, "/models")
        assert client.cookies[SESSION_COOKIE] != before
        assert client.get("/").status_code == 200
        assert other.get("/").headers["location"] == "/sign-in", "the sessions of the old password are over"

    @pytest.mark.parametrize(
        "password",
        [
            "password1234", "Password-2026!", "P@ssw0rdP@ssw0rd", "qwertyuiop12", "aaaaaaaaaaaa", "123456789012",
            "abcdefghijkl", "radiology2026", "Winter2026Winter", "iloveyou1234", "anna.anna.anna", "woaini520520",
            "adminadminadmin",
        ],
    )  # fmt: skip
    def test_what_many_people_take_is_refused(self, password: str) -> None:
        with pytest.raises(PasswordCommon):
            require_strong(password, "anna")

    @pytest.mark.parametrize(
        "password", [PASSWORD, NEW, "我家的猫每天早上六点叫我起床", "xk2#Lq9!vRw4", "żółw i krówka w lesie"]
    )
    def test_words_of_ones_own_are_taken(self, password: str) -> None:
        require_strong(password, "anna")

    @pytest.mark.parametrize("length", [0, 11, 1025, 1_000_000])
    def test_length_has_two_ends(self, length: int) -> None:
        with pytest.raises(PasswordTooShort):
            require_strong(
                "xk2#Lq9!vRw4"[:length] if length < 12 else "ab3$" * (length // 4) + "z" * (length % 4)
            )

    def test_the_same_letters_typed_on_another_keyboard_sign_in(self, site: Site) -> None:
        composed, decomposed = (
            "Zürich café größer weit",
            "Zu\u0308rich cafe\u0301 gro\u00dfer weit".replace("gro\u00dfer", "gro\u0308\u00dfer"),
        )
        with site.database.transaction("alpha") as conn:
            create_user(conn, "alpha", "Jürgen 王伟", composed, Role.RADIOLOGIST)
        client = site.client()
        answer = client.post("/sign-in", data={"name": "Ju\u0308rgen 王伟", "password": decomposed})
        assert answer.status_code == 303
        assert "Jürgen 王伟" in client.get("/account").text
