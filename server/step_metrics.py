"""What becomes of studies, jobs and deliveries, as metrics."""

from __future__ import annotations

import re

from pipeline.metered import Metered
from pipeline.services import Observer
from pipeline.store import StudyRecord
from server.metrics import Metrics

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,59}")
# Our own codes are some dozens; a model of a site may bring more, and a label's values have to stay few.
_CODES_MAX = 200
# Rules are named by people; what was renamed often stays until the process ends.
_RULES_MAX = 500


class StepMetrics(Observer):
    """Counts and measures what the steps come to."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._codes: set[str] = set()
        self._rules: set[str] = set()

    def step_ended(self, step: str, gives: str, duration_s: float) -> None:
        self._metrics.step_seconds.labels(step, gives).observe(duration_s)

    def routed(self, study: StudyRecord) -> None:
        for rule in {str(choice["rule"]) for choice in study.route if choice.get("rule")}:
            name = rule if rule in self._rules or len(self._rules) < _RULES_MAX else "OTHER"
            self._rules.add(name)
            self._metrics.rule_studies.labels(name).inc()

    def study_ended(self, study: StudyRecord, seconds: float | None) -> None:
        self._metrics.studies_ended.labels(study.status.value, self._code(study.reason_code)).inc()
        if seconds is not None:
            self._metrics.study_seconds.labels(study.priority, study.status.value).observe(max(0.0, seconds))

    def assembled(self, outcome: str, waited_s: float) -> None:
        self._metrics.assemble_wait_seconds.labels(outcome).observe(waited_s)

    def delivered(self, kind: str, state: str, duration_s: float) -> None:
        self._metrics.delivery_attempts.labels(kind, state).inc()
        self._metrics.delivery_seconds.labels(kind).observe(duration_s)

    def metered(self, decided: Metered) -> None:
        self._metrics.usage_events.labels(decided.kind, decided.outcome, decided.reason).inc()

    def job_disturbed(self, task: str, what: str) -> None:
        self._metrics.jobs_disturbed.labels(task, what).inc()

    def _code(self, code: str | None) -> str:
        if code is None:
            return ""
        if code not in self._codes and (len(self._codes) >= _CODES_MAX or not _CODE.fullmatch(code)):
            return "OTHER"
        self._codes.add(code)
        return code
