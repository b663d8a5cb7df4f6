"""What machines that watch get, and what logs and metrics must not hold."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipeline import readiness
from portal.app import STATIC, create_app
from portal.rate_limit import FailureLimit
from tests.portal.portal_site import Site


class TestReadiness:
    def test_ready_names_each_check(self, site: Site) -> None:
        answer = site.client().get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["checks"] == {"database": "ok", "migrations": "ok", "data_folder": "ok"}

    def test_not_ready_says_what_is_wrong(self, site: Site, tmp_path: Path) -> None:
        context = dataclasses.replace(
            site.context,
            data_root=tmp_path / "absent",
            readiness_checks={"gateway": lambda: "it does not listen"},
        )
        answer = TestClient(create_app(context)).get("/readyz")
        assert answer.status_code == 503
        checks = answer.json()["checks"]
        assert checks["gateway"] == "it does not listen"
        assert "cannot be written" in checks["data_folder"]

    def test_what_models_run_on_is_shown_but_decides_nothing(self, site: Site) -> None:
        """Studies are received and read while an engine is away; a portal out of its balancer would stop both."""
        context = dataclasses.replace(site.context, notices={"inference": lambda: "triton does not answer"})
        answer = TestClient(create_app(context)).get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["checks"]["inference"] == "triton does not answer"

    def test_a_disk_that_takes_no_more_instances_is_not_ready(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(readiness, "FREE_BYTES_MIN", 1 << 60)
        answer = site.client().get("/readyz")
        assert answer.status_code == 503
        assert "MiB left" in answer.json()["checks"]["data_folder"]
        monkeypatch.undo()
        assert site.client().get("/readyz").status_code == 200

    def test_a_database_without_its_tables_is_not_ready(self, site: Site) -> None:
        site.owner.execute("DELETE FROM _yoyo_migration")
        assert "are missing" in site.client().get("/readyz").json()["checks"]["migrations"]

    def test_without_its_database_the_portal_lives_and_says_so(self, site: Site) -> None:
        site.database.close()
        client = site.client()
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.get("/metrics").status_code == 200
        page = client.get("/", cookies={"radmeter_session": "x"})
        assert (page.status_code, page.headers["retry-after"]) == (503, "5")
        assert "not ready" in page.text

    def test_a_mistake_of_ours_is_a_page_without_a_traceback(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = site.signed_in("alpha")
        broken = TestClient(
            client.app,
            base_url="http://portal.test",
            raise_server_exceptions=False,
            cookies=client.cookies,
            follow_redirects=False,
        )
        monkeypatch.setattr("portal.pages.worklist.work_list.list_studies", lambda *a, **k: 1 / 0)
        answer = broken.get("/")
        assert answer.status_code == 500
        assert "Something went wrong on our side." in answer.text
        assert "ZeroDivision" not in answer.text
        assert "content-security-policy" in answer.headers


class TestMetricsAndLogs:
    def test_studies_are_counted_by_status_over_all_tenants(self, site: Site) -> None:
        site.add_study("alpha")
        site.add_study("beta")
        site.add_study("beta", status="receiving", header={})
        text = site.client().get("/metrics").text
        assert 'radmeter_studies{status="delivered"} 2.0' in text
        assert 'radmeter_studies{status="receiving"} 1.0' in text
        assert 'radmeter_studies{status="failed"} 0.0' in text

    def test_neither_logs_nor_metrics_name_a_patient_or_a_study(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL, logger="httpx")  # the client of this test names what it asks for
        caplog.set_level(logging.DEBUG, logger="radmeter")
        header = {"patient_name": "CANARY^MARY", "patient_id": "CANARY-1", "accession_number": "CANARY-2"}
        study_id = site.add_study("alpha", header=header)
        client = site.signed_in("alpha")
        client.post("/search", data={"text": "CANARY"})
        assert "CANARY, MARY" in client.get("/?search=1").text
        client.get(f"/studies/{study_id}")
        client.get("/CANARY?name=CANARY")
        client.get("/studies/CANARY")
        kept = client.get("/metrics").text + "\n".join(repr(vars(record)) for record in caplog.records)
        assert "CANARY" not in kept
        assert study_id not in kept
        assert 'route="/studies/{study_id}"' in kept
        assert 'route="unmatched"' in kept
        assert any(record.getMessage() == "request_answered" for record in caplog.records)


class TestFailureLimit:
    def test_failures_are_forgotten_after_the_window_and_after_success(self) -> None:
        now = 0.0
        limit = FailureLimit(2, 60.0, clock=lambda: now)
        limit.failed("a")
        limit.failed("a")
        assert limit.wait_s("a") == 61
        assert limit.wait_s("b") == 0
        now = 60.0
        assert limit.wait_s("a") == 0
        limit.failed("a")
        limit.failed("a")
        limit.succeeded("a")
        assert limit.wait_s("a") == 0

    def test_memory_stays_bounded_whatever_names_are_tried(self) -> None:
        limit = FailureLimit(2, 60.0, keys_max=100)
        for number in range(1000):
            limit.failed(str(number))
        assert len(limit._failures) == 100


def test_the_vendored_script_is_the_one_its_readme_names() -> None:
    readme = (STATIC / "README.md").read_text("utf-8")
    assert hashlib.sha256((STATIC / "htmx.min.js").read_bytes()).hexdigest() in readme
    assert 'version:"2.0.11"' in (STATIC / "htmx.min.js").read_text("utf-8")
