"""`make conformance`: outside validators and our own gate over every kind of object of every model, as a table.

The results are those of `test_encode_conformance.py`: findings, statements and structures of known shape on the real
series of the shared data, encoded as for delivery. Writes the table into docs/conformance.md; exits with 1 where
something has an error.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom.dataset import Dataset

from dicom_gateway.result_context import NOT_REVIEWED, ResultContext
from pipeline.check_results import RULES_VERSION, check_result_set
from pipeline.refusal_objects import NOT_ANALYSED, refusal_datasets
from pipeline.result_set import RESULT_KINDS, as_object, encode_result
from tests.conftest import ROOT, SHARED
from tests.dicom_gateway.test_encode_conformance import of_radiographs, of_series
from tests.dicom_validators import errors_in, inconsistencies, output_of, report_errors

PAGE = ROOT / "docs" / "conformance.md"
_BEGIN, _END = "<!-- make conformance: begin -->\n", "<!-- make conformance: end -->\n"
_REPORTS = ("SR", "SR2D", "TEXT")
_DOCUMENTS = (*_REPORTS, "KEYS", "KOS")
_PACKAGES = ("dicom3tools", "dcmtk", "libpixelmed-java")
_PDF = b"%PDF-1.7"


@dataclass
class Tally:
    """What was found in the objects of one kind of one result."""

    objects: int = 0
    bytes: int = 0
    dciodvfy: list[str] = field(default_factory=list)
    warnings: int = 0
    dsrdump: list[str] = field(default_factory=list)
    pixelmed: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        return [*self.dciodvfy, *self.dsrdump, *self.pixelmed]


@dataclass(frozen=True)
class Set:
    """One result on one real source."""

    name: str
    sources: tuple[Path, ...]
    context: ResultContext
    objects: list[tuple[str, Dataset]]
    notice: str = NOT_REVIEWED


def sets(data: Path) -> Iterator[Set]:
    """Every model's results, and the refusal of one study."""
    for sources, name, context in [*of_series(data), *of_radiographs(data)]:
        objects = list(encode_result(replace(context, kinds=RESULT_KINDS), _PDF))
        yield Set(f"{context.model_name}: {name}", sources, context, objects)
    refused = replace(context, image=None, findings=(), classifications=())
    reason = ("NOT_A_CHEST_RADIOGRAPH", "The picture does not look like a frontal chest radiograph.")
    made = refusal_datasets(refused, _PDF, [context.model_name], reason)
    yield Set(f"{context.model_name}: refused", sources, refused, list(made.items()), NOT_ANALYSED)


def examine(
    data: Path, folder: Path
) -> tuple[dict[tuple[str, str], Tally], list[tuple[str, ...]], list[str]]:
    """(by result and kind, rows of the sets, errors)."""
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    rows, errors, reports = [], [], {}
    for number, one in enumerate(sets(data)):
        paths = []
        for kind, dataset in one.objects:
            path = folder / f"{number}.{kind.lower()}.{dataset.InstanceNumber}"
            dataset.save_as(path, enforce_file_format=True)
            paths.append(path)
            tally = tallies[one.name, kind]
            _examine_object(kind, path, tally)
            if kind in _REPORTS and not one.context.predecessors:
                is_measured = one.notice == NOT_REVIEWED and kind != "TEXT"
                reports[path] = (tally, "TID_1500" if is_measured else "TID_2000")
        files = [as_object(kind, dataset) for kind, dataset in one.objects]
        started = time.process_time()
        verdict = check_result_set(
            files,
            one.context.source_headers,
            model_name=one.context.model_name,
            model_version=one.context.model_version,
            image=one.context.image,
            predecessors=one.context.predecessors,
            notice=one.notice,
        )
        took_ms = round((time.process_time() - started) * 1000)
        between = _between(one, paths)
        errors += [f"{one.name}: {each}" for each in (*verdict.problems, *between)]
        size = sum(path.stat().st_size for path in paths)
        source = f"{one.sources[0].parent.parent.name if len(one.sources) > 1 else one.sources[0].name}"
        rows.append(
            (one.name, source, str(len(one.sources)), str(len(paths)), f"{size / 1e6:.1f}",
             str(len(between)), str(len(verdict.problems)), str(took_ms))
        )  # fmt: skip
    for root in ("TID_1500", "TID_2000"):
        chosen = [path for path, (_, wanted) in reports.items() if wanted == root]
        for line in report_errors(chosen, root):
            path = next(path for path in chosen if line.startswith(f"{path.name}:"))
            reports[path][0].pixelmed.append(line)
    errors += [f"{name} {kind}: {each}" for (name, kind), tally in tallies.items() for each in tally.errors]
    return dict(tallies), rows, errors


def _examine_object(kind: str, path: Path, tally: Tally) -> None:
    output = output_of("dciodvfy", path)
    tally.objects += 1
    tally.bytes += path.stat().st_size
    tally.dciodvfy += errors_in(output)
    tally.warnings += sum(line.startswith("Warning") for line in output.splitlines())
    if kind in _DOCUMENTS:
        tally.dsrdump += re.findall(r"(?m)^[EF]: .*$", output_of("dsrdump", path))


def _between(one: Set, paths: list[Path]) -> list[str]:
    """What dcentvfy has against results beside their source; a source that lacks attributes is not our doing."""
    lacks = "Attribute present in one instance but not the other"
    found = inconsistencies(*one.sources, *paths)
    return [line for line in found if lacks not in line or len(one.sources) > 1]


def page_of(tallies: dict[tuple[str, str], Tally], rows: list[tuple[str, ...]]) -> str:
    versions = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}; ", *_PACKAGES],
        capture_output=True, text=True, check=False,
    ).stdout.rstrip("; ")  # fmt: skip
    count = sum(tally.objects for tally in tallies.values())
    lines = [
        f"{count} objects in {len(rows)} sets. {versions}; our rules, version {RULES_VERSION}.",
        "",
        "| result | kind | objects | kB | dciodvfy errors | dciodvfy warnings | PixelMed errors | dsrdump errors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, kind), tally in tallies.items():
        is_validated = kind in _REPORTS and "superseding" not in name
        pixelmed = str(len(tally.pixelmed)) if is_validated else "–"
        dsrdump = str(len(tally.dsrdump)) if kind in _DOCUMENTS else "–"
        lines.append(
            f"| {name} | {kind} | {tally.objects} | {tally.bytes / 1e3:.0f} | {len(tally.dciodvfy)} "
            f"| {tally.warnings} | {pixelmed} | {dsrdump} |"
        )
    lines += [
        "",
        "| result | source | source images | objects | MB | dcentvfy | our gate: problems | our gate: CPU ms |",
        "|---|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE)
    page: Path = parser.parse_args().page
    if not (SHARED / "data" / "MANIFEST.tsv").is_file():
        sys.stderr.write("there is no shared test data beside the project\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="radmeter-conformance-") as folder:
        tallies, rows, errors = examine(SHARED / "data", Path(folder))
    table = page_of(tallies, rows)
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    page.write_text(before + _BEGIN + "\n" + table + "\n" + _END + rest.partition(_END)[2], encoding="utf-8")
    sys.stdout.write(table)
    sys.stderr.writelines(f"{error}\n" for error in errors)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
