"""Who is let in: by AE titles, host and certificate; and how peers are kept."""

from __future__ import annotations

from typing import Any

import pytest

from dicom_gateway.errors import CertificateNotAllowed, HostNotAllowed
from dicom_gateway.peer_certificate import PeerCertificate
from pipeline import audit, peers
from pipeline.errors import PeerInvalid, PeerUnknown
from pipeline.peers import PeerEntry
from tests.pipeline.conftest import ALPHA, BETA, Clinic

CERTIFICATE = PeerCertificate(frozenset({f"sha256:{'ab' * 32}", "cn:ct1"}))


def save(clinic: Clinic, tenant: str = ALPHA, **values: Any) -> None:
    peers.save_peer(clinic.owner, tenant, **{"ae_title": "PACS", "host": "127.0.0.1"} | values)


class TestLettingIn:
    def test_from_its_hosts_only(self, clinic: Clinic) -> None:
        save(clinic, hosts=["127.0.0.4/31", "localhost"])
        for host in ("127.0.0.1", "127.0.0.4", "127.0.0.5"):
            assert clinic.sink.find_peer("PACS", "ALPHA", host) is not None
        for host in ("127.0.0.6", "192.0.2.1", "::1234"):
            with pytest.raises(HostNotAllowed):
                clinic.sink.find_peer("PACS", "ALPHA", host)
        assert clinic.sink.find_peer("PACS", "BETA", "192.0.2.1") is not None

    def test_its_own_address_counts_among_its_hosts_when_that_is_set(self, clinic: Clinic) -> None:
        save(clinic, check_host=True, hosts=["127.0.0.9"])
        assert clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.1") is not None
        assert clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.9") is not None
        with pytest.raises(HostNotAllowed):
            clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.2")

    def test_with_one_of_its_certificates_only(self, clinic: Clinic) -> None:
        for entry in ("cn:CT1", "AB" * 32, "sha256:" + ":".join(["ab"] * 32)):
            save(clinic, certificates=["dns:the.old.one", entry])
            assert clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.1", CERTIFICATE) is not None
        for other in (None, PeerCertificate(frozenset({f"sha256:{'cd' * 32}", "cn:ct2"}))):
            with pytest.raises(CertificateNotAllowed):
                clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.1", other)

    def test_what_it_may_send_comes_with_it(self, clinic: Clinic) -> None:
        save(clinic, modalities=["ct", "MR"], sop_classes=["1.2.3"], duplicate_policy="warning")
        peer = clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.1")
        assert peer is not None
        assert peer.may_send_modality("CT")
        assert not peer.may_send_modality("US")
        assert not peer.may_send_modality("")
        assert peer.may_send_class("1.2.3")
        assert not peer.may_send_class("1.2.4")
        assert peer.duplicate_policy == "warning"


class TestKeeping:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("ae_title", "A" * 17),
            ("ae_title", "A\\B"),
            ("host", ""),
            ("host", "a b"),
            ("host", "10.0.0.0/8"),
            ("port", 0),
            ("quiet_time_s", 0.0),
            ("quiet_time_s", float("nan")),
            ("quiet_time_max_s", 3601.0),
            ("force_after_s", 0.5),
            ("force_after_s", float("inf")),
            ("force_policy", "wait"),
            ("archive_habit", "full"),
            ("result_destination", ""),
            ("result_destination", "A" * 65),
            ("hosts", ["10.0.0.0/40"]),
            ("hosts", ["10.0.0.1"] + [f"h{n}" for n in range(300)]),
            ("certificates", ["ct1"]),
            ("modalities", ["C T"]),
            ("sop_classes", ["CT Image"]),
            ("duplicate_policy", "ignore"),
            ("query_kind", "fax"),
            ("query_retrieve", "carry"),
            ("query_ae_title", "A" * 17),
            ("query_host", "a b"),
            ("query_port", 0),
            ("query_url", "ftp://pacs"),
        ],
    )
    def test_what_cannot_be_is_refused_by_the_name_of_the_field(self, field: str, value: Any) -> None:
        with pytest.raises(PeerInvalid) as caught:
            PeerEntry(**{"ae_title": "PACS", "host": "127.0.0.1", field: value})
        assert caught.value.field == field

    def test_each_change_is_in_the_audit_trail_and_no_change_is_not(self, clinic: Clinic) -> None:
        before = len(audit.recent(clinic.owner, ALPHA))
        save(clinic, hosts=["10.0.0.0/8"], changed_by="jane")
        save(clinic, hosts=["10.0.0.0/8"], changed_by="jane")
        peers.set_enabled(clinic.owner, ALPHA, "PACS", False, changed_by="joe")
        peers.remove_peer(clinic.owner, ALPHA, "PACS", changed_by="joe")
        removed, switched, changed = audit.recent(clinic.owner, ALPHA)[: -before or None]
        assert changed["action"] == "peer_changed"
        assert changed["detail"]["by"] == "jane"
        assert changed["detail"]["changes"]["hosts"] == ["10.0.0.0/8"]
        assert "host" not in changed["detail"]["changes"]
        assert switched["detail"] == {"peer": "PACS", "by": "joe", "changes": {"enabled": False}}
        assert (removed["action"], removed["detail"]) == ("peer_removed", {"peer": "PACS", "by": "joe"})
        assert clinic.sink.find_peer("PACS", "ALPHA", "127.0.0.1") is None

    def test_a_peer_that_is_not_there_cannot_be_switched_or_removed(self, clinic: Clinic) -> None:
        with pytest.raises(PeerUnknown):
            peers.set_enabled(clinic.owner, ALPHA, "NOBODY", True)
        with pytest.raises(PeerUnknown):
            peers.remove_peer(clinic.owner, ALPHA, "NOBODY")

    def test_a_tenant_keeps_its_own(self, clinic: Clinic) -> None:
        with clinic.database.transaction(BETA) as conn:
            peers.save_peer(conn, BETA, ae_title="CT9", host="192.0.2.9", hosts=["192.0.2.9"], changed_by="b")
            assert [row["ae_title"] for row in peers.list_peers(conn, BETA)] == ["CT9", "PACS"]
        with clinic.database.transaction(ALPHA) as conn:
            assert [row["ae_title"] for row in peers.list_peers(conn, ALPHA)] == ["PACS"]
            assert peers.get_peer(conn, BETA, "CT9") is None
