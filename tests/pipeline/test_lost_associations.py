"""Associations of processes that are gone are ended, and those of living ones are not."""

from __future__ import annotations

from typing import Any

from pipeline import nodes
from pipeline.lost_associations import close_lost
from pipeline.receive import DatabaseSink
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance


def test_what_a_killed_gateway_left_open_is_lost_and_what_it_brought_is_looked_at(clinic: Clinic) -> None:
    """Three gateways: one lives, one was silent for a while, one has left the register; and one nobody knows."""
    peer = clinic.peer()
    numbers: dict[str | None, int] = {}
    for node in ("living", "silent", "gone", None):
        sink = DatabaseSink(clinic.database, clinic.queue, node=node and nodes.name_of("gateway") + node)
        numbers[node] = sink.open_association(peer)
        study = f"1.2.{numbers[node]}"
        sink.record(numbers[node], peer, make_instance(study))
        sink.close()
    clinic.owner.execute("UPDATE association SET opened_at = opened_at - interval '10 min'")
    for node, minutes in (("living", 0), ("silent", 3)):
        clinic.owner.execute(
            """INSERT INTO node (name, host, role, version, newest_migration, started_at, seen_at, clock_ahead_s)
               VALUES (%s, 'here', 'gateway', '1', 'x', now(), now() - make_interval(mins => %s), 0)""",
            (nodes.name_of("gateway") + node, minutes),
        )
    clinic.owner.execute("UPDATE arrival SET look_at = now() + interval '1 hour'")

    def open_ones() -> set[Any]:
        return {row["id"] for row in clinic.rows("SELECT id FROM association WHERE closed_at IS NULL")}

    jobs = len(clinic.jobs("assemble"))
    assert close_lost(clinic.database, clinic.queue, BETA) == 0
    assert close_lost(clinic.database, clinic.queue, ALPHA) == 2
    assert open_ones() == {numbers["living"], numbers[None]}
    assert len(clinic.jobs("assemble")) == jobs + 2
    assert clinic.rows("SELECT DISTINCT how FROM association WHERE closed_at IS NOT NULL") == [
        {"how": "lost"}
    ]
    assert close_lost(clinic.database, clinic.queue, ALPHA) == 0

    clinic.owner.execute("UPDATE association SET opened_at = opened_at - interval '1 day'")
    assert close_lost(clinic.database, clinic.queue, ALPHA) == 1
    assert open_ones() == {numbers["living"]}
