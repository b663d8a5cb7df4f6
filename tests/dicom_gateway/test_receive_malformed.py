"""Malformed and hostile files, real and made, go through the acceptor: each ends with an answer."""

from __future__ import annotations

from pathlib import Path

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.scu_association import Destination
from tests.dicom_peers import RunningAcceptor, data_set_of


def push(running: RunningAcceptor, paths: list[Path]) -> dict[str, DeliveryOutcome]:
    """Each file over an association of its own, as many small senders would."""
    destination = Destination("127.0.0.1", running.port, "RADMETER", "CT01", dimse_timeout_s=20)
    return {path.name: send_instances([path], destination)[0] for path in paths}


def assert_honest(running: RunningAcceptor, outcomes: dict[str, DeliveryOutcome]) -> None:
    """What was acknowledged is there, what was not has a reason, and nothing else was written."""
    stored = {received.sop_instance_uid: received for received in running.sink.received.values()}
    for name, outcome in outcomes.items():
        if not outcome.acknowledged:
            assert outcome.error, name
            continue
        received = stored[outcome.sop_instance_uid]
        assert data_set_of(running.acceptor.store.path_of(received.location)), name
    acknowledged = {outcome.sop_instance_uid for outcome in outcomes.values() if outcome.acknowledged}
    assert len(running.stored_files()) == len(stored) == len(acknowledged)
    assert all(path.is_relative_to(running.root) for path in running.all_files())
    assert list(running.root.rglob("*.part")) == []
    assert running.acceptor.statistics()["associations_accepted"] > 0


def test_real_malformed_files(acceptor: RunningAcceptor, shared_data: Path) -> None:
    outcomes = push(acceptor, sorted((shared_data / "malformed_real").iterdir()))
    assert_honest(acceptor, outcomes)
    refused = {name: outcome.status for name, outcome in outcomes.items() if outcome.status}
    assert refused["bad_sequence.dcm"] == 0xA900, "its header and its data set name different instances"
    assert refused["GH223.dcm"] == 0xC000
    assert outcomes["image_dfl.dcm"].error == "the peer accepts none of the SOP classes and transfer syntaxes"
    assert not outcomes["UnknownSopClassUid.dcm"].acknowledged


def test_made_hostile_files(acceptor: RunningAcceptor, made_cases: Path) -> None:
    outcomes = push(acceptor, sorted((made_cases / "bad").iterdir()))
    assert_honest(acceptor, outcomes)
    for name in ("uid_70_chars", "uid_empty", "uid_path_traversal", "truncated_in_header", "uid_nul_inside"):
        assert not outcomes[f"{name}.dcm"].acknowledged
    assert outcomes["says_big_endian_is_little.dcm"].status == 0xC000
    for name in ("deflate_bomb_512mib", "unknown_transfer_syntax"):
        assert "accepts none" in str(outcomes[f"{name}.dcm"].error)
    for path in acceptor.stored_files():
        assert path.read_bytes()[:128] == bytes(128), "no preamble of a sender survives"
