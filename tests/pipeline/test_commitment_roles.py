"""Who may bring us the result of a commitment (PS3.7 annex D.3.3.4, PS3.4 section J.3.3)."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.presentation import build_context, build_role
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from tests.pipeline.conftest import Clinic
from tests.pipeline.services import running_gateway


@pytest.mark.parametrize(("with_role", "status"), [(True, 0x0112), (False, 0x0211)])
def test_a_report_to_us_wants_the_role_of_an_scp(clinic: Clinic, with_role: bool, status: int) -> None:
    """We have asked nobody: with the role the transaction is unknown, without it the operation is."""
    role = build_role(StorageCommitmentPushModel, scu_role=True, scp_role=with_role)
    context = build_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
    with running_gateway(clinic) as port:
        link = AE(ae_title="PACS").associate(
            "127.0.0.1", port, contexts=[context], ae_title="ALPHA", ext_neg=[role]
        )
        assert link.accepted_contexts[0].as_scp is with_role
        link.accepted_contexts[0]._as_scp = True  # pynetdicom itself would not send without the role
        information = Dataset()
        information.TransactionUID = "1.2.840.7.1"
        answer, _ = link.send_n_event_report(
            information, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        assert answer.Status == status
        link.release()
