"""The watch over the models on a running server, from figures to a stop and on again.

A version that answers with NaN fails study after study until the rule pauses it; the next study is refused with the
reason; a person rolls the version back and resumes the model. Then a site whose scores, kernels and readers change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from billing.metering import meter
from billing.metering.usage import UsageEvent
from pipeline.database import Connection
from pipeline.health_tally import tally
from pipeline.queue import defer_health_round, deferring_app
from server.installation import FIRST_TENANT, owner_connection
from tests.acceptance.conftest import MakeStudy, command, send
from tests.acceptance.pacs import Pacs
from tests.model_packages import package_files, write_zip
from tests.onnx_builder import FLOAT, INT16, Graph, node, whole_numbers
from tests.server_process import RunningServer

MODEL, SITE = "lung_nodule_ct", "north"
BROKEN = "9.0.0"
FAILURES = 21
# Of the small chest's box the mean is -52 HU, of the noise that a new model is tried on -300.
NAN_ABOVE_HU = -200


def broken_graph() -> bytes:
    """The logarithm of how far the mean lies below a value: finite on noise, NaN on a chest."""
    nodes = [
        node("Cast", ["hounsfield"], ["float"], to=FLOAT),
        node("ReduceMean", ["float"], ["mean_hu"], keepdims=1),
        node("Cast", ["limit"], ["limit_hu"], to=FLOAT),
        node("Sub", ["limit_hu", "mean_hu"], ["below"]),
        node("Log", ["below"], ["mean"]),
    ]
    return Graph(
        [("hounsfield", INT16, [1, "z", "y", "x"])], [("mean", FLOAT, [1, 1, 1, 1])], nodes,
        [whole_numbers("limit", [NAN_ABOVE_HU])],
    ).to_bytes()  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    running = RunningServer.new(WORKER_CONCURRENCY="2", INFERENCE_THREADS="1")
    running.start()
    yield running
    running.remove()


@pytest.fixture(scope="module")
def pacs(server: RunningServer) -> Iterator[Pacs]:
    with Pacs.listening() as listening:
        server.add_peer("PACS", listening.port, quiet_time_s=0.5, site=SITE)
        yield listening


def look(server: RunningServer) -> None:
    """What the clock does once in an hour; returns when the worker has done it."""
    at = datetime.now(UTC)
    queue = deferring_app(server.database_url)
    try:
        with psycopg.connect(server.database_url) as conn:
            defer_health_round(queue, conn, at)
    finally:
        queue.close()
    waiting = (
        "SELECT 1 FROM procrastinate_jobs WHERE task_name = 'look_at_models' AND status IN ('todo', 'doing')"
    )
    server.wait(lambda: not server.rows(waiting), 60, "the models have been looked at")


def measured(server: RunningServer, line: str) -> None:
    """Figures of the database are asked for anew after some seconds."""
    server.wait(lambda: line in httpx.get(f"{server.url}/metrics").text, 60, f"/metrics has {line}")


def told(server: RunningServer, action: str) -> list[dict[str, Any]]:
    rows = server.rows("SELECT detail FROM audit_event WHERE action = %s ORDER BY sequence", action)
    return [row["detail"] for row in rows]


def logged(server: RunningServer, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log_path.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


@pytest.mark.peer
class TestModelWatch:
    """In this order, on one server."""

    def test_a_version_that_fails_on_patients_is_paused_once(
        self, server: RunningServer, pacs: Pacs, make_study: MakeStudy, tmp_path: Path
    ) -> None:
        good = make_study("before")
        send(server, good)
        assert server.wait_for_end(good.study_instance_uid)["status"] == "delivered"
        tables = {"outputs": {"mean": [1, 1, 1, 1]}}
        files = package_files(broken_graph(), tables, name=MODEL, version=BROKEN)
        command(server, "models", "add", write_zip(tmp_path / "broken.zip", files))
        command(server, "models", "activate", MODEL, BROKEN)
        studies = [make_study(f"failing-{number}") for number in range(FAILURES)]
        for study in studies:
            send(server, study)
        for study in studies:
            row = server.wait_for_end(study.study_instance_uid)
            assert (row["status"], row["reason_code"]) == ("failed", "INFERENCE_FAILED")
            assert "holds NaN or infinity" in row["reason_text"]
        for _ in range(2):
            look(server)
        (alarm,) = told(server, "model_alarm")
        assert (alarm["rule"], alarm["version"], alarm["site"]) == ("failure_rate", BROKEN, SITE)
        (pause,) = told(server, "model_paused")
        assert f"100% of {FAILURES} studies failed" in pause["reason"]
        assert [line["rule"] for line in logged(server, "model_alarm_raised")] == ["failure_rate"]
        assert [line["rule"] for line in logged(server, "model_paused")] == ["failure_rate"]
        labels = f'product="{MODEL}",site="{SITE}",tenant="{FIRST_TENANT}",version="{BROKEN}"'
        measured(server, f'radmeter_model_alarm{{of="failure_rate",{labels}}} 1.0')
        measured(server, f'radmeter_model_failed_share{{of="",{labels}}} 1.0')
        measured(server, f'radmeter_model_paused{{of="",product="{MODEL}",site="{SITE}"')

    def test_the_next_study_is_refused_with_the_reason_and_analysed_when_a_person_has_mended_it(
        self, server: RunningServer, pacs: Pacs, make_study: MakeStudy
    ) -> None:
        study = make_study("while-paused")
        send(server, study)
        row = server.wait_for_end(study.study_instance_uid)
        assert (row["status"], row["reason_code"]) == ("rejected", "MODEL_PAUSED")
        with server.signed_in() as client:
            for page in (f"/studies/{row['id']}", "/models/health"):
                assert f"100% of {FAILURES} studies failed" in client.get(page).text
            command(server, "models", "rollback", MODEL)
            values = {"product": MODEL, "site": SITE}
            assert client.post("/models/health/resume", data=values).status_code == 303
            again = server.wait_for_end(study.study_instance_uid)
            assert (again["status"], again["reason_code"]) == ("delivered", None)
            assert pacs.received[study.study_instance_uid]
            look(server)
            assert len(told(server, "model_paused")) == 1, "what had failed before does not stop it again"
            text = client.get("/audit").text
            for words in ("Model raised an alarm", "Model paused", "Model resumed"):
                assert words in text

    def test_other_scores_kernels_and_verdicts_are_told_once_each(self, server: RunningServer) -> None:
        changed_site(server)
        for _ in range(2):
            look(server)
        rules = sorted(detail["rule"] for detail in told(server, "model_alarm"))
        assert rules == ["failure_rate", "fairness:sex", "input_drift:kernel", "score_drift:score"]
        for rule in ("fairness:sex", "input_drift:kernel", "score_drift:score"):
            measured(server, f'radmeter_model_alarm{{of="{rule}",product="{MODEL}",site="{SITE}"')
        with server.signed_in() as client:
            text = client.get("/models/health", params=chosen(server)).text
            for words in ("the distribution of scores has changed", "in sex F", "what comes in (kernel)"):
                assert words in text
        assert "fairness:sex" in command(server, "models", "health", MODEL)
        assert command(server, "audit", "verify")


def chosen(server: RunningServer) -> dict[str, str]:
    (row,) = server.rows("SELECT DISTINCT model_version FROM result WHERE model_version <> %s", BROKEN)
    return {"product": MODEL, "version": row["model_version"], "site": SITE}


def changed_site(server: RunningServer) -> None:
    """Six weeks of copies of the study that was delivered, as the worker would have counted them day by day.

    In the last week they have another kernel and higher scores, and the readers reject what is said of men.
    """
    (good,) = server.rows(
        "SELECT id, route FROM study WHERE status = 'delivered' ORDER BY created_at LIMIT 1"
    )
    now = datetime.now(UTC)
    with owner_connection(server.database_url) as conn:
        for back in range(45, -1, -1):
            is_now = back < 7
            for number in range(10 if is_now else 8):
                at = now - timedelta(days=back, minutes=number)
                sex = "FM"[number % 2]
                kernel, score = ("B80s", 0.95) if is_now else ("B30f", 0.55)
                study = copy(conn, good["id"], at, sex, kernel, score if number % 3 == 0 else None)
                if is_now:
                    accepted = sex == "F" or number == 1
                    verdict(conn, study, at, "accepted" if accepted else "rejected")
            # The last eight days are counted anew by the round itself.
            tally(conn, FIRST_TENANT, (now - timedelta(days=back)).date())


def copy(conn: Connection, good: Any, at: datetime, sex: str, kernel: str, score: float | None) -> str:
    """The delivered study once more, at another time and of somebody else."""
    values = {"good": good, "at": at, "sex": json.dumps(sex), "kernel": json.dumps(kernel),
              "findings": json.dumps([] if score is None else [{"score": score}])}  # fmt: skip
    made = conn.execute(
        """INSERT INTO study (tenant, study_instance_uid, ae_title, status, header, route, created_at)
           SELECT tenant, '2.25.' || (random() * 1e15)::bigint, ae_title, status,
                  jsonb_set(header, '{patient_sex}', %(sex)s), route, %(at)s
           FROM study WHERE id = %(good)s RETURNING id""",
        values,
    ).fetchone()
    assert made is not None
    conn.execute(
        """INSERT INTO study_facts (tenant, study_id, facts)
           SELECT tenant, %(study)s, jsonb_set(facts, '{series,0,convolution_kernel}', %(kernel)s)
           FROM study_facts WHERE study_id = %(good)s""",
        values | {"study": made["id"]},
    )
    conn.execute(
        """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                               input_digest, findings, timing_s, created_at)
           SELECT tenant, %(study)s, revision, product, model_name, model_version, weights_sha256, input_digest,
                  %(findings)s, timing_s, %(at)s
           FROM result WHERE study_id = %(good)s""",
        values | {"study": made["id"]},
    )
    return str(made["id"])


def verdict(conn: Connection, study: str, at: datetime, said: str) -> None:
    """Its delivery, and what the site's own system says of it."""
    for kind, values in (("result_delivered", {}), ("outcome", {"verdict": said})):
        event = UsageEvent(
            FIRST_TENANT, "site", f"{study}:{kind}", kind, MODEL, Decimal(1), at, study, f"case-{study}",
            {"site": SITE, **values}, {"study": study, "revision": 1},
        )  # fmt: skip
        meter.record(conn, event)
