"""Rules in force and the destinations that they name come and go together."""

from __future__ import annotations

import pytest

from pipeline import destinations, rule_store
from pipeline.destinations import DestinationRecord
from pipeline.errors import DestinationInUse
from pipeline.rule_errors import RulesInvalid
from tests.pipeline.conftest import ALPHA, Clinic

RULE = "rules:\n  - {name: thin, series: SliceThickness <= 1, models: [lung_nodule_ct], destinations: [archive]}\n"


def activate(clinic: Clinic, version: int | None) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        known = destinations.names(conn, ALPHA)
        rule_store.activate(conn, ALPHA, version, by="ann", known_destinations=known)


def remove(clinic: Clinic) -> bool:
    with clinic.database.transaction(ALPHA) as conn:
        return destinations.remove_destination(conn, ALPHA, "archive")


def test_a_version_whose_destination_has_gone_is_not_put_in_force_nor_does_one_in_use_go(
    clinic: Clinic,
) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        version = rule_store.add_rule_set(conn, ALPHA, RULE, author="ann")
    with pytest.raises(RulesInvalid, match="no such destination"):
        activate(clinic, version)
    with clinic.database.transaction(ALPHA) as conn:
        record = DestinationRecord(ALPHA, "archive", ae_title="A", host="h", port=104)
        destinations.save_destination(conn, record)
    activate(clinic, version)
    with pytest.raises(DestinationInUse, match="Put rules in force that do not name it"):
        remove(clinic)
    activate(clinic, None)
    assert remove(clinic)
