"""Training on real scans: what is made of a folder in LUNA16's layout, and the command as a user gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from typer.testing import CliRunner

from models.errors import InvalidAnnotations
from models.lung_nodule_ct import dataset
from models.lung_nodule_ct.evaluate import sample_of
from models.lung_nodule_ct.luna16 import prepare
from models.lung_nodule_ct.phantom import Phantom, make_phantom
from server.cli import app


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(9001, spacing_mm=(2.5, 0.8, 0.8), nodule_count=6)


@pytest.fixture
def luna16(tmp_path: Path, phantom: Phantom) -> Path:
    """Two subsets with one scan each, the same chest; the second one stored upside down."""
    sample = sample_of(phantom, "train")
    image = SimpleITK.GetImageFromArray(phantom.voxels)
    z, y, x = phantom.spacing_mm
    image.SetSpacing((x, y, z))
    image.SetOrigin(sample.image.affine_mm[:3, 3].tolist())  # type: ignore[union-attr]
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for number, stored in enumerate((image, SimpleITK.DICOMOrient(image, "RAS"))):
        folder = tmp_path / f"subset{number}"
        folder.mkdir()
        SimpleITK.WriteImage(stored, str(folder / f"1.2.{number}.mhd"))
        for lesion in sample.truth.lesions:  # type: ignore[union-attr]
            place = ",".join(f"{value:.3f}" for value in lesion.center_mm)
            rows.append(f"1.2.{number},{place},{lesion.diameter_mm:.3f}")
    (tmp_path / "annotations.csv").write_text("\n".join(rows))
    return tmp_path


def test_nodules_keep_their_places_and_fine_voxels_become_one_millimetre(
    luna16: Path, tmp_path: Path, phantom: Phantom
) -> None:
    assert prepare(luna16, tmp_path / "scans") == 2
    upright, turned = (dataset.read(path) for path in sorted((tmp_path / "scans").glob("train_*.npz")))
    assert upright.spacing_mm == pytest.approx((2.5, 1.0, 1.0))
    assert np.abs(upright.voxels.astype(int) - turned.voxels).mean() < 60  # half a voxel apart
    for one in (upright, turned):
        for made, read in zip(phantom.truth, one.truth, strict=True):
            wanted = np.array(made.center_index) * phantom.spacing_mm
            assert np.array(read.center_index) * one.spacing_mm == pytest.approx(wanted, abs=0.02)
            assert read.diameter_mm == pytest.approx(made.diameter_mm, abs=1e-3)


def test_what_is_held_out_or_too_much_is_not_trained_on(luna16: Path, tmp_path: Path) -> None:
    assert prepare(luna16, tmp_path / "one", hold_out=["subset1"]) == 1
    assert prepare(luna16, tmp_path / "few", scans_max=1) == 1
    with pytest.raises(InvalidAnnotations, match="nothing is left"):
        prepare(luna16, tmp_path / "none", hold_out=["subset0", "subset1"])


def test_a_subset_finds_the_annotations_of_the_folder_above(luna16: Path, tmp_path: Path) -> None:
    assert prepare(luna16 / "subset0", tmp_path / "scans") == 1


@pytest.mark.train
def test_the_same_command_trains_the_same_network_on_real_scans(luna16: Path, tmp_path: Path) -> None:
    import torch

    from models.lung_nodule_ct.network import NoduleNet

    out = tmp_path / "checkpoint.pt"
    arguments = [
        "--luna16",
        luna16,
        "--hold-out",
        "subset1",
        "--minutes",
        "0.6",
        "--batch-size",
        "2",
        "--out",
        out,
    ]
    result = CliRunner().invoke(app, ["models", "train", "lung_nodule_ct", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "checkpoint.scans").glob("train_*.npz"))) == 1
    stored = torch.load(out, weights_only=True)
    assert stored["steps"] >= 1
    assert stored["weights"].keys() == NoduleNet().state_dict().keys()
