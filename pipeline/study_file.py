"""What one step leaves for the next in the work folder: the inspected study, the findings with their segments."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from study.findings import Finding, Segment
from study.study import Instance, Patient, Series, Study


def write_durably(path: Path, content: bytes) -> None:
    """Write the file whole or not at all, and make it survive a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_study(folder: Path, study: Study) -> None:
    write_durably(folder / "study.json", json.dumps(asdict(study)).encode())


def load_study(folder: Path) -> Study:
    record = json.loads((folder / "study.json").read_text())
    record["patient"] = Patient(**record["patient"])
    record["series"] = tuple(_series(series) for series in record["series"])
    return Study(**record)


def _series(record: dict[str, Any]) -> Series:
    instances = tuple(
        Instance(**{key: _tuple(value) for key, value in one.items()}) for one in record.pop("instances")
    )
    return Series(**record, instances=instances)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def save_findings(folder: Path, product: str, findings: tuple[Finding, ...]) -> None:
    """Findings as JSON, their masks as one compressed archive."""
    arrays: dict[str, Any] = {}
    for finding in findings:
        if finding.segment is not None:
            arrays[f"mask_{finding.id}"] = finding.segment.mask
            arrays[f"origin_{finding.id}"] = np.array(finding.segment.origin)
    folder.mkdir(parents=True, exist_ok=True)
    masks = folder / f"{product}.masks.npz"
    with masks.open("wb") as file:
        np.savez_compressed(file, **arrays)
    write_durably(
        folder / f"{product}.findings.json", json.dumps([one.as_json() for one in findings]).encode()
    )


def load_findings(folder: Path, product: str) -> tuple[Finding, ...]:
    records = json.loads((folder / f"{product}.findings.json").read_text())
    with np.load(folder / f"{product}.masks.npz", allow_pickle=False) as arrays:
        return tuple(Finding.from_json(record, _segment(arrays, record["id"])) for record in records)


def _segment(arrays: Any, finding_id: int) -> Segment | None:
    if f"mask_{finding_id}" not in arrays:
        return None
    slice_index, row, column = (int(value) for value in arrays[f"origin_{finding_id}"])
    return Segment(arrays[f"mask_{finding_id}"], (slice_index, row, column))
