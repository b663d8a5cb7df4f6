"""Replay of draft rules over stored studies: who is taken, what differs, what it would cost; nothing is stored."""

from __future__ import annotations

from typing import Any

from billing.contracts import store as billing_store
from models.manifest import Manifest
from models.registry import get_model
from pipeline import store
from pipeline.route_replay import Replay, replay
from pipeline.rule_document import read_rules
from pipeline.study_facts import save_facts, summarize
from study.study import Study
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, BETA, Clinic
from tests.pipeline.rule_builders import ARRIVAL, ct_series, ct_study
from tests.pipeline.test_route_study import put_in_force

CONTRACT = ROOT / "examples/contract_per_case.yaml"
THIN = "rules:\n  - {name: thin, series: SliceThickness <= 1, models: [lung_nodule_ct]}\n"
SHADOW = THIN.replace("models:", "shadow: true, models:")
TABLES = (
    "study",
    "study_event",
    "route_rule_set",
    "study_facts",
    "billing.usage_event",
    "billing.event_decision",
)


def find_manifest(name: str) -> Manifest:
    return get_model(name).manifest


def add_study(clinic: Clinic, study: Study, days_ago: int, tenant: str = ALPHA) -> str:
    row = clinic.owner.execute(
        """INSERT INTO study (tenant, study_instance_uid, ae_title, status, created_at)
           VALUES (%s, gen_random_uuid()::text, 'PACS', 'delivered', now() - make_interval(days => %s))
           RETURNING id""",
        (tenant, days_ago),
    ).fetchone()
    assert row is not None
    with clinic.database.transaction(tenant) as conn:
        save_facts(conn, store.get_study(conn, tenant, row["id"]), summarize(study, ARRIVAL))
    return str(row["id"])


def run(clinic: Clinic, document: str, days: int = 30) -> Replay:
    with clinic.database.transaction(ALPHA) as conn:
        return replay(conn, ALPHA, read_rules(document), days, find_manifest)


def everything(clinic: Clinic) -> list[Any]:
    return [clinic.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]


def test_a_draft_is_compared_with_what_is_in_force_and_priced(clinic: Clinic) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        billing_store.add_contract(conn, ALPHA, CONTRACT.read_text("utf-8"))
    add_study(clinic, ct_study(ct_series()), 1)
    add_study(clinic, ct_study(ct_series(slices=3)), 2)  # thin, but too few slices
    thick = add_study(clinic, ct_study(ct_series(thickness_mm=3.0)), 3)
    add_study(clinic, ct_study(ct_series()), 40)  # too long ago
    add_study(clinic, ct_study(ct_series()), 1, tenant=BETA)
    clinic.owner.execute(
        "INSERT INTO study (tenant, study_instance_uid, ae_title) VALUES ('alpha', 'never routed', 'PACS')"
    )
    before = everything(clinic)
    found = run(clinic, THIN)
    assert everything(clinic) == before, "nothing is stored"
    assert (found.studies, found.left_out) == (3, 1)
    assert (found.matched, found.unmatched, found.unfit) == ({"thin": 2}, 1, 1)
    assert (found.products, found.shadows) == ({"lung_nodule_ct": 1}, {})
    (difference,) = found.differences
    assert (difference.study_id, difference.before, difference.after) == (
        thick,
        (("lung_nodule_ct", False),),
        (),
    )
    (cost,) = found.costs
    assert 0 < cost.draft.amount_minor < cost.in_force.amount_minor


def test_shadow_costs_nothing_and_rules_in_force_are_what_is_compared_with(clinic: Clinic) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        billing_store.add_contract(conn, ALPHA, CONTRACT.read_text("utf-8"))
    put_in_force(clinic, THIN)
    add_study(clinic, ct_study(ct_series()), 1)
    assert run(clinic, THIN).different == 0
    found = run(clinic, SHADOW)
    assert (found.different, found.products, found.shadows) == (1, {}, {"lung_nodule_ct": 1})
    assert found.costs[0].draft.amount_minor == 0
