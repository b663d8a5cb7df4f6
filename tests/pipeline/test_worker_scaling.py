"""What the chart has KEDA ask of the queue, asked of the real queue by a role that may see nothing else."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import psycopg
import pytest

from pipeline.queue import QUEUE, defer_delivery, defer_health_round
from pipeline.status import StudyStatus
from tests.helm_chart import CHART, of_kind, rendered, values_of
from tests.pipeline.conftest import ALPHA, Clinic, make_instance

Ask = Callable[[], dict[str, int]]


def triggers() -> list[dict[str, Any]]:
    scaled = of_kind(rendered(values_of("region")), "ScaledObject")["radmeter-worker"]
    return list(scaled["spec"]["triggers"])


@pytest.fixture
def ask(clinic: Clinic, migrated_url: str) -> Iterator[Ask]:
    """Asks every query of the rendered chart, as the role that docs/kubernetes.md has an operator make for KEDA."""
    page = (CHART.parents[1] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    made = re.search(r"(?m)(?:^    (?:CREATE ROLE|GRANT) .*\n)+", page)
    assert made is not None
    role = f"keda_{uuid.uuid4().hex[:12]}"
    clinic.owner.execute(re.sub(r" PASSWORD '[^']*'", "", made[0]).replace("radmeter_keda", role))  # type: ignore[arg-type]
    with psycopg.connect(migrated_url, user=role, autocommit=True) as keda:
        yield lambda: {
            trigger["name"]: keda.execute(trigger["metadata"]["query"]).fetchone()[0]  # type: ignore[index]
            for trigger in triggers()
        }
        for statement in (
            "SELECT * FROM study",
            "SELECT args FROM procrastinate_jobs",
            "DELETE FROM procrastinate_jobs",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                keda.execute(statement)  # type: ignore[call-overload]
    clinic.owner.execute(f"DROP OWNED BY {role}")
    clinic.owner.execute(f"DROP ROLE {role}")


def receive_studies(clinic: Clinic, count: int) -> list[Any]:
    """Studies that are assembled: the next step of each waits in the queue."""
    received = [make_instance(study=f"1.2.3.{number}") for number in range(count)]
    for one in received:
        clinic.receive(one)
    clinic.fall_silent()
    clinic.assemble()
    clinic.owner.execute("DELETE FROM procrastinate_jobs WHERE task_name = 'assemble'")  # they have just run
    return [clinic.study(one) for one in received]


def put(clinic: Clinic, study: Any, **changes: Any) -> None:
    """The step that decodes the routed study, as the route left it."""
    with clinic.database.transaction(ALPHA) as conn:
        clinic.services.defer_step(conn, dataclasses.replace(study, status=StudyStatus.ROUTED, **changes))


def take(clinic: Clinic) -> None:
    """A worker takes the next step."""
    worker = clinic.rows("SELECT worker_id FROM procrastinate_register_worker_v1()")[0]["worker_id"]
    taken = clinic.rows("SELECT status FROM procrastinate_fetch_job_v2(%s, %s)", [QUEUE], worker)
    assert taken[0]["status"] == "doing"


def wait(clinic: Clinic, seconds: float, which: str = "true") -> None:
    """So much time passes for the jobs that wait."""
    clinic.owner.execute(
        f"""UPDATE procrastinate_events SET at = at - make_interval(secs => %s)
            WHERE job_id IN (SELECT id FROM procrastinate_jobs WHERE {which})""",
        (seconds,),
    )


def test_an_empty_queue_needs_nobody(clinic: Clinic, ask: Ask) -> None:
    assert set(ask().values()) == {0}


def test_steps_that_wait_and_steps_under_way_are_counted_and_nothing_else(clinic: Clinic, ask: Ask) -> None:
    studies = receive_studies(clinic, 3)
    assert ask()["steps"] == 3
    take(clinic)
    assert ask()["steps"] == 3, "a step under way keeps its worker"
    clinic.owner.execute("DELETE FROM procrastinate_jobs WHERE status = 'doing'")
    assert ask()["steps"] == 2
    # A delivery and a question to an archive have places of their own; what may run tonight needs nobody now.
    defer_delivery(clinic.queue, clinic.owner, studies[0], "PACS", 0)
    defer_health_round(clinic.queue, clinic.owner, datetime.now(UTC))
    opens = datetime.now(UTC) + timedelta(hours=3)
    window = {
        "begins": f"{opens:%H:%M}",
        "ends": f"{opens + timedelta(hours=1):%H:%M}",
        "days": list(range(7)),
    }
    put(clinic, studies[0], priority="off_peak", run_window=window | {"time_zone": "UTC"})
    assert ask()["steps"] == 2


def test_an_emergency_that_waits_asks_for_a_place_beside_those_that_are_taken(
    clinic: Clinic, ask: Ask
) -> None:
    studies = receive_studies(clinic, 4)
    clinic.owner.execute("DELETE FROM procrastinate_jobs")
    for study in studies[:3]:
        put(clinic, study)
    take(clinic)
    take(clinic)
    assert ask()["urgent-steps"] == 0, "a backlog of normal studies is no emergency"
    put(clinic, studies[3], priority="emergency")
    assert ask()["urgent-steps"] == 3, (
        "two that are taken, one that waits; the normal one that waits is not meant"
    )
    assert ask()["steps"] == 4
    take(clinic)
    assert ask()["urgent-steps"] == 0, "it was taken first, and none waits any longer"


def test_the_oldest_is_as_old_as_it_could_have_run(clinic: Clinic, ask: Ask) -> None:
    studies = receive_studies(clinic, 2)
    clinic.owner.execute("DELETE FROM procrastinate_jobs")
    put(clinic, studies[0])
    wait(clinic, 1000)
    put(clinic, studies[1], priority="emergency")
    wait(clinic, 40, "priority = 10")
    assert_ages(ask(), oldest=1000, urgent=40)
    take(clinic)
    assert_ages(ask(), oldest=1000, urgent=0)  # the emergency is under way
    take(clinic)
    assert_ages(ask(), oldest=0, urgent=0)
    # Put back after a fault, for a minute from now: the time under way was no waiting, nor is the pause.
    job = clinic.rows("SELECT id FROM procrastinate_jobs WHERE priority = 0")[0]["id"]
    clinic.owner.execute(
        "SELECT procrastinate_retry_job_v2(%s, now() + interval '1 minute', NULL, NULL, NULL)", (job,)
    )
    assert_ages(ask(), oldest=0, urgent=0)
    clinic.owner.execute(
        "UPDATE procrastinate_jobs SET scheduled_at = now() - interval '7 s' WHERE id = %s", (job,)
    )
    wait(clinic, 67, f"id = {int(job)}")
    assert_ages(ask(), oldest=7, urgent=0)


def test_a_study_that_is_not_routed_may_be_an_emergency(clinic: Clinic, ask: Ask) -> None:
    receive_studies(clinic, 1)
    wait(clinic, 25)
    assert_ages(ask(), oldest=25, urgent=25)
    assert ask()["urgent-steps"] == 0, "routing takes a moment: it needs no more workers, unless it waits"


def assert_ages(answers: dict[str, int], *, oldest: int, urgent: int) -> None:
    """Seconds, and what this test itself has taken since."""
    assert oldest <= answers["oldest-step-s"] <= oldest + 15 * (oldest > 0)
    assert urgent <= answers["oldest-urgent-step-s"] <= urgent + 15 * (urgent > 0)


def test_the_workers_that_follow_from_it_are_as_many_as_the_values_say(clinic: Clinic, ask: Ask) -> None:
    """KEDA hands the answers to Kubernetes, which divides by the target and rounds up."""
    receive_studies(clinic, 17)
    target = {trigger["name"]: int(trigger["metadata"]["targetQueryValue"]) for trigger in triggers()}
    assert target == {"steps": 8, "urgent-steps": 8, "oldest-step-s": 300, "oldest-urgent-step-s": 15}
    assert ceil(ask()["steps"] / target["steps"]) == 3
