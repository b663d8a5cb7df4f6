"""SIGKILL of the whole installation, the database too: no study lost, none delivered or billed twice.

The invariants are 1 and 3 of the architecture: what was acknowledged is there with the same bytes, and a study ends
delivered once and billed once, whatever was killed.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import pytest

from billing.contracts import store as billing_store
from billing.statements import statement
from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.scu_association import Destination
from server.installation import FIRST_TENANT, owner_connection
from tests.acceptance.conftest import MadeStudy, MakeStudy
from tests.acceptance.pacs import Pacs
from tests.conftest import ROOT
from tests.dicom_peers import data_set_of
from tests.server_process import RunningServer

StartServer = Callable[..., RunningServer]
CONTRACT = ROOT / "examples/contract_per_case.yaml"


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    with Pacs.listening() as listening:
        yield listening


def send(
    study: MadeStudy,
    server: RunningServer,
    on_progress: Callable[[DeliveryOutcome], None] | None = None,
    calling: str = "PACS",
) -> list[DeliveryOutcome]:
    destination = Destination("127.0.0.1", server.dicom_port, "RADMETER", calling)
    return send_instances(study.files, destination, on_progress)


@contextmanager
def held_at(server: RunningServer, study: MadeStudy, status: str) -> Iterator[None]:
    """Wait for the status, then hold the study's row: the step in progress does its work and cannot commit."""
    deadline = time.monotonic() + 180
    conn = owner_connection(server.database_url)
    try:
        while True:
            row = conn.execute(
                "SELECT status FROM study WHERE study_instance_uid = %s FOR UPDATE",
                (study.study_instance_uid,),
            ).fetchone()
            if row is not None and row["status"] == status:
                break
            conn.rollback()
            assert time.monotonic() < deadline, f"never {status}: {row}\n{server.log_tail()}"
            time.sleep(0.02)
        yield
    finally:
        conn.close()  # by then the database is dead


def instances_on_disk(server: RunningServer) -> dict[str, str]:
    """SOP Instance UID → SHA-256 of the data set as it lies on disk, for every recorded instance."""
    return {
        row["sop_instance_uid"]: hashlib.sha256(
            data_set_of(server.data / "instances" / row["location"])
        ).hexdigest()
        for row in server.rows("SELECT sop_instance_uid, location FROM instance")
    }


def require_acknowledged_kept(server: RunningServer, outcomes: list[DeliveryOutcome]) -> None:
    """Nothing that was answered with 0000H is lost, or another."""
    on_disk = instances_on_disk(server)
    for outcome in outcomes:
        if outcome.acknowledged:
            sent = hashlib.sha256(data_set_of(outcome.path)).hexdigest()
            assert on_disk[outcome.sop_instance_uid] == sent


def require_delivered_once(server: RunningServer, pacs: Pacs, study: MadeStudy) -> None:
    """One set of results, each object acknowledged; what came twice came with the same UID and bytes."""
    row = server.study(study.study_instance_uid)
    assert (row["status"], row["revision"], row["reason_code"]) == ("delivered", 1, None), row
    objects = server.rows(
        "SELECT * FROM result_object JOIN delivery USING (tenant, sop_instance_uid, study_id) WHERE study_id = %s",
        row["id"],
    )
    assert {one["kind"] for one in objects} in ({"SR", "SEG", "PDF"}, {"SR", "PDF"})
    assert all(one["acknowledged_at"] and one["dicom_status"] == 0 for one in objects)
    received = pacs.received[study.study_instance_uid]
    assert {uid for uid, _ in received} == {one["sop_instance_uid"] for one in objects}
    assert len(set(received)) == len(objects), "one SOP Instance UID with two contents"
    ends = server.rows(
        "SELECT 1 FROM study_event WHERE study_id = %s AND event = 'study_delivered'", row["id"]
    )
    assert len(ends) == 1


def require_billed_once(server: RunningServer, studies: list[MadeStudy]) -> None:
    """One billable decision for each study, and a statement of their sum; the books are sound."""
    ids = [str(server.study(study.study_instance_uid)["id"]) for study in studies]
    with owner_connection(server.database_url) as conn:
        for study_id in ids:
            recorded = billing_store.usage_for_study(conn, FIRST_TENANT, study_id)
            billable = [one.event.kind for one in recorded if one.decision.outcome == "billable"]
            assert billable == ["result_delivered"]
            assert sum(one.event.kind == "result_delivered" for one in recorded) == 1
        (contract,) = billing_store.list_contracts(conn, FIRST_TENANT)
        drafted = statement.draft(conn, FIRST_TENANT, contract.contract_id, datetime.now(UTC))
    assert drafted.subtotal.amount_minor == 100_00 * len(studies)
    assert server.command("ledger", "check").returncode == 0


def add_contract(server: RunningServer) -> None:
    with owner_connection(server.database_url) as conn:
        billing_store.add_contract(conn, FIRST_TENANT, CONTRACT.read_text())


HELD = ("assembled", "routed", "decoded", "inferred")


def test_killed_at_every_boundary_at_once_each_study_ends_delivered_and_billed_once(
    start_server: StartServer, make_study: MakeStudy, pacs: Pacs
) -> None:
    """Seven studies stand at one boundary each when everything dies: four before the commit of their next step, one
    with its results half delivered, one received whole in its quiet time, one in the middle of its association."""
    server = start_server(WORKER_CONCURRENCY="8", INFERENCE_THREADS="1")
    add_contract(server)
    server.add_peer("PACS", pacs.port)
    server.add_peer("SLOW", pacs.port, quiet_time_s=10.0)
    held = {status: make_study(f"kill-{status}") for status in HELD}
    encoded, receiving, sending = (make_study(f"kill-{name}") for name in ("encoded", "receiving", "sending"))
    everything = [*held.values(), encoded, receiving, sending]
    pacs.hold = encoded.study_instance_uid
    outcomes: list[DeliveryOutcome] = []

    with ExitStack() as stack:
        for status, study in held.items():
            outcomes += send(study, server)
            stack.enter_context(held_at(server, study, status))
        outcomes += send(encoded, server)
        assert pacs.held.wait(180), server.log_tail()
        outcomes += send(receiving, server, calling="SLOW")
        stack.enter_context(_half_sent(sending, server, outcomes))
        at_death = {one: server.study(one.study_instance_uid)["status"] for one in everything}
        server.kill()

    assert [at_death[study] for study in everything] == [*HELD, "encoded", "receiving", "receiving"]
    assert all(one.acknowledged for one in outcomes[: 6 * len(receiving.files)])
    pacs.release.set()
    server.start()
    require_acknowledged_kept(server, outcomes)
    for study in everything:
        server.wait_for_end(study.study_instance_uid)
    # Twenty slices were too few for the model. The PACS finds that its association broke and sends the study again.
    partial = server.study(sending.study_instance_uid)
    assert (partial["status"], partial["reason_code"]) == ("rejected", "TOO_FEW_SLICES")
    outcomes += send(sending, server)
    server.wait(lambda: server.study(sending.study_instance_uid)["revision"] == 2, 60, "the rest has come")
    server.wait_for_end(sending.study_instance_uid)
    require_acknowledged_kept(server, outcomes)
    for study in everything[:-1]:
        require_delivered_once(server, pacs, study)
    assert server.study(sending.study_instance_uid)["status"] == "delivered"
    require_billed_once(server, everything)


@contextmanager
def _half_sent(study: MadeStudy, server: RunningServer, outcomes: list[DeliveryOutcome]) -> Iterator[None]:
    """An association in another thread that has had 20 acknowledgements and stops in the middle."""
    reached, go_on = threading.Event(), threading.Event()
    done: list[DeliveryOutcome] = []

    def on_progress(outcome: DeliveryOutcome) -> None:
        done.append(outcome)
        if len(done) == 20:
            reached.set()
            go_on.wait(60)

    thread = threading.Thread(target=send, args=(study, server, on_progress, "SLOW"), daemon=True)
    thread.start()
    assert reached.wait(60)
    yield
    go_on.set()
    thread.join(60)
    outcomes += done


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_again_and_again(
    start_server: StartServer, make_study: MakeStudy, pacs: Pacs, seed: int
) -> None:
    """Five deaths at random moments, each soon after another study has come."""
    rng = random.Random(seed)
    server = start_server(WORKER_CONCURRENCY="3", INFERENCE_THREADS="1")
    add_contract(server)
    server.add_peer("PACS", pacs.port)
    studies: list[MadeStudy] = []
    outcomes: list[DeliveryOutcome] = []
    for number in range(5):
        studies.append(make_study(f"soak-{seed}-{number}"))
        outcomes += send(studies[-1], server)
        time.sleep(rng.uniform(0.2, 14.0))
        server.kill()
        server.start()
    assert all(one.acknowledged for one in outcomes)
    require_acknowledged_kept(server, outcomes)
    for study in studies:
        server.wait_for_end(study.study_instance_uid)
        require_delivered_once(server, pacs, study)
    require_billed_once(server, studies)
