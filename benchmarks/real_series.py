"""What the nodule model shows on the real CTs of ../shared/data, beside what is known of them.

    python benchmarks/real_series.py [--data ../shared/data] [--model lung_nodule_ct] [--json FILE]

These cases chose nothing: weights and operating point come from phantoms alone. They are too few to
say how well the model finds nodules; they say honestly what happens on them.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dicom_gateway.decode import decode_series
from dicom_gateway.decode_errors import DecodeError
from dicom_gateway.inspect import inspect_files
from inference.infer import run_model
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from models.errors import ModelError
from models.registry import get_model
from study.study import Instance, Series
from study.volume import Volume


@dataclass(frozen=True)
class Truth:
    """A known lesion: centre in LPS mm and diameter in mm."""

    label: str
    center_lps_mm: tuple[float, float, float]
    diameter_mm: float


def main() -> None:
    """Command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--model", default="lung_nodule_ct")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, endpoint = get_model(options.model), OnnxRuntimeEndpoint()
    records = []
    print(f"{model.manifest.name} {model.manifest.version}, threshold {model.manifest.operating_threshold}\n")
    print("| series | known lesion | result at the operating point | other findings |\n|---|---|---|---|")
    for name, load, truths_of in cases(options.data):
        record: dict[str, Any] = {"case": name}
        try:
            volume = load()
            record |= {
                "slices": volume.voxels.shape[0],
                "spacing_mm": [round(s, 3) for s in volume.spacing_mm],
            }
            started = time.perf_counter()
            result = run_model(model, volume, endpoint)
            record["seconds"] = round(time.perf_counter() - started, 2)
        except (ModelError, DecodeError) as error:
            record |= {"refused": error.code, "reason": str(error)}
        else:
            record |= judged(result.findings, truths_of(volume))
        records.append(record)
        print(row(record), flush=True)
    if options.json:
        options.json.write_text(json.dumps(records, indent=1) + "\n", "utf-8")


def row(record: dict[str, Any]) -> str:
    """One line of the table in the model card."""
    if "refused" in record:
        return f"| {record['case']} | – | refused: {record['refused']} | – |"
    lesions, results = [], []
    for hit in record["lesions"]:
        lesions.append(f"{hit['lesion']} {hit['diameter_mm']:.1f} mm")
        results.append(
            "missed"
            if hit["rank"] is None
            else f"finding {hit['rank']}, score {hit['score']:.2f}, {hit['distance_mm']:.1f} mm off, "
            f"mean diameter {hit['mean_diameter_mm']:.1f} mm"
        )
    others = ", ".join(f"{score:.2f}" for score in record["other_scores"])
    count = record["other_findings"]
    return (
        f"| {record['case']} | {'; '.join(lesions) or 'none known'} | {'; '.join(results) or '–'} "
        f"| {count}{f' ({others})' if others else ''} |"
    )


def judged(findings: Any, truths: list[Truth]) -> dict[str, Any]:
    """Which finding hits which lesion (centre within its radius), and what else is shown."""
    hits, used = [], set()
    for truth in truths:
        distances = [
            float(np.linalg.norm(np.subtract(f.center_lps_mm, truth.center_lps_mm))) for f in findings
        ]
        within = [i for i, distance in enumerate(distances) if distance <= truth.diameter_mm / 2]
        used.update(within)
        best = within[0] if within else None
        hits.append({
            "lesion": truth.label, "diameter_mm": truth.diameter_mm,
            "rank": None if best is None else best + 1,
            "score": None if best is None else round(findings[best].score, 3),
            "distance_mm": None if best is None else round(distances[best], 2),
            "mean_diameter_mm": None if best is None else round(findings[best].mean_diameter_mm, 1),
        })  # fmt: skip
    others = [round(f.score, 3) for i, f in enumerate(findings) if i not in used]
    return {"lesions": hits, "findings": len(findings), "other_findings": len(others), "other_scores": others}


def cases(
    data: Path,
) -> Iterator[tuple[str, Callable[[], Volume], Callable[[Volume], list[Truth]]]]:
    """Name, loader and truth of every case."""
    lidc = json.loads((data / "ct_chest_lidc0314_1mm/ground_truth.json").read_text())["nodules"][0]
    nodule = [Truth("nodule", tuple(lidc["center_lps_mm"]), lidc["diameter_mm"])]
    case = data / "ct_chest_lidc0314_1mm/dicom"
    yield "ct_chest_lidc0314_1mm", lambda: dicom(case), lambda _: nodule
    for thickness in (2.5, 5.0, 8.0):
        name = f"the same, slices averaged to {thickness:g} mm"
        yield name, partial(lambda mm: thicker(dicom(case), mm), thickness), lambda _: nodule
    lesions = json.loads((data / "ct_chest_4dlung_113/ground_truth.json").read_text())["lesions"]
    tumours = [
        Truth(x["label"], tuple(x["center_lps_mm"]), x["equivalent_sphere_diameter_mm"]) for x in lesions
    ]
    yield "ct_chest_4dlung_113", lambda: dicom(data / "ct_chest_4dlung_113/dicom"), lambda _: tumours
    boxes = json.loads((data / "ct_chest_lungdx_A0002/ground_truth.json").read_text())["boxes"]
    middle = np.mean([box["center_lps_mm"] for box in boxes], axis=0)
    width = max(max(b["box_px"][2] - b["box_px"][0], b["box_px"][3] - b["box_px"][1]) for b in boxes)

    def tumour(volume: Volume) -> list[Truth]:
        return [Truth("tumour", (middle[0], middle[1], middle[2]), round(width * volume.spacing_mm[1], 1))]

    yield "ct_chest_lungdx_A0002 (8 mm slices)", lambda: dicom(data / "ct_chest_lungdx_A0002/dicom"), tumour
    yield (
        "ct_negative_abdomen_siemens",
        lambda: dicom(data / "ct_negative_abdomen_siemens/dicom"),
        lambda _: [],
    )
    nifti_path = data / "nifti_sources/ts_pulmonary_ct_cropped.nii.gz"
    yield "ts_pulmonary_ct_cropped (no truth)", lambda: nifti(nifti_path), lambda _: []


def thicker(volume: Volume, thickness_mm: float) -> Volume:
    """The volume as a scan with contiguous slices of this thickness would show it."""
    affine = volume.affine_mm.copy()
    ratio = thickness_mm / volume.spacing_mm[0]
    count = int(volume.voxels.shape[0] / ratio)
    voxels = np.empty((count, *volume.voxels.shape[1:]), np.int16)
    for number in range(count):
        start, stop = number * ratio, (number + 1) * ratio
        used = np.arange(int(start), min(int(np.ceil(stop)), volume.voxels.shape[0]))
        share = np.minimum(used + 1, stop) - np.maximum(used, start)
        voxels[number] = np.rint(np.tensordot(share / share.sum(), volume.voxels[used], 1))
    # The middle of the first slab lies (ratio - 1) / 2 source slices above the first source slice.
    affine[:3, 3] += affine[:3, 0] * (ratio - 1) / 2
    affine[:3, 0] *= ratio
    uids = tuple(volume.slice_sop_instance_uids[int((n + 0.5) * ratio)] for n in range(count))
    return dataclasses.replace(
        volume, voxels=voxels, affine_mm=affine, slice_sop_instance_uids=uids, slice_frame_numbers=(1,) * count,
        slice_thickness_mm=thickness_mm,
    )  # fmt: skip


def dicom(folder: Path) -> Volume:
    """The largest series in a folder."""
    files = [(path.name, path) for path in sorted(folder.iterdir()) if is_part_10(path)]
    series = [one for found in inspect_files(files).studies for one in found.study.series]
    if series:
        largest = max(series, key=lambda one: len(one.instances))
    else:  # the abdomen case comes without Study and Series Instance UID
        slices = tuple(Instance(f"2.25.{n + 1}", "", "", name) for n, (name, _) in enumerate(files))
        largest = Series("2.25.1", "CT", slices)
    with tempfile.TemporaryDirectory() as scratch:
        volume = decode_series(largest, folder, Path(scratch))
        return dataclasses.replace(volume, voxels=np.array(volume.voxels))


def is_part_10(path: Path) -> bool:
    """Whether a file begins as DICOM Part 10 says; folders of the data hold other files too."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def nifti(path: Path) -> Volume:
    """A NIfTI-1 volume with an sform (RAS) as a Volume (LPS)."""
    raw = gzip.decompress(path.read_bytes())
    columns, rows, slices = struct.unpack_from("<3h", raw, 42)
    code = struct.unpack_from("<h", raw, 70)[0]
    offset, slope, intercept = struct.unpack_from("<3f", raw, 108)
    kind = {4: "<i2", 16: "<f4", 64: "<f8", 8: "<i4"}[code]
    values = np.frombuffer(raw, kind, columns * rows * slices, int(offset)).reshape(slices, rows, columns)
    sform = np.array(struct.unpack_from("<12f", raw, 280)).reshape(3, 4)
    lps = np.diag([-1.0, -1.0, 1.0]) @ sform
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = lps[:, [2, 1, 0]], lps[:, 3]
    voxels = (
        np.rint(values.astype(np.float64) * (slope or 1) + intercept).clip(-32768, 32767).astype(np.int16)
    )
    uids = tuple(f"2.25.{n + 1}" for n in range(slices))
    return Volume(voxels, affine, uids, (1,) * slices, "2.25.1", "2.25.1")


if __name__ == "__main__":
    main()
