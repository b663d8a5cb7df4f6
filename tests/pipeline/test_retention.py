"""Images and results go when the policy lets them, never what is held or waited for, and what went is still known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from billing.claims import disputes
from billing.statements import statement
from pipeline import retention, retention_run
from pipeline.errors import HoldNotFound, HoldUnclear, RetentionPolicyInvalid, StudyRefused
from pipeline.protection.erase import plan_study, plan_tenant
from pipeline.protection.errors import ErasureRefused
from pipeline.retention import RetentionPolicy
from pipeline.retention_run import Removed, run_retention, sweep_work
from pipeline.store import StudyRecord
from server.installation import owner_connection
from server.settings import Settings
from tests.pipeline.conftest import ALPHA, BETA, Clinic
from tests.server.backup_site import Site, add_contract

MONTH = RetentionPolicy(images_days=30, results_days=365, quarantine_days=7)
LATER = datetime.now(UTC) + timedelta(days=31)


@pytest.fixture
def site(clinic: Clinic, tmp_path: Path) -> Site:
    return Site(Settings(data_directory=tmp_path, database_url=clinic.database.url), clinic)


def keep(site: Site, policy: RetentionPolicy = MONTH, tenant: str = ALPHA) -> None:
    with site.clinic.database.transaction(tenant) as conn:
        retention.set_policy(conn, tenant, policy, by="lin", now=datetime.now(UTC))


def run(site: Site, now: datetime = LATER, tenant: str = ALPHA) -> Removed:
    return run_retention(site.clinic.database, site.clinic.services.folders, tenant, now=now)


def images(site: Site) -> list[Path]:
    return list(site.settings.instances_directory.rglob("*.dcm"))


def results(site: Site) -> list[Path]:
    return [path for path in site.settings.results_directory.rglob("*") if path.is_file()]


def due_of(site: Site, study: StudyRecord, now: datetime = LATER) -> list[str]:
    with site.clinic.database.transaction(ALPHA) as conn:
        return [one.what for one in retention.due(conn, ALPHA, now=now, limit=9, study_id=study.id)]


def test_images_go_after_their_days_and_results_stay(site: Site) -> None:
    study = site.deliver(1)
    assert run(site) == Removed(), "without a policy everything stays"
    keep(site)
    assert run(site, datetime.now(UTC) + timedelta(days=29)) == Removed()
    removed = run(site)
    assert (removed.studies, removed.files, images(site), len(results(site))) == (1, 1, [], 2)
    assert run(site) == Removed(), "once"
    with site.clinic.database.transaction(ALPHA) as conn:
        told = retention.removals_of(conn, ALPHA, study.id)
    assert told["images"] == retention.Removal("images", 30, LATER)
    assert run(site, LATER + timedelta(days=365)).files == 1
    assert results(site) == []
    events = [row["event"] for row in site.clinic.rows("SELECT event FROM study_event ORDER BY id")]
    assert events[-2:] == ["images_removed", "results_removed"]
    actions = [row["action"] for row in site.clinic.rows("SELECT action FROM audit_event ORDER BY sequence")]
    assert actions.count("objects_removed") == 2
    assert "retention_changed" in actions


def test_a_study_whose_images_went_is_known_when_it_is_sent_again_and_not_charged(site: Site) -> None:
    add_contract(site)
    site.deliver(1)
    keep(site)
    run(site)
    # In truth the database's clock went on too.
    site.clinic.owner.execute("UPDATE retention_removal SET decided_at = decided_at - interval '32 days'")
    before = site.charged()
    again = site.deliver(1)
    assert again.status == "delivered"
    assert again.revision == 1
    assert [row for row in site.charged() if row not in before] == [("not_billable seen_again", 1)]
    assert len(images(site)) == 1, "it was acknowledged, so it is kept until the next round"
    assert run(site, LATER).files == 1
    assert images(site) == []


def test_more_images_of_a_study_whose_images_went_are_refused_with_the_reason(site: Site) -> None:
    from pipeline.route_study import route_study

    site.deliver(1)
    keep(site)
    run(site)
    late = site.send(1, number=2)
    site.clinic.fall_silent()
    site.clinic.assemble()
    study = site.clinic.study(late)
    assert (study.status, study.revision) == ("assembled", 2)
    with pytest.raises(StudyRefused, match=r"removed on \d{4}-\d\d-\d\d by policy, 30 days") as caught:
        route_study(site.clinic.services, study)
    assert caught.value.code == "IMAGES_REMOVED"


Keeps = Callable[[Site, StudyRecord], None]


def _hold(**of: object) -> Keeps:
    def keeps(site: Site, study: StudyRecord) -> None:
        values = {name: study.id if value == "id" else value for name, value in of.items()}
        with site.clinic.database.transaction(ALPHA) as conn:
            retention.place_hold(conn, ALPHA, **values, reason="a claim", by="lin", now=datetime.now(UTC))  # type: ignore[arg-type]

    return keeps


def _sql(statement_: str) -> Keeps:
    def keeps(site: Site, study: StudyRecord) -> None:
        site.clinic.owner.execute(statement_, {"study": study.id})

    return keeps


def _prior_in_use(site: Site, study: StudyRecord) -> None:
    later = site.assemble(2)
    site.clinic.owner.execute("INSERT INTO prior_of VALUES (%s, %s, %s)", (ALPHA, later.id, study.id))


def _disputed(site: Site, study: StudyRecord) -> None:
    (contract,) = site.clinic.rows("SELECT contract_id FROM billing.contract")
    now = datetime.now(UTC)
    with site.clinic.database.transaction(ALPHA) as conn:
        issued = statement.issue(conn, ALPHA, contract["contract_id"], now, close_early=True)
        assert issued.statement_id is not None
        disputes.open_dispute(
            conn, ALPHA, issued.statement_id, [(1, None)], reason="not ours", by="a", now=now
        )


@pytest.mark.parametrize(
    "keeps",
    [
        _hold(study_id="id"),
        _hold(patient_id="P1"),
        _hold(),
        _sql("UPDATE study SET status = 'failed', reason_code = 'X' WHERE id = %(study)s"),
        _sql("UPDATE study SET status = 'encoded' WHERE id = %(study)s"),
        _sql("UPDATE delivery SET state = 'waiting', acknowledged_at = NULL WHERE study_id = %(study)s"),
        _prior_in_use,
        _disputed,
    ],
    ids=[
        "held",
        "patient held",
        "all held",
        "failed",
        "not delivered",
        "still sent",
        "prior in use",
        "disputed",
    ],
)
def test_what_somebody_needs_stays(site: Site, keeps: Keeps) -> None:
    add_contract(site)
    study = site.deliver(1)
    site.clinic.owner.execute("""UPDATE study SET header = '{"patient_id": "P1"}'""")
    keep(site)
    assert due_of(site, study) == ["images"]
    keeps(site, study)
    assert due_of(site, study, LATER + timedelta(days=3650)) == []
    assert run(site, LATER + timedelta(days=3650)).files == 0


def test_a_hold_that_is_released_lets_go_and_both_are_on_the_record(site: Site) -> None:
    study = site.deliver(1)
    keep(site)
    now = datetime.now(UTC)
    with site.clinic.database.transaction(ALPHA) as conn:
        number = retention.place_hold(conn, ALPHA, study_id=study.id, reason="a claim", by="lin", now=now)
    assert run(site).files == 0
    with site.clinic.database.transaction(ALPHA) as conn:
        with pytest.raises(HoldUnclear):
            retention.release_hold(conn, ALPHA, number, reason=" ", by="bo", now=now)
        retention.release_hold(conn, ALPHA, number, reason="settled", by="bo", now=now)
        with pytest.raises(HoldNotFound):
            retention.release_hold(conn, ALPHA, number, reason="again", by="bo", now=now)
        (kept,) = retention.holds(conn, ALPHA)
    assert (kept["placed_by"], kept["reason"], kept["released_by"], kept["released_reason"]) == (
        "lin", "a claim", "bo", "settled",
    )  # fmt: skip
    assert run(site).files == 1


def test_what_is_held_is_not_erased_either(site: Site) -> None:
    study, other = site.deliver(1), site.deliver(2)
    now = datetime.now(UTC)
    with site.clinic.database.transaction(ALPHA) as conn:
        number = retention.place_hold(conn, ALPHA, study_id=study.id, reason="a claim", by="lin", now=now)
    with owner_connection(site.clinic.database.url, ALPHA) as conn:
        with pytest.raises(ErasureRefused, match=f"legal hold {number} keeps it"):
            plan_study(conn, ALPHA, study.id)
        with pytest.raises(ErasureRefused, match="legal hold"):
            plan_tenant(conn, ALPHA)
        assert plan_study(conn, ALPHA, other.id).studies == 1


def test_a_removal_that_was_interrupted_is_finished(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.deliver(1)
    keep(site)

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(retention_run, "_delete", kill)
        with pytest.raises(Killed):
            run(site)
    assert len(images(site)) == 1
    assert run(site).files == 1
    assert images(site) == []


def test_each_tenant_has_its_own_policy_and_a_round_is_bounded(site: Site) -> None:
    for study in range(1, 6):
        site.deliver(study)
    keep(site, tenant=BETA)
    assert run(site, tenant=BETA) == Removed()
    assert run(site) == Removed()
    keep(site)
    folders = site.clinic.services.folders
    first = run_retention(site.clinic.database, folders, ALPHA, now=LATER, time_s=0.0)
    assert first.studies == 0
    assert run(site).studies == 5


def test_images_in_quarantine_go_after_their_own_days(site: Site) -> None:
    site.send(1)
    place = site.settings.instances_directory / "quarantine" / "x.dcm"
    place.parent.mkdir()
    place.write_bytes(b"another")
    site.clinic.owner.execute(
        """INSERT INTO quarantined_instance (tenant, sop_instance_uid, location, blake3, reason)
           VALUES ('alpha', '1.2', 'quarantine/x.dcm', 'f', 'differs')"""
    )
    keep(site)
    assert run(site, datetime.now(UTC) + timedelta(days=6)).files == 0
    assert run(site, datetime.now(UTC) + timedelta(days=8)).files == 1
    assert not place.exists()
    assert site.clinic.rows("SELECT 1 FROM quarantined_instance") == []


def test_work_that_nobody_swept_goes_a_day_after_the_end(site: Site) -> None:
    done, under_way = site.deliver(1), site.assemble(2)
    for study in (done, under_way):
        (site.settings.work_directory / str(study.id) / "1").mkdir(parents=True)
    folders = site.clinic.services.folders
    assert sweep_work(site.clinic.database, folders, ALPHA, now=datetime.now(UTC)) == 0
    assert sweep_work(site.clinic.database, folders, ALPHA, now=LATER) == 1
    assert [UUID(path.name) for path in site.settings.work_directory.iterdir()] == [under_way.id]


@pytest.mark.parametrize("days", [(None, 30, None), (60, 30, None), (0, None, None), (None, None, 36501)])
def test_a_policy_that_contradicts_itself_is_refused(days: tuple[int | None, int | None, int | None]) -> None:
    with pytest.raises(RetentionPolicyInvalid):
        RetentionPolicy(*days)
