"""The settings decide which DICOM ports open; doctor looks at the ones that should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from server import gateway
from server.checks import of_files
from server.checks.finding import Ground
from server.errors import SettingInvalid
from server.serve import serve
from server.settings import Settings
from tests.tls_files import Authority


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    authority = Authority(tmp_path)
    identity = authority.sign("127.0.0.1")
    return {
        "dicom_tls_certificate": str(identity.certificate),
        "dicom_tls_key": str(identity.key),
        "dicom_tls_authorities": str(authority.path),
    }


def ports(**values: object) -> list[tuple[int, bool]]:
    """(port, is it TLS) of each listener."""
    listeners = gateway.listeners(Settings(**values))  # type: ignore[arg-type]  # values of a test
    return [(one.port, one.handshake is not None) for one in listeners]


def test_without_a_certificate_the_plain_port_alone_opens() -> None:
    assert ports() == [(11112, False)]


def test_with_a_certificate_both_open_and_the_plain_one_can_be_closed(settings: dict[str, str]) -> None:
    assert ports(**settings) == [(11112, False), (2762, True)]
    assert ports(**settings, dicom_plain=False, dicom_tls_port=11113) == [(11113, True)]


def test_a_certificate_that_cannot_be_used_stops_the_start_with_its_name(settings: dict[str, str]) -> None:
    Path(settings["dicom_tls_certificate"]).write_text("nothing")
    with pytest.raises(SettingInvalid, match=r"dicom_tls_certificate.*127\.0\.0\.1\.pem"):
        serve(Settings(**settings), "all")  # type: ignore[arg-type]  # text


def test_doctor_looks_at_the_open_ports_and_at_the_end_of_the_certificate(
    settings: dict[str, str], tmp_path: Path, free_port: int
) -> None:
    made = Settings(**settings, dicom_plain=False, dicom_tls_port=free_port)  # type: ignore[arg-type]  # text
    silent = of_files.dicom_port(Ground(made))
    assert silent is not None
    assert silent.what == f"the gateway does not answer on 127.0.0.1:{free_port}"
    assert of_files.certificate(Ground(made)) is None
    soon = tmp_path / "soon.pem"
    ends = datetime.now(UTC) + timedelta(days=9, hours=1)
    issued = trustme.CA().issue_cert("x", not_before=ends - timedelta(days=90), not_after=ends)
    issued.private_key_and_cert_chain_pem.write_to_path(soon)
    found = of_files.certificate(Ground(Settings(dicom_tls_certificate=str(soon))))
    assert found is not None
    assert "ends 9 days from now" in found.what
