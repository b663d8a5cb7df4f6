"""Stored is not decoded: every syntax that is stored and cannot be decoded is kept as sent and refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_gateway.decode_errors import TransferSyntaxNotSupported
from dicom_gateway.pixels import SUPPORTED_SYNTAXES
from dicom_gateway.transfer_syntaxes import TRANSFER_SYNTAXES
from tests.ct_files import decode, write
from tests.dicom_peers import RawPeer, RunningAcceptor, data_set_of

NOT_DECODED = sorted(set(TRANSFER_SYNTAXES) - SUPPORTED_SYNTAXES)
# A child process decodes; these stand for the others: MPEG2, JPEG XL, HTJ2K, encapsulated uncompressed.
FAMILIES = ("4.100", "4.110", "4.201", "1.98")


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    return write(tmp_path / "in", np.zeros((3, 8, 8), np.int16))


def test_every_one_is_kept_as_sent(acceptor: RunningAcceptor, slices: list[Path]) -> None:
    data = data_set_of(slices[0])
    uid = str(pydicom.dcmread(slices[0]).SOPInstanceUID)
    for syntax in NOT_DECODED:
        with RawPeer(acceptor.port) as peer:
            peer.associate((RawPeer.CT, syntax))
            assert peer.store(data, uid) == 0
            peer.release()
        assert acceptor.sink.received[uid].transfer_syntax_uid == syntax
        acceptor.sink.received.clear()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_series_of_it_is_refused_by_name(slices: list[Path], tmp_path: Path, family: str) -> None:
    syntax = f"1.2.840.10008.1.2.{family}"
    assert syntax in NOT_DECODED
    plain, renamed = b"1.2.840.10008.1.2.1\0", syntax.encode() + b"\0" * (len(syntax) % 2)
    for path in slices:
        content = path.read_bytes()
        assert content.count(plain) == 1
        path.write_bytes(_with_syntax(content, plain, renamed))
    with pytest.raises(TransferSyntaxNotSupported):
        decode(slices, tmp_path / "out")


def _with_syntax(content: bytes, plain: bytes, renamed: bytes) -> bytes:
    """The file with another Transfer Syntax UID in its group 0002; its group length follows."""
    at = content.index(plain)
    length = int.from_bytes(content[140:144], "little") + len(renamed) - len(plain)
    head = content[:140] + length.to_bytes(4, "little") + content[144 : at - 2]
    return head + len(renamed).to_bytes(2, "little") + renamed + content[at + len(plain) :]
