from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_gateway.decode_errors import (
    DecodeError,
    MissingSlices,
)
from tests.ct_files import decode, files, two_slices_of

LIDC = "ct_chest_lidc0314_1mm/dicom"


class TestRealSeries:
    @pytest.mark.parametrize(
        ("folder", "shape", "spacing_mm", "hu_range"),
        [
            (LIDC, (275, 512, 512), (1.0, 0.78125, 0.78125), (-1000, 1979)),
            ("ct_chest_4dlung_113/dicom", (99, 512, 512), (3.0, 0.9766, 0.9766), (-1000, 2976)),
            ("ct_chest_lungdx_A0002/dicom", (30, 512, 512), (8.0, 0.6465, 0.6465), (-1024, 1548)),
        ],
    )
    def test_a_chest_ct_becomes_a_volume(
        self,
        shared_data: Path,
        tmp_path: Path,
        folder: str,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        hu_range: tuple[int, int],
    ) -> None:
        """JPEG-LS, JPEG lossless and RLE; the last slice is compared with pydicom where it has a decoder."""
        volume = decode(files(shared_data / folder), tmp_path)
        assert volume.voxels.shape == shape
        np.testing.assert_allclose(volume.spacing_mm, spacing_mm, atol=1e-3)
        assert (int(volume.voxels.min()), int(volume.voxels.max())) == hu_range
        assert volume.notes == ()
        assert volume.affine_mm[2, 0] > 0, "slices run from feet to head"

    def test_the_stored_values_are_those_that_the_files_list_by_digest(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        """PIXELS.sha256 was made from the original, uncompressed files."""
        folder = shared_data / LIDC
        digests = dict(
            reversed(line.split()[:2]) for line in (folder / "PIXELS.sha256").read_text().splitlines()
        )
        volume = decode(files(folder), tmp_path)
        for uid, voxels in list(zip(volume.slice_sop_instance_uids, volume.voxels, strict=True))[::25]:
            stored = (voxels + 1000).astype("<u2")
            assert hashlib.sha256(stored.tobytes()).hexdigest() == digests[uid]

    def test_the_nodule_of_the_lidc_case_lies_where_its_readers_marked_it(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        volume = decode(files(shared_data / LIDC), tmp_path)
        center = np.array([-57.43923954, 131.2325201, -520.3592267])
        slice_, row, column = np.rint(volume.to_index(center)).astype(int)
        inside = volume.voxels[slice_ - 2 : slice_ + 3, row - 3 : row + 4, column - 3 : column + 4]
        assert float(inside.mean()) > -200, "soft tissue at the nodule's centre"

    def test_jpeg_2000_slices_of_the_abdomen(self, shared_data: Path, tmp_path: Path) -> None:
        """Its UIDs were blanked, so that it is no study until it gets some."""
        sources = files(shared_data / "ct_negative_abdomen_siemens" / "dicom")
        paths = []
        for number, source in enumerate(sources):
            dataset = pydicom.dcmread(source)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.1", "2.25.2"
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
            paths.append(tmp_path / f"{number}.dcm")
            dataset.save_as(paths[-1])
        volume = decode(paths, tmp_path / "out")
        assert volume.voxels.shape == (10, 512, 512)
        assert volume.spacing_mm[0] == pytest.approx(2.0)

    @pytest.mark.parametrize(
        ("folder", "angle"), [("gantry_tilt_philips", "18.5°"), ("gantry_tilt_siemens_d2n", "14.0°")]
    )
    def test_a_tilted_gantry_is_set_upright_and_noted(
        self, shared_data: Path, tmp_path: Path, folder: str, angle: str
    ) -> None:
        paths = files(shared_data / "ct_geometry" / folder)
        volume = decode(paths, tmp_path)
        assert angle in volume.notes[0]
        axes = volume.affine_mm[:3, :3] / np.array(volume.spacing_mm)
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert volume.voxels.shape[1] > 512, "no row of any slice is lost"

    def test_a_missing_slice_is_named(self, shared_data: Path, tmp_path: Path) -> None:
        with pytest.raises(MissingSlices, match=r"1 slice is missing .* z = 33\.11 mm"):
            decode(files(shared_data / "ct_geometry" / "missing_slice_ge_d2n"), tmp_path)

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("ct_not_axial/A002304_coronal/19001231-076.dcm", "NOT_AXIAL"),
            ("ct_not_axial/A002304_coronal/19010112-124.dcm", "NOT_AXIAL"),
            ("ct_priors/A046441/19001111-045.dcm", "SINGLE_SLICE"),
            ("ct_priors/A046441/19010101-23.dcm", "SINGLE_SLICE"),
            ("mr_enhanced/emri_small_RLE.dcm", "NOT_CT"),
            ("cxr/RG1_J2KI", "NOT_CT"),
            ("sr/test-SR.dcm", "NOT_CT"),
        ],
    )
    def test_what_is_no_axial_ct_stack_is_refused_by_name(
        self, shared_data: Path, tmp_path: Path, path: str, code: str
    ) -> None:
        with pytest.raises(DecodeError) as caught:
            decode([shared_data / path], tmp_path)
        assert caught.value.code == code

    def test_every_encoding_of_the_enhanced_image_gives_the_same_volume(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        """Fragmented or not, with or without offset table; 51 and 81 are lossy."""
        volumes = {path.name: decode([path], tmp_path / path.name)
                   for path in files(shared_data / "ct_enhanced_multiframe")}  # fmt: skip
        reference = volumes["CT0012.not_fragmented_bot_rle.dcm"]
        assert reference.voxels.shape == (2, 512, 512)
        assert reference.slice_frame_numbers == (2, 1), "ordered along the normal, which points to the feet"
        assert len(set(reference.slice_sop_instance_uids)) == 1
        for name, volume in volumes.items():
            difference = np.abs(volume.voxels.astype(int) - reference.voxels)
            np.testing.assert_array_equal(volume.affine_mm, reference.affine_mm)
            if ".51." in name or ".81." in name:
                assert "compressed with loss" in volume.notes[0]
                # The one in JPEG extended was made with another offset; DCMTK reads it the same.
                assert difference.std() < 4
            else:
                assert difference.max() == 0

    def test_one_slice_in_every_transfer_syntax_gives_the_same_pixels(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        """Signed 16 bit with a padding value that implicit and explicit files write with other signs."""
        volumes = {}
        for source in sorted((shared_data / "ts_ct").glob("CT1_*")):
            volumes[source.name] = decode(
                two_slices_of(source, tmp_path / source.name), tmp_path / "out" / source.name
            )
        reference = volumes["CT1_UNC.explicit_little_endian.dcm"].voxels
        assert reference.min() == -1024, "padding outside the field of view is air"
        for name, volume in volumes.items():
            difference = np.abs(volume.voxels.astype(int) - reference)
            assert difference.max() <= {"CT1_JLSN": 10, "CT1_J2KI": 800}.get(name, 0), name
            assert difference.mean() < 30, name
            assert bool(volume.notes) == (name in ("CT1_JLSN", "CT1_J2KI")), name
