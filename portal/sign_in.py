"""Checks names, passwords and second factors, and slows down whoever guesses."""

from __future__ import annotations

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.store import Row
from portal import passwords, second_factor
from portal.context import PortalContext
from portal.errors import NotSignedIn, TooManyAttempts, WrongCode, WrongNameOrPassword
from portal.rate_limit import FailureLimit
from portal.sessions import Session, end_sessions, open_session


class SignIn:
    """The pair of user and address locks first, so that a stranger cannot lock a user out from elsewhere at
    once; the wider limits stop guessing spread over names or over addresses.
    """

    WINDOW_S = 900.0

    def __init__(self, context: PortalContext) -> None:
        self._context = context
        self._database = context.database
        self._limits = (
            FailureLimit(5, self.WINDOW_S),
            FailureLimit(50, self.WINDOW_S),
            FailureLimit(30, self.WINDOW_S),
        )

    def sign_in(self, user_name: str, password: str, address: str, device: str = "") -> str:
        """Open a session and return its token; a second factor may still be asked for.

        Raises `WrongNameOrPassword` or `TooManyAttempts`.
        """
        user_name = passwords.normalized(user_name)
        keys = (f"{address} {user_name}", f"user {user_name}", f"address {address}")
        self.require_patience(keys)
        with self._database.system_transaction() as conn:
            user = conn.execute("SELECT * FROM find_portal_user(%s)", (user_name,)).fetchone()
        # An unknown name, a disabled one and one of a provider's cost the same time as a wrong password.
        is_right = passwords.matches(user["password_hash"] if user else None, password)
        if user is None or not is_right or user["password_hash"] is None or user["disabled_at"]:
            self._fail(keys, user, address)
            raise WrongNameOrPassword
        self._limits[0].succeeded(keys[0])
        with self._database.transaction(user["tenant"]) as conn:
            detail = {"user": user["name"], "host": address}
            token = open_session(
                conn,
                user["tenant"],
                user["name"],
                address=address,
                device=device,
                hours=self._context.session_hours,
            )
            audit.record(conn, user["tenant"], AuditEvent.SIGNED_IN, detail)
        return token

    def pass_second_factor(self, session: Session, code: str, address: str, device: str = "") -> str:
        """The session goes on under a new token. Raises `WrongCode` or `TooManyAttempts`."""
        identity = session.identity
        tenant, name = identity.tenant, identity.user_name
        keys = (f"code {address} {name}", f"code {name}", f"address {address}")
        self.require_patience(keys)
        with self._database.transaction(tenant) as conn:
            used = second_factor.use_code(conn, self._context, tenant, name, code)
            if used is not None:
                self._limits[0].succeeded(keys[0])
                conn.execute("DELETE FROM portal_session WHERE tenant = %s AND id = %s", (tenant, session.id))
                token = open_session(
                    conn, tenant, name, address=address, device=device, hours=self._context.session_hours,
                    passed_second_factor=True,
                )  # fmt: skip
                detail = {"user": name, "host": address, "second_factor": used}
                audit.record(conn, tenant, AuditEvent.SIGNED_IN, detail)
                return token
        self._fail(keys, {"tenant": tenant, "name": name}, address, reason="second factor")
        raise WrongCode

    def check_password(self, session: Session, password: str, address: str) -> None:
        """Before something is changed that a stolen session must not change. Raises as `sign_in` does."""
        identity = session.identity
        keys = (f"{address} {identity.user_name}", f"user {identity.user_name}", f"address {address}")
        self.require_patience(keys)
        with self._database.transaction(identity.tenant) as conn:
            user = conn.execute(
                "SELECT tenant, name, password_hash FROM portal_user WHERE tenant = %s AND name = %s",
                (identity.tenant, identity.user_name),
            ).fetchone()
        if user is None:
            raise NotSignedIn
        if not passwords.matches(user["password_hash"], password):
            self._fail(keys, user, address)
            raise WrongNameOrPassword

    def require_patience(self, keys: tuple[str, str, str]) -> None:
        wait_s = max(limit.wait_s(key) for limit, key in zip(self._limits, keys, strict=True))
        if wait_s:
            raise TooManyAttempts(wait_s)

    def _fail(self, keys: tuple[str, str, str], user: Row | None, address: str, reason: str = "") -> None:
        for limit, key in zip(self._limits, keys, strict=True):
            limit.failed(key)
        # What was typed as a name that nobody has may be a password: it is not kept.
        known = {"user": user["name"]} if user else {}
        tenant = user["tenant"] if user else None
        detail = {**known, "host": address, "reason": reason}
        audit.record_now(self._database, tenant, AuditEvent.SIGN_IN_FAILED, detail)


def change_password(
    context: PortalContext, session: Session, password: str, address: str, device: str = ""
) -> str:
    """The person's own new password; all sessions end, this one goes on under a new token.

    Raises `PasswordTooShort`, `PasswordCommon`.
    """
    identity = session.identity
    tenant, name = identity.tenant, identity.user_name
    passwords.require_strong(password, name)
    with context.database.transaction(tenant) as conn:
        conn.execute(
            """UPDATE portal_user SET password_hash = %s, must_change_password = false
               WHERE tenant = %s AND name = %s""",
            (passwords.hash_password(password), tenant, name),
        )
        end_sessions(conn, tenant, name, by=name, is_recorded=False)
        audit.record(
            conn, tenant, AuditEvent.USER_CHANGED, {"user": name, "by": name, "changes": {"password": "new"}}
        )
        return open_session(
            conn, tenant, name, address=address, device=device, hours=context.session_hours,
            passed_second_factor=session.passed_second_factor,
        )  # fmt: skip
