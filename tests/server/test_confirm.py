"""Two people at the command line: each is a user of the portal who proves it, and neither can be the other."""

from __future__ import annotations

import pyotp
import pytest

from pipeline import audit
from portal import second_factor
from server.installation import owner_connection
from server.settings import load_settings
from tests.billing import payment_seeds
from tests.server.commands import ENTERED, PASSWORD, add_people, done, failed

TENANT = "default"
ADDRESS = ("rails", "address", "demo-hospital", "--account", "6222", "--holder", "H", "--approved-by")


@pytest.fixture
def url(owner, migrated_url: str) -> str:
    """A contract whose buyer is paid back to an account, and people of several roles."""
    with owner_connection(migrated_url) as conn:
        payment_seeds.add_contract(conn, TENANT)
        conn.commit()
    add_people(
        migrated_url,
        lin="finance",
        wang="approver",
        eve="approver",
        root="admin",
        sso="approver",
        new="approver",
    )
    owner.execute("UPDATE portal_user SET password_hash = NULL, openid_subject = 's' WHERE name = 'sso'")
    owner.execute("UPDATE portal_user SET must_change_password = true WHERE name = 'new'")
    owner.execute("UPDATE portal_user SET disabled_at = now() WHERE name = 'eve'")
    return migrated_url


def addresses(owner) -> list[tuple[str, str]]:
    return owner.execute("SELECT requested_by, approved_by FROM billing.rail_address").fetchall()


def test_a_name_alone_approves_nothing(owner, url: str) -> None:
    for by, second, entered, problem in (
        ("lin", "wang", f"{PASSWORD}\nguessed\n", "this is not the password of wang"),
        ("lin", "wang", f"guessed\n{PASSWORD}\n", "this is not the password of lin"),
        ("lin", "nobody", ENTERED, "nobody is no user who may sign in"),
        ("lin", "eve", ENTERED, "eve is no user who may sign in"),
        ("lin", "lin", ENTERED, "lin is finance: who approves this is admin, approver"),
        ("wang", "root", ENTERED, "wang is approver: who asks for this is admin, finance"),
        ("root", "root", ENTERED, "a second person"),
        ("lin", "sso", ENTERED, "sso has no password here but signs in with OpenID Connect"),
        ("lin", "new", ENTERED, "somebody else knows the password of new"),
    ):
        assert problem in failed(*ADDRESS, second, "--by", by, entered=entered)
    assert addresses(owner) == []
    with owner_connection(url) as conn:
        tried = [one["detail"] for one in audit.recent(conn, TENANT) if one["action"] == "sign_in_failed"]
    assert [one["user"] for one in tried] == ["lin", "wang"], "in vain, and kept"
    done(*ADDRESS, "wang", "--by", "lin", entered=ENTERED)
    assert addresses(owner) == [("lin", "wang")]


def test_who_has_a_second_factor_is_asked_for_it_and_a_code_is_good_once(owner, url: str) -> None:
    secret = second_factor.new_secret()
    with owner_connection(url) as conn:
        second_factor.enrol(conn, load_settings(), TENANT, "wang", secret, step=0)
        conn.commit()
    code = pyotp.TOTP(secret).now()
    assert "this is not the code" in failed(*ADDRESS, "wang", "--by", "lin", entered=f"{ENTERED}000000\n")
    done(*ADDRESS, "wang", "--by", "lin", entered=f"{ENTERED}{code}\n")
    assert "or it was used" in failed(*ADDRESS, "wang", "--by", "lin", entered=f"{ENTERED}{code}\n")
    assert addresses(owner) == [("lin", "wang")]
