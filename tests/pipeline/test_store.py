"""Studies in the database: the work list, the timeline, and the wall between hospitals."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pipeline import store
from pipeline.errors import StudyNotFound, TransitionNotAllowed
from pipeline.status import StudyStatus
from pipeline.work_list import Filter, Place, count_by_view, list_studies
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance

# Their SECURITY DEFINER functions must work for an owner that is no superuser (pipeline-0005.ordinary-owner.sql).
ASKED_BEFORE_THE_TENANT_IS_KNOWN = {
    "tenant", "peer", "portal_user", "portal_session", "api_key", "study", "audit_event", "delivery",
    "openid_provider", "openid_attempt", "report_link",
}  # fmt: skip


def add_study(clinic: Clinic, uid: str, tenant: str = ALPHA, **header: str) -> str:
    """A study in the work list; returns our id."""
    row = clinic.rows(
        """INSERT INTO study (tenant, study_instance_uid, ae_title, status, header)
           VALUES (%s, %s, 'PACS', 'delivered', %s) RETURNING id""",
        tenant,
        uid,
        Jsonb(header),
    )[0]
    return str(row["id"])


def found(clinic: Clinic, search: str, tenant: str = ALPHA) -> list[str]:
    with clinic.database.transaction(tenant) as conn:
        rows = list_studies(conn, tenant, Filter(search=search), limit=50)
        return sorted(row["study_instance_uid"] for row in rows)


class TestWorkList:
    def test_a_search_finds_parts_of_name_id_accession_number_and_description(self, clinic: Clinic) -> None:
        ours = add_study(clinic, "1.1", patient_name="DOE^JANE", patient_id="PAT-77")
        add_study(clinic, "1.2", accession_number="ACN-9", description="Thorax nativ")
        add_study(clinic, "1.3", patient_name="王^小东")
        assert found(clinic, "jane") == ["1.1"]
        assert found(clinic, "t-77") == ["1.1"]
        assert found(clinic, "acn-9") == ["1.2"]
        assert found(clinic, "thorax") == ["1.2"]
        assert found(clinic, "小东") == ["1.3"]
        assert found(clinic, ours[:13]) == ["1.1"]
        assert found(clinic, "") == ["1.1", "1.2", "1.3"]

    @pytest.mark.parametrize("wildcard", ["%", "_", "\\", "100%", "a_c", "\\%"])
    def test_wildcards_of_like_are_plain_characters(self, clinic: Clinic, wildcard: str) -> None:
        add_study(clinic, "1.1", patient_name="abc")
        add_study(clinic, "1.2", patient_name=f"x{wildcard}y")
        assert found(clinic, wildcard) == ["1.2"]

    @pytest.mark.parametrize("text", ["'; DROP TABLE study; --", "%s", "{0}", '"', "\x1b[2J"])
    def test_no_text_is_a_command(self, clinic: Clinic, text: str) -> None:
        add_study(clinic, "1.1", patient_name=text)
        add_study(clinic, "1.2", patient_name="other")
        assert found(clinic, text) == ["1.1"]

    def test_it_is_paged_and_filtered_newest_first(self, clinic: Clinic) -> None:
        for number in range(5):
            add_study(clinic, f"1.{number}")
        clinic.owner.execute("UPDATE study SET status = 'receiving' WHERE study_instance_uid = '1.2'")
        with clinic.database.transaction(ALPHA) as conn:
            first = list_studies(conn, ALPHA, Filter(), limit=2)
            last = first[-1]
            place = Place(last["urgency"], last["created_at"], last["id"])
            rest = list_studies(conn, ALPHA, Filter(), limit=50, after=place)
            receiving = list_studies(conn, ALPHA, Filter(status="receiving"), limit=50)
            _, counts = count_by_view(conn, ALPHA)
        assert [row["study_instance_uid"] for row in first + rest] == ["1.4", "1.3", "1.2", "1.1", "1.0"]
        assert [row["study_instance_uid"] for row in receiving] == ["1.2"]
        assert counts == {"delivered": 4, "receiving": 1}


class TestAdvance:
    def test_a_step_writes_status_reason_and_timeline(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        study_id = clinic.study(make_instance()).id
        with clinic.database.transaction(ALPHA) as conn:
            study = store.lock_study(conn, ALPHA, study_id)
            study = store.advance(conn, study, StudyStatus.ASSEMBLED, detail={"reason": "silence"})
            reason = ("NOT_AXIAL", "The slices are not axial.")
            study = store.advance(conn, study, StudyStatus.REJECTED, duration_ms=12, reason=reason)
        assert (study.status, study.reason_code, study.reason_text) == ("rejected", *reason)
        with clinic.database.transaction(ALPHA) as conn:
            events = store.study_events(conn, ALPHA, study_id)
        assert [(one["event"], one["duration_ms"]) for one in events] == [
            ("study_assembled", None),
            ("study_rejected", 12),
        ]

    def test_a_transition_outside_the_table_changes_nothing(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        study = clinic.study(make_instance())
        with pytest.raises(TransitionNotAllowed), clinic.database.transaction(ALPHA) as conn:
            store.advance(conn, study, StudyStatus.ENCODED)
        assert clinic.study(make_instance()).status == "receiving"
        assert clinic.rows("SELECT 1 FROM study_event") == []

    @pytest.mark.parametrize("status", ["rejected", "failed"])
    def test_no_study_ends_badly_without_a_reason(self, clinic: Clinic, status: str) -> None:
        """The database itself refuses it: never in silence."""
        clinic.receive(make_instance())
        with pytest.raises(psycopg.errors.CheckViolation):
            clinic.set_status(make_instance(), status)


class TestTenants:
    """Every query takes the tenant; row-level security stands behind it (invariant 7)."""

    def test_a_study_of_another_hospital_is_not_found(self, clinic: Clinic) -> None:
        study_id = add_study(clinic, "1.1", ALPHA, patient_name="DOE")
        with clinic.database.transaction(BETA) as conn:
            for find in (store.get_study, store.lock_study):
                with pytest.raises(StudyNotFound):
                    find(conn, BETA, study_id)
            assert list_studies(conn, BETA, Filter(), limit=50) == []
            assert count_by_view(conn, BETA)[1] == {}
        assert found(clinic, "DOE", BETA) == []

    def test_a_caller_that_names_the_other_tenant_sees_nothing_either(self, clinic: Clinic) -> None:
        study_id = add_study(clinic, "1.1", ALPHA)
        with clinic.database.transaction(BETA) as conn:
            with pytest.raises(StudyNotFound):
                store.get_study(conn, ALPHA, study_id)
            assert list_studies(conn, ALPHA, Filter(), limit=50) == []

    @pytest.mark.parametrize("tenant", [BETA, "", "nobody", None])
    def test_a_query_without_a_where_clause_shows_only_ones_own(
        self, clinic: Clinic, tenant: str | None
    ) -> None:
        fill(clinic)
        with clinic.database.system_transaction() as conn:
            if tenant is not None:
                conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (tenant,))
            for table in tenant_tables(clinic):
                seen = conn.execute(f"SELECT DISTINCT tenant FROM {table}").fetchall()
                assert {row["tenant"] for row in seen} <= {tenant}, table

    def test_the_tenant_of_one_transaction_is_forgotten_in_the_next(self, clinic: Clinic) -> None:
        """Connections are pooled: a tenant that stuck to one would show through."""
        fill(clinic)
        for _ in range(20):
            with clinic.database.transaction(ALPHA) as conn:
                assert len(conn.execute("SELECT 1 FROM study").fetchall()) == 1
            with clinic.database.system_transaction() as conn:
                assert conn.execute("SELECT 1 FROM study").fetchall() == []

    def test_rows_of_another_hospital_cannot_be_written_changed_or_deleted(self, clinic: Clinic) -> None:
        fill(clinic)
        with clinic.database.transaction(BETA) as conn:
            for statement in (
                "UPDATE study SET header = '{}' WHERE tenant = 'alpha'",
                "DELETE FROM study_event WHERE tenant = 'alpha'",
                "UPDATE study SET tenant = 'beta' WHERE tenant = 'alpha'",
            ):
                assert conn.execute(statement).rowcount == 0
        for statement in (
            "INSERT INTO peer (tenant, ae_title, host, port) VALUES ('alpha', 'EVIL', 'x', 1)",
            "UPDATE peer SET tenant = 'alpha', ae_title = 'EVIL'",
            "INSERT INTO study (tenant, study_instance_uid, ae_title) VALUES ('alpha', '9.9', 'EVIL')",
        ):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                clinic.database.transaction(BETA) as conn,
            ):
                conn.execute(statement)

    def test_the_role_of_the_processes_can_neither_bypass_nor_switch_it_off(self, clinic: Clinic) -> None:
        with clinic.database.transaction(BETA) as conn:
            role = conn.execute(
                "SELECT rolsuper, rolbypassrls, rolname FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
        assert role == {"rolsuper": False, "rolbypassrls": False, "rolname": "radmeter_app"}
        for statement in (
            "ALTER TABLE study DISABLE ROW LEVEL SECURITY",
            "DROP POLICY own_tenant ON study",
            "TRUNCATE study CASCADE",
            "UPDATE tenant SET case_key_secret = 'x'",
        ):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                clinic.database.transaction(BETA) as conn,
            ):
                conn.execute(statement)  # type: ignore[arg-type]  # a literal of this list

    def test_every_table_with_a_tenant_is_behind_a_forced_policy(self, clinic: Clinic) -> None:
        tables = clinic.rows("""
            SELECT c.oid::regclass::text AS name, c.relrowsecurity, c.relforcerowsecurity,
                   (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE a.attname = 'tenant' AND c.relkind IN ('r', 'p') AND NOT a.attisdropped""")
        assert len(tables) >= 20
        assert [
            one["name"]
            for one in tables
            if not (one["relrowsecurity"] and one["policies"])
            or (not one["relforcerowsecurity"] and one["name"] not in ASKED_BEFORE_THE_TENANT_IS_KNOWN)
        ] == []

    def test_every_table_of_ours_has_a_tenant(self, clinic: Clinic) -> None:
        without = clinic.rows("""
            SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('public', 'billing') AND c.relkind IN ('r', 'p')
              AND c.relname NOT LIKE 'procrastinate%%' AND c.relname NOT LIKE '%%yoyo%%'
              AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant')""")
        assert {one["name"] for one in without} <= {
            "billing.statement_counter",  # numbers run per seller
            "schema_phase",  # what migrations do to older code
            "node",  # processes that serve
            "audit_head",  # the end of one chain over all tenants
            "audit_sent",  # how far along that chain the syslog server is
            "maintenance_run",  # when scheduled runs last went well
        }

    def test_every_view_obeys_the_policies_of_who_looks(self, clinic: Clinic) -> None:
        views = clinic.rows("""
            SELECT c.oid::regclass::text AS name, c.reloptions FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('public', 'billing') AND c.relkind = 'v'""")
        assert [
            one["name"] for one in views if "security_invoker=true" not in (one["reloptions"] or [])
        ] == []

    def test_definer_functions_are_the_few_that_come_before_the_tenant_is_known(self, clinic: Clinic) -> None:
        functions = clinic.rows("""
            SELECT p.proname, p.proconfig FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1""")
        names = {one["proname"] for one in functions if n_is_ours(one)}
        assert names >= {"find_peer", "find_portal_user", "find_portal_session", "find_api_key"}
        for one in functions:
            # Without a fixed search path a caller could put a table of its own before ours.
            assert any(setting.startswith("search_path=") for setting in one["proconfig"] or []), one[
                "proname"
            ]


def n_is_ours(function: dict[str, Any]) -> bool:
    return not function["proname"].startswith("procrastinate")


def tenant_tables(clinic: Clinic) -> list[str]:
    return [
        row["name"]
        for row in clinic.rows("""
            SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE a.attname = 'tenant' AND c.relkind IN ('r', 'p')""")
    ]


def fill(clinic: Clinic) -> None:
    """A study with its rows in both hospitals."""
    for tenant in (ALPHA, BETA):
        clinic.receive(make_instance(), tenant)
        clinic.receive(make_instance(blake3="f" * 64), tenant)
        clinic.fall_silent()
        clinic.assemble(tenant)
        clinic.add_result_object(clinic.study(make_instance(), tenant), "2.25.1")
