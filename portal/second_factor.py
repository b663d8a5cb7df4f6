"""The second factor: codes of six digits by time (RFC 6238), and recovery codes for a lost telephone.

A code is good once, in its own 30 seconds and those beside them. The secret must be read to check a code, so it is
encrypted under a key that lies in the folder of secrets, not in the database.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pyotp
import segno
from joserfc import jwe
from joserfc.jwk import OctKey

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.database import Connection

STEP_S = 30
RECOVERY_CODES = 10
KEY_FILE = "second_factor.key"
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without what is taken for one another
_HEADER = {"alg": "dir", "enc": "A256GCM"}
_CODE_LENGTH_MAX = 40


class KeepsSecrets(Protocol):
    """The portal, or a command."""

    @property
    def secrets_directory(self) -> Path: ...


def new_secret() -> str:
    return pyotp.random_base32()


def enrolment_uri(secret: str, user_name: str, tenant_name: str) -> str:
    """What an authenticator reads from the picture."""
    return pyotp.TOTP(secret).provisioning_uri(name=user_name, issuer_name=f"radmeter {tenant_name}"[:60])


def picture(uri: str) -> str:
    """A QR code as inline SVG, dark on light whatever the page's colours."""
    return segno.make_qr(uri, error="m").svg_inline(
        scale=4, border=4, light="#fff", dark="#000", svgclass="qr", lineclass=None, omitsize=False
    )


def matching_step(secret: str, code: str, after_step: int, now: float) -> int | None:
    """The step whose code this is, of the present one and those beside it; never one that was used."""
    step = int(now) // STEP_S
    for candidate in (step, step - 1, step + 1):
        expected = pyotp.TOTP(secret).at(candidate * STEP_S)
        if candidate > after_step and secrets.compare_digest(expected, code):
            return candidate
    return None


def enrol(
    conn: Connection, context: KeepsSecrets, tenant: str, user_name: str, secret: str, step: int
) -> list[str]:
    """Take `secret` as the person's second factor; recovery codes are returned this once. step: of the code shown."""
    conn.execute(
        "UPDATE portal_user SET totp_secret = %s, totp_last_step = %s WHERE tenant = %s AND name = %s",
        (_encrypt(secret, _key(context)), step, tenant, user_name),
    )
    conn.execute("DELETE FROM recovery_code WHERE tenant = %s AND user_name = %s", (tenant, user_name))
    codes = [
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(3))
        for _ in range(RECOVERY_CODES)
    ]
    for code in codes:
        conn.execute(
            "INSERT INTO recovery_code (tenant, user_name, code_hash) VALUES (%s, %s, %s)",
            (tenant, user_name, _code_hash(code)),
        )
    detail = {"user": user_name, "by": user_name, "changes": {"second_factor": "on"}}
    audit.record(conn, tenant, AuditEvent.USER_CHANGED, detail)
    return codes


def remove(conn: Connection, tenant: str, user_name: str, *, by: str) -> bool:
    """Take the second factor away; False if there was none."""
    removed = conn.execute(
        """UPDATE portal_user SET totp_secret = NULL, totp_last_step = 0
           WHERE tenant = %s AND name = %s AND totp_secret IS NOT NULL""",
        (tenant, user_name),
    ).rowcount
    conn.execute("DELETE FROM recovery_code WHERE tenant = %s AND user_name = %s", (tenant, user_name))
    if removed:
        detail = {"user": user_name, "by": by, "changes": {"second_factor": "off"}}
        audit.record(conn, tenant, AuditEvent.USER_CHANGED, detail)
    return removed == 1


def use_code(
    conn: Connection,
    context: KeepsSecrets,
    tenant: str,
    user_name: str,
    code: str,
    clock: Callable[[], float] = time.time,
) -> str | None:
    """Which factor the code proves, "code" or "recovery code", and it is used up; None if it proves nothing."""
    row = conn.execute(
        "SELECT totp_secret, totp_last_step FROM portal_user WHERE tenant = %s AND name = %s FOR UPDATE",
        (tenant, user_name),
    ).fetchone()
    code = code.strip().lower()
    if row is None or row["totp_secret"] is None or len(code) > _CODE_LENGTH_MAX:
        return None
    digits = code.replace(" ", "")
    if len(digits) == 6 and digits.isdecimal() and digits.isascii():
        secret = _decrypt(row["totp_secret"], _key(context))
        step = matching_step(secret, digits, row["totp_last_step"], clock())
        if step is None:
            return None
        conn.execute(
            "UPDATE portal_user SET totp_last_step = %s WHERE tenant = %s AND name = %s",
            (step, tenant, user_name),
        )
        return "code"
    used = conn.execute(
        "DELETE FROM recovery_code WHERE tenant = %s AND user_name = %s AND code_hash = %s",
        (tenant, user_name, _code_hash(code)),
    )
    return "recovery code" if used.rowcount == 1 else None


def recovery_codes_left(conn: Connection, tenant: str, user_name: str) -> int:
    row = conn.execute(
        "SELECT count(*) AS n FROM recovery_code WHERE tenant = %s AND user_name = %s", (tenant, user_name)
    ).fetchone()
    assert row is not None
    return int(row["n"])


def _code_hash(code: str) -> bytes:
    """74 random bits: one round of SHA-256 is enough. However it is typed."""
    return hashlib.sha256("".join(code.lower().split()).replace("-", "").encode()).digest()


def _key(context: KeepsSecrets) -> bytes:
    """The key of this installation, made when it is first needed."""
    folder: Path = context.secrets_directory
    path = folder / KEY_FILE
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = folder / f"{KEY_FILE}.{secrets.token_hex(8)}"
        own.touch(mode=0o600)
        own.write_bytes(secrets.token_bytes(32))
        try:
            os.link(own, path)  # the first one there counts
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_bytes()


def _encrypt(secret: str, key: bytes) -> str:
    return jwe.encrypt_compact(_HEADER, secret, OctKey.import_key(key))


def _decrypt(text: str, key: bytes) -> str:
    plain = jwe.decrypt_compact(text, OctKey.import_key(key), algorithms=["dir", "A256GCM"]).plaintext
    assert plain is not None
    return plain.decode()
