"""What `radmeter analyze` prints: the result at a glance; all of it is in result.json and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_AFTER_THE_FINDINGS = ("compare", "encode", "total")
_UNREVIEWED = "AI result, not reviewed by a person."


def show_summary(record: Mapping[str, Any], out: Path, clearance: str, console: Console) -> None:
    """record: what `analyze` wrote as result.json. clearance: the model's own sentence on where it may be used."""
    seconds = record["timing_s"]
    model = record["model"]
    engines = ", ".join(" ".join(engine.values()) for engine in record["engines"])
    found_s = sum(value for step, value in seconds.items() if step not in _AFTER_THE_FINDINGS)
    console.print(
        f"{model['name']} {model['version']}, {engines}: {found_s:.1f} s to the findings, "
        f"{seconds['total']:.1f} s with all objects",
        highlight=False,
    )
    for table in (
        _findings(record["findings"]),
        _statements(record["classifications"]),
        _structures(record["structures"]),
    ):
        if table is not None:
            console.print(table)
    if not any(record[part] for part in ("findings", "classifications", "structures")):
        console.print("The model marked nothing in this study.")
    for note in record["notes"]:
        console.print(f"Note: {note}", highlight=False, markup=False)
    console.print(f"Written to {out}: {_written(out)}", highlight=False, markup=False)
    console.print(f"{_UNREVIEWED} {clearance}", style="bold", highlight=False, markup=False)


def _findings(findings: Sequence[Mapping[str, Any]]) -> Table | None:
    headings = ("no.", "score", "mean", "long × short", "volume", "kind", "lobe", "centre")
    rows = [
        (
            str(one["id"]),
            f"{one['score']:.2f}",
            f"{one['mean_diameter_mm']:.1f}",
            f"{one['long_axis_mm']:.1f} × {one['short_axis_mm']:.1f}",
            f"{one['volume_mm3']:,.0f}",
            *((one["nodule"] or {}).get(what) or "–" for what in ("kind", "lobe")),
            ", ".join(f"{value:.0f}" for value in one["center_lps_mm"]),
        )
        for one in findings
    ]
    return _table("Findings (mm, mm³; centre in patient LPS)", headings, rows)


def _statements(statements: Sequence[Mapping[str, Any]]) -> Table | None:
    rows = [
        (
            one["label"].replace("_", " "),
            f"{one['probability']:.2f}",
            f"{one['threshold']:.2f}",
            "present" if one["is_positive"] else "–",
        )
        for one in statements
    ]
    return _table("Statements about the image", ("what", "probability", "threshold", "stated"), rows)


def _structures(structures: Sequence[Mapping[str, Any]]) -> Table | None:
    rows = [(one["label"], f"{one['volume_ml']:,.0f}", f"{one['mean_hu']:.0f}") for one in structures]
    return _table("Structures", ("what", "volume ml", "mean HU"), rows)


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table | None:
    if not rows:
        return None
    table = Table(*headings, title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table


def _written(out: Path) -> str:
    kinds = sorted({path.name.split(".")[-2].split("-")[0].upper() for path in out.glob("*.dcm")})
    pictures = sum(1 for _ in out.glob("*.png"))
    return f"result.json, report.pdf, {pictures} pictures, DICOM {', '.join(kinds)}"
