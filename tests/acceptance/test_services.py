"""A commitment outlives the processes that made it: asked for, everything killed, reported after the restart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from tests.dicom_peers import RawPeer, ct_data_set
from tests.server_process import RunningServer


@pytest.mark.soak
def test_a_commitment_is_reported_after_a_power_cut(
    start_server: Callable[..., RunningServer], free_port: int
) -> None:
    server = start_server()
    server.add_peer("PACS", free_port, quiet_time_s=600)
    with RawPeer(server.dicom_port) as peer:
        peer.associate(calling="PACS")
        assert peer.store(ct_data_set("1.2.3.4.1"), "1.2.3.4.1") == 0
        peer.release()
    request = Dataset()
    request.TransactionUID = "1.2.840.7.1"
    request.ReferencedSOPSequence = [Dataset()]
    request.ReferencedSOPSequence[0].ReferencedSOPClassUID = RawPeer.CT
    request.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3.4.1"
    link = AE(ae_title="PACS").associate(
        "127.0.0.1",
        server.dicom_port,
        contexts=[build_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)],
        ae_title="RADMETER",
    )
    status, _ = link.send_n_action(request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    assert status.Status == 0
    server.kill()
    link.abort()
    told, came = [], threading.Event()

    def take(event: Any) -> tuple[int, None]:
        told.append((event.event_type, event.event_information))
        came.set()
        return 0, None

    entity = AE(ae_title="PACS")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    listener = entity.start_server(
        ("127.0.0.1", free_port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    try:
        server.start()
        assert came.wait(90), "the report never came"
        server.wait(
            lambda: server.rows("SELECT reported_at FROM storage_commitment")[0]["reported_at"] is not None,
            30,
            "the report is noted",
        )
    finally:
        listener.shutdown()
    ((event_type, information),) = told
    assert event_type == 1
    assert information.TransactionUID == "1.2.840.7.1"
    assert information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.1"
