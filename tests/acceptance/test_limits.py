"""With real processes a quota holds a study, the portal says why, and it goes on when the quota is raised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeStudy
from tests.acceptance.pacs import Pacs
from tests.acceptance.test_study_to_statement import command, send, usage
from tests.billing.limits_builders import with_limits
from tests.conftest import ROOT
from tests.server_process import RunningServer


@pytest.mark.peer
def test_a_study_over_the_quota_waits_visibly_and_goes_on_when_it_is_raised(
    start_server: Callable[..., RunningServer],
    make_study: MakeStudy,
    tmp_path: Path,
) -> None:
    server = start_server()
    with Pacs.listening() as pacs:
        command(server, "peer", "add", f"PACS@127.0.0.1:{pacs.port}", "--quiet-time-s", "1")
        _play(server, make_study, tmp_path / "contract.yaml")
    assert command(server, "ledger", "check").strip() == "the books are sound"
    assert server.stop() == 0


def _play(server: RunningServer, make_study: MakeStudy, contract: Path) -> None:
    text = (ROOT / "examples/contract_per_case.yaml").read_text()
    contract.write_text(with_limits(text, "quotas: {id: term, units: 1, per: term, when_reached: wait}"))
    contract_id = command(server, "contract", "add", contract).split()[-1]
    first, second = make_study("within"), make_study("beyond")

    send(first, server)
    assert server.wait_for_end(first.study_instance_uid)["status"] == "delivered"
    send(second, server)
    server.wait(lambda: server.study(second.study_instance_uid)["status"] == "held", 60, "the study is held")

    held = server.study(second.study_instance_uid)
    with server.signed_in() as client:
        page = client.get(f"/studies/{held['id']}")
        assert "A limit of the contract is reached" in page.text
        assert "1 of 1 in this term are used" in page.text
        assert "Waiting for a limit" in client.get("/").text
        assert usage(client, held["id"]) == []
        assert "│ wait │" in command(server, "budget", "alerts")

        command(server, "budget", "raise", contract_id, "term", "2", "--reason", "agreed by telephone")
        assert server.wait_for_end(second.study_instance_uid)["status"] == "delivered"
        assert usage(client, held["id"]) == [("result_delivered", "billable", "first_delivery")]
