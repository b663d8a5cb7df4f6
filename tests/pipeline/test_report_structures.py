"""The report of a model that outlines structures: a table, pictures, and no word of disease."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from models.lung_ct_segmentation.lobes import LOBES, NAMES
from models.registry import get_model
from pipeline.report_text import ZH
from pipeline.report_view import ReportState, ReportView
from pipeline.structure_images import render_structures
from study.answer import Structure
from study.findings import Segment
from study.volume import Volume
from tests.pipeline.test_report import html_of, text_of
from tests.report_builders import lung_volume, report

CHANGES: tuple[tuple[float, ...], ...] = ((1, 1, 1), (1, -1, -1), (-1, 1, 1))


def lobes(volume: Volume) -> tuple[Structure, ...]:
    """Blocks at the right and at the left, the upper ones above the lower ones, on a supine series."""
    slices, rows, columns = volume.voxels.shape
    found = []
    for label, name in NAMES.items():
        side, lower = (0 if label < 4 else columns // 2), label in (3, 5)
        origin = (1 if lower else slices // 2, rows // 4 + (4 if label == 2 else 20), side + 8)
        mask = np.ones((slices // 2 - 1, 16, columns // 2 - 16), np.bool_)
        millilitres = mask.sum() * float(np.prod(volume.spacing_mm)) / 1000
        found.append(
            Structure(name, LOBES[label], Segment(mask, origin), millilitres, -850.4, f"2.25.{label}", 0.123)
        )
    return tuple(found)


def measured(**changes: object) -> ReportView:
    volume = lung_volume()
    return report(volume=volume, **{"findings": (), "structures": lobes(volume), **changes})


def test_the_table_names_every_structure_with_its_figures_in_both_languages() -> None:
    view = measured()
    assert view.state is ReportState.MEASURED
    english, chinese = text_of(view), text_of(view, "zh")
    for row in view.structures:
        assert row.label in english
        assert ZH[row.label] in chinese
        assert f"{row.volume_ml:.0f}" in english
    assert "−850" in english
    assert "12.3" in english
    assert "Disease of any kind was not assessed" in english
    for word in ("pulmonary nodule", "marked no finding", "Model score"):
        assert word not in english.split("Method and limits")[0]


def test_a_model_of_outlines_that_outlined_nothing_reports_no_negative_finding() -> None:
    view = measured(structures=(), manifest=get_model("lung_ct_segmentation").manifest)
    assert view.state is ReportState.MEASURED
    english = text_of(view)
    assert "0 structures were outlined" in english
    assert "no finding" not in english.lower()


def test_it_is_stored_and_read_back_without_loss() -> None:
    view = measured()
    images = {image.name: image.png for image in view.key_images}
    assert ReportView.from_json(view.as_json(), images) == view


def test_a_report_of_findings_is_as_it_was() -> None:
    view = report()
    assert view.state is ReportState.FINDINGS
    assert view.structures == ()
    assert "Structures" not in html_of(view)


def test_pictures_show_the_right_of_the_patient_on_the_left_however_the_volume_is_stored() -> None:
    """Only the right lung has structures: its colour must be in the left half of axial and coronal planes."""
    upright = lung_volume()
    one = lobes(upright)[0]
    for flips in CHANGES:
        turned = tuple(slice(None, None, int(flip)) for flip in flips)
        affine = upright.affine_mm.copy()
        affine[:3, 3] = upright.to_lps_mm(
            np.array(
                [
                    0.0 if flip > 0 else size - 1.0
                    for flip, size in zip(flips, upright.voxels.shape, strict=True)
                ]
            )
        )
        affine[:3, :3] *= np.array(flips)
        volume = replace(upright, voxels=np.ascontiguousarray(upright.voxels[turned]), affine_mm=affine)
        origin = tuple(
            start if flip > 0 else size - start - length
            for start, flip, size, length in zip(
                one.segment.origin, flips, volume.voxels.shape, one.segment.mask.shape, strict=True
            )
        )
        moved = replace(one, segment=Segment(one.segment.mask, (origin[0], origin[1], origin[2])))
        pictures = {image.kind: image for image in render_structures(volume, [moved])}
        for kind in ("axial", "coronal"):
            pixels = np.asarray(Image.open(io.BytesIO(pictures[kind].png))).astype(int)
            tinted = np.abs(pixels - pixels.mean(axis=2, keepdims=True)).max(axis=2) > 20
            columns = np.flatnonzero(tinted.any(axis=0))
            assert len(columns), (flips, kind)
            assert columns.max() < pixels.shape[1] / 2, (flips, kind)
        coronal = np.asarray(Image.open(io.BytesIO(pictures["coronal"].png))).astype(int)
        rows = np.flatnonzero((np.ptp(coronal, axis=2) > 20).any(axis=1))
        assert rows.max() < coronal.shape[0] * 0.6, "an upper lobe is drawn at the top"
