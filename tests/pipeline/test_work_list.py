"""The work list: what stands first and why, what it says of results, and that a page of it is a walk along an index."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from benchmarks.work_list_data import fill_work_list
from pipeline import work_list
from pipeline.critical_findings import CRITICAL_RULES, critical_codes
from pipeline.guidelines.of_findings import GuidelineRead
from pipeline.store import get_study
from pipeline.work_list import Filter, Place, View
from study.answer import Answer, Classification
from study.codes import Code
from tests.pipeline.conftest import ALPHA, BETA, Clinic

FINDING = {"label": "lung_nodule"}
POSITIVE, NEGATIVE = (
    {"label": "pneumothorax", "is_positive": True},
    {"label": "effusion", "is_positive": False},
)


def add_study(clinic: Clinic, uid: str, *, tenant: str = ALPHA, hours_ago: float = 0, **values: Any) -> str:
    columns = {"status": "delivered", "header": Jsonb({}), "priority": "normal"} | values
    moment = datetime.now(UTC) - timedelta(hours=hours_ago)
    names = ", ".join(columns)
    row = clinic.owner.execute(
        f"""INSERT INTO study (tenant, study_instance_uid, ae_title, created_at, updated_at, {names})
            VALUES (%s, %s, 'CT1', %s, %s, {", ".join(["%s"] * len(columns))}) RETURNING id""",
        (tenant, uid, moment, moment, *columns.values()),
    ).fetchone()
    assert row is not None
    return str(row["id"])


def add_result(
    clinic: Clinic,
    study_id: str,
    findings: list[Any],
    answer: dict[str, Any] | None = None,
    *,
    product: str = "lung",
    revision: int = 1,
    is_shadow: bool = False,
) -> None:
    clinic.owner.execute(
        """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                               input_digest, findings, answer, timing_s, is_shadow)
           SELECT tenant, id, %s, %s, 'm', '1', 'x', 'x', %s, %s, '{}', %s FROM study WHERE id = %s""",
        (revision, product, Jsonb(findings), Jsonb(answer or {}), is_shadow, study_id),
    )


def listed(clinic: Clinic, wanted: Filter = Filter(), tenant: str = ALPHA, limit: int = 50) -> list[Any]:  # noqa: B008
    with clinic.database.transaction(tenant) as conn:
        return work_list.list_studies(conn, tenant, wanted, limit=limit)


def uids(clinic: Clinic, wanted: Filter = Filter()) -> list[str]:  # noqa: B008
    return [row["study_instance_uid"] for row in listed(clinic, wanted)]


class TestOrder:
    def test_critical_then_emergency_then_overdue_then_the_newest(self, clinic: Clinic) -> None:
        add_study(clinic, "1.1", hours_ago=1)
        add_study(clinic, "1.2", hours_ago=2, status="inferred")
        add_study(clinic, "1.3", hours_ago=3, status="routed", priority="emergency")
        add_study(clinic, "1.4", hours_ago=4, critical=["pneumothorax"])
        add_study(clinic, "1.5", hours_ago=0)
        add_study(clinic, "1.6", hours_ago=1.5, status="routed", priority="off_peak")
        work_list.look_after(clinic.database, now=datetime.now(UTC))
        assert uids(clinic) == ["1.4", "1.3", "1.2", "1.5", "1.1", "1.6"]
        assert [row["urgency"] for row in listed(clinic)] == [3, 2, 1, 0, 0, 0]

    def test_what_is_reviewed_or_a_week_old_goes_back_to_its_day(self, clinic: Clinic) -> None:
        reviewed = add_study(clinic, "1.1", hours_ago=2, critical=["lung_mass"])
        add_study(clinic, "1.2", hours_ago=24 * 8, critical=["lung_mass"])
        add_study(clinic, "1.3", hours_ago=24 * 6, critical=["lung_mass"])
        add_study(clinic, "1.4")
        work_list.look_after(clinic.database, now=datetime.now(UTC))
        assert uids(clinic) == ["1.1", "1.3", "1.4", "1.2"]
        clinic.owner.execute("UPDATE study SET review_state = 'reviewed' WHERE id = %s", (reviewed,))
        assert uids(clinic) == ["1.3", "1.4", "1.1", "1.2"]
        assert uids(clinic, Filter(View.REVIEWED)) == ["1.1"]
        assert uids(clinic, Filter(View.CRITICAL)) == ["1.3"]

    def test_overdue_ends_when_the_study_moves_on(self, clinic: Clinic) -> None:
        study_id = add_study(clinic, "1.1", hours_ago=1, status="routed")
        work_list.look_after(clinic.database, now=datetime.now(UTC))
        assert listed(clinic)[0]["is_overdue"] is True
        clinic.owner.execute("UPDATE study SET status = 'decoded' WHERE id = %s", (study_id,))
        assert listed(clinic)[0]["is_overdue"] is False

    def test_pages_meet_whatever_the_order_and_no_study_is_shown_twice(self, clinic: Clinic) -> None:
        for number in range(23):
            add_study(clinic, f"1.{number}", hours_ago=number % 5, critical=["x"] if number % 4 == 0 else [])
        whole, pages, place = listed(clinic), [], None
        while True:
            with clinic.database.transaction(ALPHA) as conn:
                page = work_list.list_studies(conn, ALPHA, Filter(), limit=5, after=place)
            if not page:
                break
            pages += page
            place = Place(page[-1]["urgency"], page[-1]["created_at"], page[-1]["id"])
        assert [row["id"] for row in pages] == [row["id"] for row in whole]
        assert len({row["id"] for row in whole}) == 23


class TestWhatIsSaidOfResults:
    @pytest.mark.parametrize(
        ("results", "count", "has_measures"),
        [
            ([([FINDING, FINDING], {})], 2, False),
            ([([], {})], 0, False),
            ([([], {"classifications": [POSITIVE, NEGATIVE]})], 1, False),
            ([([], {"structures": [{"label": "lobe"}]})], None, True),
            ([([FINDING], {}), ([], {"structures": [{"label": "lobe"}]})], 1, True),
        ],
    )
    def test_findings_and_positive_statements_count_and_measuring_is_no_negative_result(
        self, clinic: Clinic, results: list[Any], count: int | None, has_measures: bool
    ) -> None:
        study_id = add_study(clinic, "1.1")
        for number, (findings, answer) in enumerate(results):
            add_result(clinic, study_id, findings, answer, product=f"p{number}")
        (row,) = listed(clinic)
        assert (row["finding_count"], row["has_measures"]) == (count, has_measures)

    def test_the_newest_revision_counts_and_a_shadow_never(self, clinic: Clinic) -> None:
        study_id = add_study(clinic, "1.1")
        add_result(clinic, study_id, [FINDING] * 3)
        add_result(clinic, study_id, [FINDING] * 9, product="trial", is_shadow=True)
        add_result(clinic, study_id, [FINDING], revision=2)
        assert listed(clinic)[0]["finding_count"] == 1

    def test_a_new_result_asks_for_a_new_review_and_keeps_what_other_models_found(
        self, clinic: Clinic
    ) -> None:
        study_id = add_study(clinic, "1.1", review_state="reviewed", urgency_lapsed=True)
        add_result(clinic, study_id, [FINDING], product="other")
        with clinic.database.transaction(ALPHA) as conn:
            study = get_study(conn, ALPHA, study_id)
            work_list.note_result(conn, study, "other", worst_category="4B", critical=["lung_rads_4b"])
        add_result(clinic, study_id, [], revision=2)
        (row,) = listed(clinic)
        assert row["critical"] == ["lung_rads_4b"]
        assert (row["worst_category"], row["review_state"], row["urgency"]) == ("4B", "not_reviewed", 3)

    def test_it_is_reviewed_when_the_review_of_each_result_is_finished(self, clinic: Clinic) -> None:
        study_id = add_study(clinic, "1.1")
        for product in ("lung", "chest"):
            add_result(clinic, study_id, [FINDING], product=product)
        add_result(clinic, study_id, [], {"structures": [{"label": "lobe"}]}, product="lobes")
        states = []
        for product, kind, review in (
            ("lung", "complete", None), ("lung", "finish", 1), ("chest", "finish", 1), ("lung", "complete", None),
        ):  # fmt: skip
            clinic.owner.execute(
                """INSERT INTO verdict (tenant, study_id, revision, product, kind, review, said_by, said_at)
                   VALUES (%s, %s, 1, %s, %s, %s, 'anna', now())""",
                (ALPHA, study_id, product, kind, review),
            )
            states.append(listed(clinic)[0]["review_state"])
        assert states == ["in_review", "in_review", "reviewed", "in_review"]

    def test_each_rule_of_what_is_critical_holds_for_its_own_case_alone(self) -> None:
        def read(title: str, worst: str | None) -> GuidelineRead:
            return GuidelineRead(title, "", worst, ())

        lung, chinese = "Lung-RADS v2022", "C-Lung-RADS"
        code = Code("1", "SCT", "x")
        air = Classification("pneumothorax", code, 0.5, 0.5, "1.2")
        no_air = Classification("pneumothorax", code, 0.49, 0.5, "1.2")
        assert critical_codes(Answer(classifications=(air,)), None) == ["pneumothorax"]
        assert critical_codes(Answer(classifications=(no_air,)), None) == []
        for title, worst, codes in (
            (lung, "4B", ["lung_rads_4b"]),
            (lung, "4X", ["lung_rads_4b"]),
            (lung, "4A", []),
            (lung, None, []),
            (chinese, "4", ["c_lung_rads_4"]),
            (chinese, "3", []),
            ("Fleischner 2017", "> 8 mm", []),
        ):
            assert critical_codes(Answer(), read(title, worst)) == codes, (title, worst)
        assert len({rule.code for rule in CRITICAL_RULES}) == len(CRITICAL_RULES)
        assert all("," not in rule.code and rule.source for rule in CRITICAL_RULES)


class TestVersion:
    def version(self, clinic: Clinic, tenant: str = ALPHA) -> str:
        with clinic.database.transaction(tenant) as conn:
            return work_list.version(conn, tenant)[0]

    def test_it_changes_with_what_the_list_shows_and_with_nothing_else(self, clinic: Clinic) -> None:
        seen = [self.version(clinic)]
        study_id = add_study(clinic, "1.1", status="receiving")
        seen.append(self.version(clinic))
        clinic.owner.execute(
            "INSERT INTO arrival (tenant, study_id, ae_title) VALUES (%s, %s, 'CT1')", (ALPHA, study_id)
        )
        seen.append(self.version(clinic))
        clinic.owner.execute("UPDATE arrival SET new_count = 5")
        seen.append(self.version(clinic))
        clinic.owner.execute("UPDATE arrival SET closed_at = now(), outcome = 'assembled'")
        seen.append(self.version(clinic))
        add_result(clinic, study_id, [FINDING])
        seen.append(self.version(clinic))
        assert len(set(seen)) == len(seen)
        add_study(clinic, "1.1", tenant=BETA)
        assert self.version(clinic) == seen[-1]

    def test_just_after_a_change_it_is_not_settled(self, clinic: Clinic) -> None:
        add_study(clinic, "1.1")
        with clinic.database.transaction(ALPHA) as conn:
            assert work_list.version(conn, ALPHA)[1] is False
        clinic.owner.execute("ALTER TABLE study DISABLE TRIGGER study_is_listed")
        clinic.owner.execute("UPDATE study SET changed_at = now() - interval '1 minute'")
        with clinic.database.transaction(ALPHA) as conn:
            assert work_list.version(conn, ALPHA)[1] is True


class TestAtLength:
    @pytest.fixture
    def plans(self, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        """The plans of all statements of the list, as the application's role gets them."""
        fill_work_list(clinic.owner, ALPHA, 20_000)
        found: list[str] = []
        execute = psycopg.Connection.execute

        def explained(conn: Any, query: Any, params: Any = None, **rest: Any) -> Any:
            if isinstance(query, str) and "FROM study" in query:
                plan = execute(conn, f"EXPLAIN (COSTS OFF) {query}", params).fetchall()
                found.append("\n".join(str(*line.values()) for line in plan))
            return execute(conn, query, params, **rest)

        monkeypatch.setattr(psycopg.Connection, "execute", explained)
        yield found
        monkeypatch.undo()

    def test_pages_counts_and_the_question_for_news_walk_along_indexes(
        self, clinic: Clinic, plans: list[str]
    ) -> None:
        first = listed(clinic)
        last = first[-1]
        place = Place(last["urgency"], last["created_at"], last["id"])
        with clinic.database.transaction(ALPHA) as conn:
            work_list.list_studies(conn, ALPHA, Filter(), limit=50, after=place)
            work_list.list_studies(conn, ALPHA, Filter(View.CRITICAL), limit=50)
            work_list.version(conn, ALPHA)
        for plan, index in zip(
            plans, ("study_listed", "study_listed", "study_listed", "study_changed"), strict=True
        ):
            assert f"using {index} on study" in plan, plan
            assert "Sort Key: s." not in plan, plan
            assert "Seq Scan on study" not in plan, plan

    def test_the_counts_are_those_of_the_rows_of_each_view(self, clinic: Clinic) -> None:
        fill_work_list(clinic.owner, ALPHA, 2_000)
        with clinic.database.transaction(ALPHA) as conn:
            views, statuses = work_list.count_by_view(conn, ALPHA)
            for view in View:
                assert len(work_list.list_studies(conn, ALPHA, Filter(view), limit=3_000)) == views[view], (
                    view
                )
        assert sum(statuses.values()) == views[View.ALL] == 2_000
        assert all(views[view] for view in View if view is not View.CRITICAL)

    def test_what_asks_a_person_is_a_problem_and_not_in_progress(self, clinic: Clinic) -> None:
        """Also late images of a delivered study; what only waits, or was answered, stays where it is."""
        verdicts = {
            "1.1": ("receiving", "ask", None),
            "1.2": ("delivered", "ask", None),
            "1.3": ("failed", "ask", None),
            "1.4": ("receiving", "wait", None),
            "1.5": ("receiving", "ask", "now()"),
        }
        for uid, (status, verdict, closed) in verdicts.items():
            reason = {"reason_code": "DECODE_FAILED"} if status == "failed" else {}
            study_id = add_study(clinic, uid, status=status, **reason)
            clinic.owner.execute(
                f"""INSERT INTO arrival (tenant, study_id, ae_title, decision, closed_at)
                    VALUES (%s, %s, 'CT1', %s, {closed or "NULL"})""",
                (ALPHA, study_id, Jsonb({"code": "ask_missing", "verdict": verdict, "values": {}})),
            )
        assert set(uids(clinic, Filter(View.PROBLEMS))) == {"1.1", "1.2", "1.3"}
        assert set(uids(clinic, Filter(View.IN_PROGRESS))) == {"1.4", "1.5"}
        with clinic.database.transaction(ALPHA) as conn:
            views, statuses = work_list.count_by_view(conn, ALPHA)
        assert (views[View.PROBLEMS], views[View.IN_PROGRESS], views[View.TO_READ]) == (3, 2, 1)
        assert statuses["receiving"] == 3
