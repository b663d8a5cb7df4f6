"""The parsers under atheris: two seconds each in `make test`, a minute each in `make soak`, with a printed seed."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.billing.bank.bank_files import Booking, camt, mt940
from tests.billing.hospital_lists import CSV, FHIR, HL7
from tests.dicom_gateway.malformed_pdus import COMMITMENT, CONTEXTS, EXCHANGES, WELL_KNOWN
from tests.dicom_peers import RawPeer, ct_data_set

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is built for x86-64 Linux only"
)

ROOT = Path(__file__).resolve().parent.parent.parent
HARNESS = Path(__file__).resolve().parent / "harness.py"


def _without_headers(pdus: bytes) -> bytes:
    """The bodies of P-DATA-TF PDUs, as one."""
    body = b""
    while pdus:
        length = int.from_bytes(pdus[2:6], "big")
        body, pdus = body + pdus[6 : 6 + length], pdus[6 + length :]
    return body


SEEDS: dict[str, tuple[bytes, ...]] = {
    "associate_request": (RawPeer.request(*CONTEXTS)[6:],),
    "data_values": (RawPeer.fragment(3, b"abc")[6:] + RawPeer.fragment(2, b"defg", 5)[6:],),
    "command": (
        RawPeer.command(1, RawPeer.CT, "1.2.3"),
        RawPeer.n_request(0x0130, COMMITMENT, WELL_KNOWN, 1),
        RawPeer.response(0x8100, 1, COMMITMENT),
    ),
    "head": (ct_data_set("1.2.3", pixel_bytes=32),),
    "service_request": (RawPeer.commitment_request("1.2.7", RawPeer.CT, "1.2.3", "1.2.4"),),
    "messages": tuple(_without_headers(pdus) for pdus in EXCHANGES),
    "multipart": (
        b"\x07--frontier\r\nContent-Type: application/dicom\r\n\r\nDICM\r\n--frontier\r\n\r\n\r\n--frontier--\r\n",
        b'\x1fpreamble\r\n--frontier \t\r\nA: b;\r\n c="d"\r\n\r\n\r\r\n--front\r\n--frontier--epilogue',
    ),
    "bank_file": (
        b"\x00"
        + camt([Booking("212.00", "RM-1", e2e="E2E-7", charges="1.00"), Booking("-5.00", is_return=True)]),
        b"\x01" + mt940([Booking("212.00", "RM-1", e2e="E2E-7"), Booking("-5.00", is_return=True)]),
        '\x02交易日期,借方发生额,贷方发生额,对方户名,摘要\n20261210,,"1,212.00",医院,RM-1\n'.encode(),
        b"\x03" + "Buchungstag;Betrag;Währung\n10.12.2026;1.212,00;EUR\n".encode("gb18030"),
        b"\x04" + "date,amount\n2026-12-10,5\n".encode("utf-16"),
    ),
    "hospital_list": (b"\x00" + CSV.encode(), b"\x01" + HL7.encode(), b"\x02" + FHIR.encode()),
}


def fuzz(target: str, seconds: int, folder: Path) -> None:
    seed = int(os.environ.get("RADMETER_SEED", random.SystemRandom().randrange(1, 2**31)))
    sys.stdout.write(f"{target}: seed {seed}, RADMETER_SEED={seed} tries the same again\n")
    seeds, finds = folder / "seeds", folder / "finds"
    for place in (seeds, finds):
        place.mkdir()
    for number, data in enumerate(SEEDS[target]):
        (seeds / str(number)).write_bytes(data)
    command = [sys.executable, str(HARNESS), target, f"-max_total_time={seconds}", f"-seed={seed}"]
    command += [
        "-max_len=4096",
        "-timeout=10",
        # Linux starts a child's high-water mark at its parent's, and the whole suite needs more than a harness.
        f"-rss_limit_mb={1024 + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}",
        f"-artifact_prefix={finds}/",
        str(seeds),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
    )
    found = [path.read_bytes() for path in finds.iterdir()]
    assert done.returncode == 0, f"seed {seed}, input {found}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    assert "Done " in done.stderr, "libFuzzer ran to the end of its time"
    sys.stdout.write(done.stderr.strip().splitlines()[-1] + "\n")


@pytest.mark.parametrize("target", SEEDS)
def test_two_seconds_find_nothing(target: str, tmp_path: Path) -> None:
    fuzz(target, 2, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("target", SEEDS)
def test_a_minute_finds_nothing(target: str, tmp_path: Path) -> None:
    fuzz(target, 60, tmp_path)


def test_every_harness_is_run() -> None:
    source = HARNESS.read_text(encoding="utf-8")
    targets = source[source.index("TARGETS = {") : source.index("if __name__")]
    named = re.search(r"for one in \((.*?)\)", targets, re.DOTALL)
    assert named is not None
    assert set(re.findall(r"\w+", named[1])) == set(SEEDS)
