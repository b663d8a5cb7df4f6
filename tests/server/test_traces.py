"""Traces: off unless asked for, of few words, linked over attempts, and nobody's problem when the collector is away."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest

from pipeline.tracing import ATTRIBUTES, Place, root_id, step_id, trace_id, traceparent
from server.settings import Settings
from server.traces import OtlpTracing
from server.tracing_choice import collector as chosen
from tests.conftest import ROOT
from tests.otlp_collector import Collector, collector
from tests.ports import free_port

STUDY = uuid.UUID("0b6c3f0e-5d3a-4a51-9f0c-2f5a3c1d9e77")
PLACE = Place("alpha", STUDY, 1)


@pytest.fixture
def kept() -> Iterator[Collector]:
    with collector() as made:
        yield made


def traced(kept: Collector) -> tuple[OtlpTracing, Counter[str]]:
    counts: Counter[str] = Counter()
    return OtlpTracing("worker", kept.url, lambda what, count: counts.update({what: count})), counts


@pytest.mark.parametrize(
    ("setting", "environment", "url"),
    [
        ("", {}, None),
        ("http://c:4318", {}, "http://c:4318"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ""),
        ("off", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, None),
        ("http://c:4318", {"OTEL_SDK_DISABLED": "true"}, None),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_nothing_is_sent_unless_somebody_names_a_collector(
    setting: str, environment: dict[str, str], url: str | None
) -> None:
    assert chosen(Settings(traces=setting), environment) == url


def test_without_a_collector_no_process_loads_what_sends() -> None:
    program = (
        "import sys, os; os.environ.pop('OTEL_EXPORTER_OTLP_ENDPOINT', None)\n"
        "from server import gateway, processes, wiring\n"
        "from server.metrics import Metrics; from server.settings import Settings\n"
        "from server.tracing_choice import make_tracing\n"
        "tracing = make_tracing(Settings(), 'worker', Metrics())\n"
        "print(tracing.is_on, any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"


def test_another_attempt_is_linked_to_the_one_before_and_an_error_is_told_without_its_words(
    kept: Collector,
) -> None:
    tracing, counts = traced(kept)
    with pytest.raises(OSError, match="MARKER"), tracing.step(PLACE, "infer", 0):
        raise OSError("the file of Marker^Mary, MARKER")
    with tracing.step(PLACE, "infer", 1) as span:
        span.set(gives="inferred", patient="MARKER", uid="1.2.3")
        with tracing.part("model", model="lung_nodule_ct@1"):
            pass
    tracing.end(PLACE, 12.5, outcome="delivered")
    tracing.close()
    assert counts == {"ended": 4, "sent": 4}
    (first,) = [one for one in kept.spans if one.name == "infer" and not one.links]
    (second,) = [one for one in kept.spans if one.links]
    (model,) = [one for one in kept.spans if one.name == "model"]
    (root,) = [one for one in kept.spans if one.name == "study"]
    assert (first.is_error, first.attributes["radmeter.error"]) == (True, "OSError")
    assert second.links == (first.span,) == (f"{step_id(PLACE, 'infer', 0):016x}",)
    assert model.parent == second.span
    assert {first.parent, second.parent} == {root.span} == {f"{root_id(STUDY, 1):016x}"}
    assert (root.parent, round(root.seconds, 1)) == ("", 12.5)
    assert {one.trace for one in kept.spans} == {f"{trace_id(STUDY):032x}"}
    assert traceparent(STUDY) == f"00-{root.trace}-{root.span}-01"
    assert not any(b"MARKER" in body or b"1.2.3" in body for body in kept.raw)
    assert all(name.removeprefix("radmeter.") in ATTRIBUTES for one in kept.spans for name in one.attributes)


def test_a_part_of_nothing_is_no_trace_of_its_own(kept: Collector) -> None:
    tracing, _ = traced(kept)
    with tracing.part("meter"):
        pass
    tracing.close()
    assert kept.spans == []


def test_processes_agree_on_which_studies_are_sampled(
    kept: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    one, other = traced(kept)[0], traced(kept)[0]
    for number in range(200):
        place = Place("alpha", uuid.UUID(int=number), 1)
        one.note(place, "receive", 0.1)
        with other.step(place, "route", 0):
            pass
        other.end(place, 1.0)
    one.close()
    other.close()
    names: dict[str, set[str]] = {}
    for span in kept.spans:
        names.setdefault(span.trace, set()).add(span.name)
    assert 60 < len(names) < 140
    assert all(found == {"receive", "route", "study"} for found in names.values())


def test_a_collector_that_is_away_costs_its_spans_and_no_time() -> None:
    lost = threading.Event()
    counts: Counter[str] = Counter()

    def count(what: str, number: int) -> None:
        counts[what] += number
        if what == "lost":
            lost.set()

    tracing = OtlpTracing("worker", f"http://127.0.0.1:{free_port()}", count)
    began = time.monotonic()
    for _ in range(3000):
        tracing.note(PLACE, "receive", 0.1)
    assert time.monotonic() - began < 5
    began = time.monotonic()
    tracing.close()
    assert time.monotonic() - began < 4
    assert lost.wait(15)
    assert counts["ended"] == 3000
    assert counts["sent"] == 0
