"""A real chest CT in the store of a listening portal with our results of it, and the viewer that shows it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_gateway.decode import decode_series
from dicom_gateway.inspect import inspect_study
from pipeline.result_set import make_result_set
from server.errors import CommandFailed
from server.viewer_install import PACKAGE, fetch_package, npm_command
from study.answer import Answer
from tests.conftest import missing
from tests.portal.live_portal import LivePortal
from tests.portal.portal_site import Site
from tests.report_builders import manifest
from tests.result_builders import CREATED_AT, ball

# LIDC-IDRI-0314: its nodule, and slices around it.
NODULE_LPS_MM, NODULE_DIAMETER_MM = (-57.44, 131.23, -520.36), 15.5
_AROUND_MM = 20.0


def viewer_package(cache: Path) -> Path:
    """The package of the viewer, fetched once. Without npm there is nothing to test with."""
    kept = cache / "ohif.tgz"
    if kept.is_file():
        return kept
    if npm_command() is None:
        pytest.skip("npm is not there to fetch the image viewer (make test does not install it)")
    cache.mkdir(parents=True, exist_ok=True)
    try:
        fetch_package(cache).rename(kept)
    except CommandFailed as error:
        missing(f"{PACKAGE} cannot be fetched: {error}", "RADMETER_REQUIRE_PEERS")
    return kept


@dataclass(frozen=True)
class ViewerCase:
    """UIDs. study, series: of the images. sop: of the slice through the nodule. results: kind → its series."""

    study: str
    series: str
    sop: str
    results: dict[str, str]


def slices_around_the_nodule(folder: Path) -> list[Path]:
    """Of the real case, for a viewer loads them all."""
    return [
        path
        for path in sorted(folder.glob("*.dcm"))
        if abs(_height_mm(path) - NODULE_LPS_MM[2]) <= _AROUND_MM
    ]


def store_case(
    portal: LivePortal,
    paths: list[Path],
    work: Path,
    center_lps_mm: tuple[float, float, float] = NODULE_LPS_MM,
    diameter_mm: float = NODULE_DIAMETER_MM,
) -> ViewerCase:
    """Store one series by STOW-RS and put the results of one finding beside it as the encode step does."""
    answer = portal.stow([path.read_bytes() for path in paths])
    assert answer.status_code == 200, answer.text
    folder = paths[0].parent
    study = inspect_study([(path.name, path) for path in paths]).study
    (series,) = study.series
    volume = decode_series(series, folder, work)
    finding = ball(volume, np.asarray(center_lps_mm), diameter_mm)
    results = make_result_set(
        study,
        volume,
        Answer((finding,)),
        manifest(),
        study_id="study-1",
        uid_seed=study.study_instance_uid,
        revision=1,
        created_at=CREATED_AT,
        instances_root=folder,
        language="en",
    )
    for one in results.objects:
        add_result(portal.site, study.study_instance_uid, one.kind, one.sop_instance_uid, one.content)
    found = {
        one.kind: str(pydicom.dcmread(io.BytesIO(one.content)).SeriesInstanceUID) for one in results.objects
    }
    index = volume.to_index(np.asarray(center_lps_mm))
    sop = volume.slice_sop_instance_uids[round(float(index[0]))]
    return ViewerCase(study.study_instance_uid, series.series_instance_uid, sop, found)


def _height_mm(path: Path) -> float:
    return float(pydicom.dcmread(path, specific_tags=["ImagePositionPatient"]).ImagePositionPatient[2])


def add_result(site: Site, study_uid: str, kind: str, sop_uid: str, content: bytes) -> None:
    name = f"{sop_uid}.dcm"
    site.context.results_root.mkdir(parents=True, exist_ok=True)
    (site.context.results_root / name).write_bytes(content)
    site.owner.execute(
        """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind, location, sha256,
                                      size_bytes)
           SELECT tenant, %s, id, 1, 'lung_nodule_ct', %s, %s, %s, %s FROM study WHERE study_instance_uid = %s""",
        (sop_uid, kind, name, hashlib.sha256(content).hexdigest(), len(content), study_uid),
    )
