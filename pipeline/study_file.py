"""What one step leaves for the next in the work folder: the inspected study, the answers with their masks."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from study.answer import Answer, Classification, Structure
from study.findings import Finding, Segment
from study.nodule import PriorRead
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


def save_answer(folder: Path, product: str, answer: Answer) -> None:
    """The answer as JSON; masks, bit by bit, and saliency maps as one compressed archive."""
    arrays: dict[str, Any] = {}
    for finding in answer.findings:
        if finding.segment is not None:
            _pack(arrays, f"finding_{finding.id}", finding.segment)
    for number, structure in enumerate(answer.structures):
        _pack(arrays, f"structure_{number}", structure.segment)
    for number, statement in enumerate(answer.classifications):
        if statement.saliency is not None:
            arrays[f"saliency_{number}"] = statement.saliency
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{product}.arrays.npz").open("wb") as file:
        np.savez_compressed(file, **arrays)
    record = answer.as_json() | {"findings": [one.as_json() for one in answer.findings]}
    write_durably(folder / f"{product}.answer.json", json.dumps(record).encode())


def load_answer(folder: Path, product: str) -> Answer:
    record = json.loads((folder / f"{product}.answer.json").read_text())
    with np.load(folder / f"{product}.arrays.npz", allow_pickle=False) as arrays:
        return Answer(
            tuple(
                Finding.from_json(one, _unpack(arrays, f"finding_{one['id']}")) for one in record["findings"]
            ),
            tuple(
                Classification.from_json(one, arrays.get(f"saliency_{number}"))
                for number, one in enumerate(record["classifications"])
            ),
            tuple(_structure(arrays, number, one) for number, one in enumerate(record["structures"])),
            tuple(record["notes"]),
            PriorRead.from_json(record["prior"]) if record.get("prior") else None,
        )


def _structure(arrays: Any, number: int, record: dict[str, Any]) -> Structure:
    segment = _unpack(arrays, f"structure_{number}")
    assert segment is not None  # `save_answer` writes one for each
    return Structure.from_json(record, segment)


def _pack(arrays: dict[str, Any], name: str, segment: Segment) -> None:
    arrays[f"{name}_mask"] = np.packbits(segment.mask)
    arrays[f"{name}_box"] = np.array([segment.origin, segment.mask.shape])


def _unpack(arrays: Any, name: str) -> Segment | None:
    if f"{name}_mask" not in arrays:
        return None
    origin, shape = (tuple(int(value) for value in row) for row in arrays[f"{name}_box"])
    mask = np.unpackbits(arrays[f"{name}_mask"], count=int(np.prod(shape))).reshape(shape).astype(np.bool_)
    return Segment(mask, (origin[0], origin[1], origin[2]))
