"""Gauges of the installation: right in number, cheap to ask, and quiet about whose they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest

from pipeline import maintenance
from pipeline.unbilled import figure_every_tenant
from portal.cached import Cached
from portal.observed import Installation, combined
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance


def scraped(clinic: Clinic) -> str:
    registry = CollectorRegistry()
    registry.register(Installation(clinic.database))
    return generate_latest(registry).decode()


class TestInstallation:
    def test_what_waits_is_counted_by_step_and_priority_with_its_age(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        clinic.fall_silent()
        clinic.assemble()
        clinic.owner.execute("DELETE FROM procrastinate_jobs WHERE task_name = 'assemble'")
        clinic.owner.execute("UPDATE procrastinate_events SET at = now() - interval '90 seconds'")
        clinic.owner.execute("UPDATE procrastinate_jobs SET priority = 10")
        text = scraped(clinic)
        labels = '{priority="emergency",queue="studies",step="route"}'
        assert f"radmeter_queue_jobs{labels} 1.0" in text
        (age,) = [
            line for line in text.splitlines() if line.startswith(f"radmeter_queue_oldest_seconds{labels}")
        ]
        assert 85 < float(age.split()[-1]) < 120
        clinic.owner.execute("UPDATE procrastinate_jobs SET priority = 13")  # of a study that has begun
        assert f"radmeter_queue_jobs{labels} 1.0" in scraped(clinic)
        assert "radmeter_database_up 1.0" in text
        assert "radmeter_schema_migrations_missing 0.0" in text

    def test_an_acknowledged_study_that_no_job_will_take_on_is_seen(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        clinic.receive(make_instance("1.9"), BETA)
        clinic.fall_silent()
        clinic.assemble()
        assert 'radmeter_studies_without_job{status="assembled"}' not in scraped(clinic)
        clinic.owner.execute("UPDATE study SET updated_at = now() - interval '2 minutes'")
        assert 'radmeter_studies_without_job{status="assembled"}' not in scraped(clinic)  # its job waits
        clinic.owner.execute("DELETE FROM procrastinate_jobs")
        text = scraped(clinic)
        assert 'radmeter_studies_without_job{status="assembled"} 1.0' in text
        assert 'radmeter_studies_without_job{status="receiving"} 1.0' in text
        assert "alpha" not in text
        assert "beta" not in text

    def test_jobs_that_were_given_up_and_those_of_dead_workers_are_counted(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        clinic.receive(make_instance("1.9"), BETA)
        one, other = clinic.jobs("assemble")
        clinic.owner.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", (one["id"],))
        clinic.owner.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE id = %s", (other["id"],))
        text = scraped(clinic)
        assert 'radmeter_jobs_failed{task="assemble"} 1.0' in text
        assert "radmeter_jobs_stalled 1.0" in text
        assert "radmeter_workers 0.0" in text

    def test_runs_that_are_overdue_or_failed_are_seen_of_the_worst_tenant(self, clinic: Clinic) -> None:
        for tenant in (ALPHA, BETA):
            maintenance.note(clinic.owner, "ledger_check", is_well=True, subject=tenant)
        assert 'radmeter_maintenance_failing{run="ledger_check"} 0.0' in scraped(clinic)
        clinic.owner.execute(
            "UPDATE maintenance_run SET succeeded_at = to_timestamp(1000) WHERE subject = %s", (ALPHA,)
        )
        maintenance.note(clinic.owner, "ledger_check", is_well=False, subject=BETA)
        clinic.owner.execute("UPDATE maintenance_run SET failed_at = failed_at + interval '1 second'")
        text = scraped(clinic)
        assert 'radmeter_maintenance_failing{run="ledger_check"} 1.0' in text
        assert 'radmeter_maintenance_last_success_timestamp_seconds{run="ledger_check"} 1000.0' in text

    def test_many_scrapes_are_one_question(self, clinic: Clinic) -> None:
        now = 0.0
        gauges = Cached(Installation(clinic.database), 5.0, clock=lambda: now)
        first = list(gauges.collect())
        clinic.receive(make_instance())
        assert all(list(gauges.collect()) == first for _ in range(50))
        now += 5.0
        assert list(gauges.collect()) != first

    def test_without_a_database_it_says_just_that(self, clinic: Clinic) -> None:
        clinic.database.close()
        text = scraped(clinic)
        assert "radmeter_database_up 0.0" in text
        assert "radmeter_workers" not in text

    def test_rows_of_several_tenants_are_added_or_the_largest_taken(self) -> None:
        rows = [
            {"metric": "deliveries_waiting", "labels": ["stow"], "value": 2.0},
            {"metric": "deliveries_waiting", "labels": ["stow"], "value": 3.0},
            {"metric": "delivery_oldest_seconds", "labels": ["stow"], "value": 9.0},
            {"metric": "delivery_oldest_seconds", "labels": ["stow"], "value": 4.0},
        ]
        figures = combined(rows)
        assert figures["deliveries_waiting"] == {("stow",): 5.0}
        assert figures["delivery_oldest_seconds"] == {("stow",): 9.0}


class TestUnbilled:
    def test_it_is_rated_once_an_hour_however_many_workers_ask(self, clinic: Clinic) -> None:
        now = datetime(2026, 5, 1, tzinfo=UTC)
        figure_every_tenant(clinic.database, lambda: now)
        clinic.owner.execute(
            "INSERT INTO unbilled_figure VALUES ('alpha', 'EUR', true, 12345, %s)", (now - timedelta(days=3),)
        )
        figure_every_tenant(clinic.database, lambda: now + timedelta(minutes=59))
        text = scraped(clinic)
        assert 'radmeter_money_unbilled_minor{currency="EUR",period="ended"} 12345.0' in text
        assert 'radmeter_money_unbilled_oldest_seconds{currency="EUR",period="ended"}' in text
        figure_every_tenant(clinic.database, lambda: now + timedelta(minutes=61))
        assert 'currency="EUR"' not in scraped(clinic)  # nothing is unbilled
