"""Passwords: how they are kept, and which are too easy to guess."""

from __future__ import annotations

import functools
import itertools
import re
import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from portal.errors import PasswordCommon, PasswordTooShort

LENGTH_MIN = 12
LENGTH_MAX = 1024
_OWN_LETTERS_MIN = 5

_hasher = PasswordHasher()  # RFC 9106 low-memory profile: 64 MiB for each check
_hashing = threading.BoundedSemaphore(2)  # a flood of sign-ins costs 128 MiB, not 64 MiB each

# What people make long passwords of. Whatever is left without these, without digits and signs must be letters of
# one's own.
_WORDS = """
    password passwort passw pass word admin administrator root user login welcome letmein changeme change secret default
    guest test temp qwerty qwertyuiop qwertz azerty asdfgh asdfghjkl zxcvbn zxcvbnm qazwsx qaz wsx edc iloveyou ilove
    love you monkey dragon master shadow sunshine princess football baseball superman batman starwars whatever computer
    internet freedom hello trustno michael jordan charlie summer winter spring autumn fall january february march april
    may june july august september october november december monday friday china beijing shanghai woaini abc hospital
    clinic doctor medical radiology radiologist radiologie xray pacs dicom imaging klinik krankenhaus radmeter the and
    for
"""
_COMMON = tuple(sorted(_WORDS.split(), key=len, reverse=True))
_LOOKALIKES = str.maketrans("013457@$!", "oieastasi")


def normalized(text: str) -> str:
    """One form for what looks the same: keyboards differ in how they send an accented letter."""
    return unicodedata.normalize("NFC", text)


@functools.cache
def _unknown_user_hash() -> str:
    """Made when it is first needed: it takes a fifth of a second, and every command imports this."""
    return _hasher.hash(secrets.token_urlsafe(32))


def hash_password(password: str) -> str:
    return _hasher.hash(normalized(password))


def matches(password_hash: str | None, password: str) -> bool:
    """Whether it is this one. No hash costs the same time as a wrong password."""
    if len(password) > LENGTH_MAX:
        return False
    with _hashing:
        stand_in = _unknown_user_hash()  # also for a known one, so that the first answer tells nothing
        try:
            return _hasher.verify(password_hash or stand_in, normalized(password))
        except (VerificationError, InvalidHashError):
            return False


def require_strong(password: str, user_name: str = "") -> None:
    """Raises `PasswordTooShort`, `PasswordCommon`."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise PasswordTooShort
    own = normalized(password).lower()
    for reading in (own, own.translate(_LOOKALIKES)):
        left = reading.replace(user_name.lower(), " ") if user_name else reading
        for word in _COMMON:
            left = left.replace(word, " ")
        letters = [letter for letter in re.sub(r"[\W\d_]+", "", left) if letter]
        if len(set(letters)) < _OWN_LETTERS_MIN or _is_a_run(reading):
            raise PasswordCommon


def _is_a_run(text: str) -> bool:
    """`abcdefghijkl`, `zyxw…`: each character follows the one before."""
    steps = {ord(after) - ord(before) for before, after in itertools.pairwise(text)}
    return steps in ({1}, {-1})
