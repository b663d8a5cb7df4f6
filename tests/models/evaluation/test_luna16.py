"""LUNA16's layout: what is read, where it lies, and what is said of a file that is not right."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from models.errors import InvalidAnnotations
from models.evaluation import luna16
from models.evaluation.froc import Real
from models.evaluation.sample import Nodules

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def write_scan(
    folder: Path, name: str, directions: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)
) -> np.ndarray:
    voxels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) - 500
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-100, -90, -300))
    image.SetDirection(directions)
    folder.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(folder / f"{name}.mhd"))
    return voxels


def test_a_voxel_lies_where_the_file_says(tmp_path: Path) -> None:
    voxels = write_scan(tmp_path, "1.2.3")
    volume = luna16.read_mhd(tmp_path / "1.2.3.mhd")
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    assert (volume.voxels == voxels).all()
    assert volume.to_lps_mm(np.array([2, 3, 4])) == pytest.approx(
        [-100 + 4 * 0.7, -90 + 3 * 0.8, -300 + 2 * 2.5]
    )


def test_a_scan_stored_upside_down_is_turned_and_its_voxels_keep_their_places(tmp_path: Path) -> None:
    voxels = write_scan(tmp_path, "1.2.3", (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    volume = luna16.read_mhd(tmp_path / "1.2.3.mhd")
    assert (volume.voxels == voxels[:, ::-1, ::-1]).all()
    place = np.array([-100 - 4 * 0.7, -90 - 3 * 0.8, -300 + 2 * 2.5])
    index = tuple(np.rint(volume.to_index(place)).astype(int))
    assert volume.voxels[index] == voxels[2, 3, 4]


def test_scans_come_with_their_nodules_facts_and_ignored_places(tmp_path: Path) -> None:
    write_scan(tmp_path / "subset0", "1.2.3")
    write_scan(tmp_path / "subset1", "1.2.4")
    (tmp_path / "annotations.csv").write_text(HEADER + "1.2.3,-90.5,-80,-295,6.5\n1.2.3,1,2,3,4\n")
    (tmp_path / "annotations_excluded.csv").write_text(HEADER + "1.2.4,5,6,7,-1\n")
    (tmp_path / "facts.csv").write_text("seriesuid,sex,age_years,kernel,secret\n1.2.4,F,67,B30f,x\n")
    first, second = luna16.samples(tmp_path)
    assert first.truth == Nodules((Real((-90.5, -80, -295), 6.5, ""), Real((1, 2, 3), 4, "")))
    assert second.truth == Nodules((), (Real((5, 6, 7), 3.0, ""),))
    assert first.facts == {"slice_spacing_mm": 2.5}
    assert second.facts == {"slice_spacing_mm": 2.5, "sex": "F", "age_years": 67, "kernel": "B30f"}


def test_what_the_scanner_did_not_see_is_air(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.full((3, 3, 3), -3024, np.int16))
    SimpleITK.WriteImage(image, str(tmp_path / "a.mhd"))
    assert luna16.read_mhd(tmp_path / "a.mhd").voxels.min() == -1024


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seriesuid,coordX\n", "coordY, coordZ, diameter_mm are missing in line 1"),
        (HEADER + "1.2.3,a,0,0,5\n", "line 2: .* must be numbers"),
        (HEADER + "1.2.3,nan,0,0,5\n", "line 2: .* must be numbers"),
        (HEADER + "1.2.3,0,0,0,5\n1.2.3,0,0,0,0\n", "line 3: a diameter is over 0"),
        (HEADER + "1.2.3,0,0\n", "line 2: .* must be numbers"),
    ],
)
def test_a_table_that_is_not_right_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "annotations.csv").write_text(text)
    with pytest.raises(InvalidAnnotations, match=problem):
        luna16.read_annotations(tmp_path)


def test_a_folder_without_scans_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidAnnotations, match="lies beside the scans"):
        luna16.read_annotations(tmp_path)
    (tmp_path / "annotations.csv").write_text(HEADER)
    with pytest.raises(InvalidAnnotations, match=r"no \.mhd file"):
        list(luna16.samples(tmp_path))
    (tmp_path / "1.2.3.mhd").write_text("NDims = 3\nDimSize = 99999 99999 99999\nElementType = MET_SHORT\n")
    with pytest.raises(InvalidAnnotations, match="mhd"):
        list(luna16.samples(tmp_path))
