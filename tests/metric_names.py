"""Every metric that the code defines, read from the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from portal import health, observed
from tests.conftest import ROOT

PACKAGES = (
    "server",
    "portal",
    "pipeline",
    "dicom_gateway",
    "inference",
    "billing",
    "models",
    "study",
    "storage",
)
_KINDS = {
    "Counter": "counter",
    "Gauge": "gauge",
    "Histogram": "histogram",
    "GaugeMetricFamily": "gauge",
    "CounterMetricFamily": "counter",
    "HistogramMetricFamily": "histogram",
}
PREFIX = "radmeter_"


@dataclass(frozen=True)
class Defined:
    """name: as Prometheus shows it; of a histogram without _bucket, _sum and _count."""

    name: str
    kind: str
    labels: tuple[str, ...]
    words: str

    @property
    def series(self) -> set[str]:
        """Names of what a query may ask for."""
        ends = ("_bucket", "_sum", "_count") if self.kind == "histogram" else ("",)
        return {self.name + end for end in ends}


def defined_metrics() -> dict[str, Defined]:
    """By name. Gauges that a table defines are taken from the table."""
    found = [
        metric for package in PACKAGES for path in (ROOT / package).rglob("*.py") for metric in _of_file(path)
    ]
    found += [
        Defined(PREFIX + name, "gauge", gauge.labels, gauge.words) for name, gauge in observed.GAUGES.items()
    ]
    found += [
        Defined(f"{PREFIX}model_{name}", "gauge", health.ModelFigures.LABELS, words)
        for name, words in health.ModelFigures.WORDS.items()
    ]
    return {metric.name: metric for metric in found}


def _of_file(path: Path) -> Iterator[Defined]:
    text = path.read_text(encoding="utf-8")
    if not any(f"{kind}(" in text for kind in _KINDS):  # each process that collects tests reads them all
        return
    tree = ast.parse(text)
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    words = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        kind = _KINDS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        name = _text(node.args[0], constants)
        if kind is None or name is None or not name.startswith(PREFIX):
            continue
        if kind == "counter" and not name.endswith("_total"):
            name += "_total"
        sentence = _text(node.args[1], words) if len(node.args) > 1 else None
        yield Defined(name, kind, _labels(node), sentence or "")


def _text(node: ast.expr, constants: dict[str, object]) -> str | None:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name) and node.id in constants:
        return str(constants[node.id])
    return None


def _labels(node: ast.Call) -> tuple[str, ...]:
    given = [keyword.value for keyword in node.keywords if keyword.arg in ("labels", "labelnames")]
    given += node.args[2:3]
    for one in given:
        if isinstance(one, ast.List | ast.Tuple):
            return tuple(str(item.value) for item in one.elts if isinstance(item, ast.Constant))
    return ()
