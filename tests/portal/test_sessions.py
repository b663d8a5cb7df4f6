"""Sessions, people and keys: seen and ended by their owner and by an admin; hostile ways in."""

from __future__ import annotations

import logging
import re
import time

import pytest
from argon2 import PasswordHasher

from portal import passwords
from portal.context import Role
from portal.requests import SESSION_COOKIE
from tests.portal.portal_site import PASSWORD, Site


def ids(text: str) -> list[str]:
    return re.findall(r'name="which" value="([0-9a-f-]{36})"', text)


class TestSessions:
    def test_a_person_sees_own_sessions_and_ends_them(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        clients = [site.client() for _ in range(3)]
        for number, client in enumerate(clients):
            client.headers["User-Agent"] = f"Browser {number} <script>"
            client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        shown = clients[0].get("/account").text
        assert "Browser 2 &lt;script&gt;" in shown
        assert "testclient" in shown, "the address"
        assert len(ids(shown)) == 2
        stranger = site.signed_in("alpha", Role.RADIOLOGIST)
        assert stranger.post("/account/sessions/end", data={"which": ids(shown)[0]}).status_code == 303
        assert len(ids(clients[0].get("/account").text)) == 2, "nobody ends another's session by its id"
        assert clients[0].post("/account/sessions/end", data={"which": ids(shown)[0]}).status_code == 303
        assert sorted(client.get("/").status_code for client in clients) == [200, 200, 303]
        clients[0].post("/account/sessions/end", data={"which": "others"})
        assert [client.get("/").status_code for client in clients] == [200, 303, 303]
        clients[0].post("/account/sessions/end", data={"which": "all"})
        assert clients[0].get("/").status_code == 303
        assert clients[1].post("/account/sessions/end", data={"which": "nonsense"}).status_code == 303

    def test_a_session_ends_when_nobody_uses_it_and_a_page_that_asks_by_itself_is_nobody(
        self, site: Site
    ) -> None:
        client = site.signed_in("alpha")
        site.owner.execute("UPDATE portal_session SET last_used_at = now() - interval '59 minutes'")
        assert client.get("/", headers={"HX-Request": "true"}).status_code == 200
        assert client.get("/api/v1/studies", headers={"Accept": "text/event-stream"}).status_code == 200
        row = site.owner.execute(
            "SELECT now() - last_used_at > interval '58 minutes' AS idle FROM portal_session"
        )
        assert row.fetchone() == {"idle": True}
        assert client.get("/").status_code == 200
        row = site.owner.execute(
            "SELECT now() - last_used_at < interval '1 minute' AS used FROM portal_session"
        )
        assert row.fetchone() == {"used": True}
        site.owner.execute("UPDATE portal_session SET last_used_at = now() - interval '61 minutes'")
        assert client.get("/").status_code == 303

    def test_a_token_planted_in_the_browser_is_never_taken_over(self, site: Site) -> None:
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        attacker = site.signed_in("alpha", Role.RADIOLOGIST)
        planted = attacker.cookies[SESSION_COOKIE]
        victim = site.client()
        victim.cookies.set(SESSION_COOKIE, "x" * 43)
        victim.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        tokens = {cookie.value for cookie in victim.cookies.jar}
        assert tokens - {"x" * 43, planted}
        fixed = site.client()
        fixed.cookies.set(SESSION_COOKIE, "x" * 43)
        assert fixed.get("/").status_code == 303

    @pytest.mark.parametrize(
        ("how", "location"),
        [
            ({"method": "GET", "url": "/models"}, "/sign-in?next=/models"),
            ({"method": "POST", "url": "/sign-out"}, "/sign-in"),
            (
                {"method": "POST", "url": "/keys", "headers": {"Referer": "http://portal.test/keys?x=1"}},
                "/sign-in?next=/keys",
            ),
            (
                {"method": "POST", "url": "/keys", "headers": {"Referer": "http://evil.test//evil.test/"}},
                "/sign-in",
            ),
        ],
    )
    def test_who_comes_too_late_returns_to_the_page_after_signing_in(
        self, site: Site, how, location: str
    ) -> None:
        assert site.client().request(**how).headers["location"] == location

    def test_a_fragment_that_comes_too_late_sends_the_whole_page_to_sign_in_and_back(
        self, site: Site
    ) -> None:
        answer = site.client().get(
            "/", headers={"HX-Request": "true", "HX-Current-URL": "http://portal.test/models"}
        )
        assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in?next=/models")

    def test_another_site_changes_nothing(self, site: Site) -> None:
        client = site.signed_in("alpha")
        for path in (
            "/account/password",
            "/users",
            "/users/change",
            "/keys",
            "/account/sessions/end",
            "/sign-out",
        ):
            for headers in ({"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
                assert client.post(path, data={"which": "all"}, headers=headers).status_code == 403, path
        assert client.get("/").status_code == 200

    def test_failures_take_the_same_time_whoever_is_named(
        self, site: Site, cheap_hashes: PasswordHasher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Medians of a handful: the real hash takes tens of milliseconds, so a missing one would stand out at once."""
        monkeypatch.setattr(passwords, "_hasher", cheap_hashes)
        monkeypatch.setattr(passwords, "_unknown_user_hash", lambda: cheap_hashes.hash("nobody"))
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        site.add_user("alpha", "gone", Role.RADIOLOGIST)
        site.owner.execute("UPDATE portal_user SET disabled_at = now() WHERE name = 'gone'")

        def median_s(name: str) -> float:
            times = []
            for _ in range(3):
                client = site.client()
                begun = time.perf_counter()
                assert (
                    client.post("/sign-in", data={"name": name, "password": "wrong wrong"}).status_code == 401
                )
                times.append(time.perf_counter() - begun)
            return sorted(times)[1]

        known, unknown, disabled = median_s("anna"), median_s("nobody"), median_s("gone")
        assert unknown > known / 3
        assert disabled > known / 3

    @pytest.mark.parametrize(("length", "status"), [(4096, 401), (4097, 422), (1024 * 1024, 413)])
    def test_a_huge_password_costs_nothing(self, site: Site, length: int, status: int) -> None:
        begun = time.process_time()
        answer = site.client().post("/sign-in", data={"name": "x", "password": "p" * length})
        assert answer.status_code == status
        assert time.process_time() - begun < 2


class TestUsers:
    def test_an_admin_adds_a_person_who_then_chooses_the_password(self, site: Site) -> None:
        admin = site.signed_in("alpha")
        shown = admin.post("/users", data={"name": "王 伟", "role": "radiologist"}).text
        password = re.search(r'<code class="key">([^<]+)</code>', shown)
        assert password
        assert password[1] not in admin.get("/users").text
        person = site.client()
        assert person.post("/sign-in", data={"name": "王 伟", "password": password[1]}).status_code == 303
        assert person.get("/").headers["location"] == "/account/password"

    @pytest.mark.parametrize(
        "data",
        [
            {"name": "", "role": "admin"}, {"name": "a\x07b", "role": "admin"}, {"name": "x" * 101, "role": "admin"},
            {"name": "bob", "role": "god"}, {"name": "bob", "role": "hospital"},
            {"name": "bob", "role": "vendor", "party": "nobody"}, {"name": "\u202eevil", "role": "admin"},
        ],
    )  # fmt: skip
    def test_a_person_that_cannot_be_is_refused(self, site: Site, data: dict[str, str]) -> None:
        admin = site.signed_in("alpha")
        assert admin.post("/users", data=data).status_code == 422

    def test_disabling_and_another_role_end_sessions_at_once(self, site: Site) -> None:
        admin = site.signed_in("alpha")
        site.add_user("alpha", "anna", Role.RADIOLOGIST)
        for change in ({"what": "role", "role": "finance"}, {"what": "disable"}, {"what": "sessions"}):
            anna = site.client()
            anna.post("/sign-in", data={"name": "anna", "password": PASSWORD})
            assert admin.post("/users/change", data={"name": "anna", **change}).status_code == 303
            assert anna.get("/models").status_code == 303, change
            if change["what"] == "disable":
                assert anna.post("/sign-in", data={"name": "anna", "password": PASSWORD}).status_code == 401
                admin.post("/users/change", data={"name": "anna", "what": "enable"})

    def test_the_last_admin_stays(self, site: Site) -> None:
        admin = site.signed_in("alpha")
        row = site.owner.execute("SELECT name FROM portal_user WHERE tenant = 'alpha'").fetchone()
        assert row is not None
        for change in ({"what": "disable"}, {"what": "role", "role": "finance"}):
            answer = admin.post("/users/change", data={"name": row["name"], **change})
            assert answer.status_code == 409
            assert "last admin" in answer.text
        assert admin.get("/users").status_code == 200

    def test_nobody_reaches_another_hospitals_people(self, site: Site) -> None:
        site.add_user("beta", "bob", Role.RADIOLOGIST)
        admin = site.signed_in("alpha")
        assert "bob" not in admin.get("/users").text
        for what in ("disable", "password", "second-factor", "sessions", "language", "role"):
            data = {"name": "bob", "what": what, "role": "admin"}
            assert admin.post("/users/change", data=data).status_code == 404, what
        assert site.signed_in("alpha", Role.OPERATOR).post("/users", data={}).status_code == 403

    def test_each_person_reads_in_the_own_language(self, site: Site) -> None:
        client = site.signed_in("beta", Role.RADIOLOGIST)
        assert 'lang="zh-Hans"' in client.get("/").text
        assert client.post("/account/language", data={"language": "en"}).status_code == 303
        assert 'lang="en"' in client.get("/").text
        assert client.post("/account/language", data={"language": "xx"}).status_code == 422


class TestKeys:
    def test_a_key_is_shown_once_and_its_use_is_seen(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        admin = site.signed_in("alpha")
        shown = admin.post("/keys", data={"label": "RIS", "scope": "read", "days": "30"}).text
        key = re.search(r"rm_[0-9a-f]{8}_[\w-]{43}", shown)
        assert key
        page = admin.get("/keys").text
        assert key[0] not in page
        assert "never" in page
        headers = {"Authorization": f"Bearer {key[0]}"}
        assert site.client().get("/api/v1/studies", headers=headers).status_code == 200
        assert "never" not in admin.get("/keys").text
        prefix = key[0].split("_")[1]
        other = site.signed_in("beta")
        assert other.post("/keys/revoke", data={"prefix": prefix}).status_code == 404
        assert admin.post("/keys/revoke", data={"prefix": prefix}).status_code == 303
        assert site.client().get("/api/v1/studies", headers=headers).status_code == 401, "at once"
        logged = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
        assert "request_answered" in logged
        assert key[0].split("_", 2)[2] not in logged

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            ({"label": ""}, 422), ({"label": "x", "days": "0"}, 422), ({"label": "x", "scope": "root"}, 422),
            ({"label": "x", "scope": "usage"}, 422), ({"label": "x", "scope": "store", "peer": "NOBODY"}, 404),
        ],
    )  # fmt: skip
    def test_a_key_that_means_nothing_is_not_made(
        self, site: Site, data: dict[str, str], status: int
    ) -> None:
        assert site.signed_in("alpha").post("/keys", data=data).status_code == status
        assert site.owner.execute("SELECT 1 FROM api_key").fetchone() is None


def test_every_change_of_people_and_keys_is_in_the_audit_trail(site: Site) -> None:
    admin = site.signed_in("alpha")
    steps = (
        ("/users", {"name": "anna", "role": "radiologist"}, "user_changed"),
        ("/users/change", {"name": "anna", "what": "language", "language": "zh"}, "user_changed"),
        ("/users/change", {"name": "anna", "what": "role", "role": "operator"}, "user_changed"),
        ("/users/change", {"name": "anna", "what": "password"}, "user_changed"),
        ("/users/change", {"name": "anna", "what": "disable"}, "user_changed"),
        ("/users/policy", {"roles": ["operator"]}, "user_changed"),
        ("/keys", {"label": "x"}, "key_changed"),
        ("/account/language", {"language": "en"}, "user_changed"),
        ("/account/sessions/end", {"which": "all"}, "signed_out"),
    )
    for path, data, action in steps:
        before = site.owner.execute("SELECT count(*) AS n FROM audit_event").fetchone()
        assert admin.post(path, data=data).status_code in (200, 303), path
        rows = site.owner.execute("SELECT action, detail FROM audit_event ORDER BY sequence").fetchall()
        assert before is not None
        assert [row["action"] for row in rows[before["n"] :]] == [action], path
        assert rows[-1]["detail"]["by"].startswith("admin-alpha"), path
