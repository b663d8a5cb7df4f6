"""Credentials for S3 from the file that the AWS programs share, read again while it may have changed."""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import CredentialsRefused

if TYPE_CHECKING:
    from obstore.store import S3Credential

_READ_AGAIN_AFTER = timedelta(minutes=10)


def credentials_of_file() -> Callable[[], S3Credential] | None:
    """Reads what AWS_SHARED_CREDENTIALS_FILE names; None where it names none, and other variables say who we are."""
    name = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "")
    if not name or os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    profile = os.environ.get("AWS_PROFILE", "default")

    def read() -> S3Credential:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(Path(name).read_text("utf-8"))
            section = parser[profile]
            credential: S3Credential = {
                "access_key_id": section["aws_access_key_id"],
                "secret_access_key": section["aws_secret_access_key"],
                "token": section.get("aws_session_token"),
                "expires_at": datetime.now(UTC) + _READ_AGAIN_AFTER,
            }
        except (OSError, KeyError, ValueError, configparser.Error) as error:
            raise CredentialsRefused(
                f"AWS_SHARED_CREDENTIALS_FILE has no usable profile {profile!r} ({type(error).__name__})"
            ) from None
        return credential

    return read
