from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import (
    JPEG2000,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_gateway import radiograph_child
from dicom_gateway.decode import decode_radiograph, load_image, load_radiograph
from dicom_gateway.decode_errors import (
    DecodeError,
    LookupTableInvalid,
    NotARadiograph,
    PixelDataUnreadable,
    PixelFormatNotSupported,
    TooLarge,
    error_from_json,
)
from study.radiograph import Radiograph
from tests.ct_files import only_series
from tests.radiograph_files import table, write_radiograph

PATTERN = (np.arange(40 * 30, dtype=np.int64) * 37 % 1021).astype(np.uint16).reshape(40, 30)
EVERY_ENCODING = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
    JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1,
)  # fmt: skip


def decoded(path: Path, image_bytes_max: int = 1 << 20) -> Radiograph:
    """What the child does, in this process."""
    out = path.parent / "out"
    out.mkdir(exist_ok=True)
    answer = radiograph_child.run(
        {"path": path, "out_dir": out, "series_instance_uid": "2.25.1", "image_bytes_max": image_bytes_max}
    )
    if "error" in answer:
        raise error_from_json(answer["error"])
    return load_radiograph(out)


def shown(folder: Path, pixels: NDArray[Any], **options: Any) -> Radiograph:
    return decoded(write_radiograph(folder / "image.dcm", pixels, **options))


class TestPixels:
    @pytest.mark.parametrize("syntax", EVERY_ENCODING)
    def test_every_lossless_encoding_gives_the_same_pixels(self, tmp_path: Path, syntax: str) -> None:
        image = shown(tmp_path, PATTERN, syntax=syntax, BitsStored=16)
        np.testing.assert_array_equal(image.pixels, PATTERN)
        assert image.bits == 16

    def test_lossy_jpeg_2000_is_close_and_told(self, tmp_path: Path) -> None:
        smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16) * 20
        image = shown(tmp_path, smooth, syntax=JPEG2000)
        assert np.abs(image.pixels.astype(int) - smooth).mean() < 30
        assert image.notes == ("The image was compressed with loss before it arrived.",)

    def test_monochrome1_is_turned_around_in_its_own_depth(self, tmp_path: Path) -> None:
        image = shown(tmp_path, PATTERN, BitsStored=10, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_array_equal(image.pixels, 1023 - PATTERN)
        assert image.bits == 10

    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
    def test_every_depth_keeps_its_greatest_value(self, tmp_path: Path, bits: int) -> None:
        top = (1 << bits) - 1
        kind = np.uint8 if bits == 8 else np.uint16
        image = shown(tmp_path, np.array([[0, 1], [top - 1, top]], kind), BitsStored=bits)
        assert image.pixels.tolist() == [[0, 1], [top - 1, top]]
        assert image.bits == bits

    def test_signed_pixels_start_at_their_lowest_value(self, tmp_path: Path) -> None:
        image = shown(tmp_path, np.array([[-2048, -1], [0, 2047]], np.int16), BitsStored=12)
        assert image.pixels.tolist() == [[0, 2047], [2048, 4095]]

    def test_padding_is_the_darkest_value_whatever_the_photometric_interpretation(
        self, tmp_path: Path
    ) -> None:
        pixels = np.array([[65535, 100], [200, 65535]], np.uint16)
        for interpretation in ("MONOCHROME1", "MONOCHROME2"):
            image = shown(tmp_path, pixels, PhotometricInterpretation=interpretation, PixelPaddingValue=65535)
            assert image.pixels[0, 0] == image.pixels[1, 1] == 0
            assert image.pixels[0, 1] > 0

    def test_a_negative_rescale_slope_turns_the_image_around(self, tmp_path: Path) -> None:
        image = shown(tmp_path, PATTERN, BitsStored=10, RescaleSlope=-2, RescaleIntercept=0)
        np.testing.assert_array_equal(image.pixels, 1023 - PATTERN)

    def test_an_unprocessed_image_is_turned_by_its_sign_and_told(self, tmp_path: Path) -> None:
        image = shown(
            tmp_path, PATTERN, BitsStored=10, PresentationIntentType="FOR PROCESSING", PixelIntensityRelationshipSign=1
        )  # fmt: skip
        np.testing.assert_array_equal(image.pixels, 1023 - PATTERN)
        assert image.notes == ("The image is unprocessed (FOR PROCESSING).",)


class TestTables:
    def test_a_modality_and_a_voi_table_are_applied_one_after_the_other(self, tmp_path: Path) -> None:
        pixels = np.array([[0, 1], [2, 9]], np.uint16)
        modality = table(np.array([10, 20, 30, 40], np.uint16), 0, 8)
        voi = table(np.arange(100, dtype=np.uint16) * 40, 0, 12)
        image = shown(tmp_path, pixels, ModalityLUTSequence=[modality], VOILUTSequence=[voi])
        assert image.pixels.tolist() == [[400, 800], [1200, 1600]]
        assert image.bits == 12

    def test_a_table_may_start_below_zero(self, tmp_path: Path) -> None:
        pixels = np.array([[-3, -2], [-1, 0]], np.int16)
        item = table(np.array([5, 6, 7], np.uint16), 65534, 8)
        image = shown(tmp_path, pixels, VOILUTSequence=[item])
        assert image.pixels.tolist() == [[5, 5], [6, 7]]

    @pytest.mark.parametrize(
        "item",
        [
            table(np.array([1, 2, 300], np.uint16), 0, 8),
            table(np.array([1, 2, 3], np.uint16), 0, 33),
        ],
        ids=["entries beyond their bits", "impossible bits"],
    )
    def test_a_table_that_contradicts_itself_refuses_the_image(self, tmp_path: Path, item: Any) -> None:
        with pytest.raises(LookupTableInvalid):
            shown(tmp_path, PATTERN, VOILUTSequence=[item])

    def test_a_table_shorter_than_announced_refuses_the_image(self, tmp_path: Path) -> None:
        item = table(np.arange(50, dtype=np.uint16), 0, 8)
        item.LUTDescriptor = [90, 0, 8]
        item["LUTDescriptor"].VR = "US"
        with pytest.raises(LookupTableInvalid):
            shown(tmp_path, PATTERN, VOILUTSequence=[item])


class TestHeader:
    def test_the_window_is_told_on_the_scale_of_the_shown_pixels(self, tmp_path: Path) -> None:
        options = {"BitsStored": 10, "WindowCenter": "300", "WindowWidth": "400"}
        assert shown(tmp_path, PATTERN, **options).window == (100, 500)
        turned = shown(tmp_path, PATTERN, **options, PhotometricInterpretation="MONOCHROME1")
        assert turned.window == (523, 923)

    def test_a_window_beside_the_picture_is_not_told(self, tmp_path: Path) -> None:
        assert shown(tmp_path, PATTERN, WindowCenter="50000", WindowWidth="10").window is None

    def test_a_pixel_spacing_of_zero_is_none(self, tmp_path: Path) -> None:
        assert shown(tmp_path, PATTERN, PixelSpacing=[0, 0]).spacing_mm == (0.15, 0.15)
        assert shown(tmp_path, PATTERN, ImagerPixelSpacing=None).spacing_mm is None

    def test_the_image_can_be_opened_again_as_what_it_is(self, tmp_path: Path) -> None:
        image = shown(tmp_path, PATTERN, ViewPosition="PA")
        again = load_image(tmp_path / "out")
        assert isinstance(again, Radiograph)
        np.testing.assert_array_equal(again.pixels, image.pixels)
        assert (again.view_position, again.sop_instance_uid) == ("PA", image.sop_instance_uid)


class TestRefusals:
    def test_colour_is_refused(self, tmp_path: Path) -> None:
        path = write_radiograph(
            tmp_path / "image.dcm", np.zeros((8, 8, 3), np.uint8), SamplesPerPixel=3, PhotometricInterpretation="RGB",
            PlanarConfiguration=0,
        )  # fmt: skip
        with pytest.raises(PixelFormatNotSupported, match="colour"):
            decoded(path)

    def test_several_frames_are_refused(self, tmp_path: Path) -> None:
        path = write_radiograph(tmp_path / "i.dcm", np.zeros((8, 4), np.uint16), Rows=4, NumberOfFrames=2)
        with pytest.raises(NotARadiograph, match="2 frames"):
            decoded(path)

    def test_a_ct_slice_under_a_dx_modality_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(NotARadiograph):
            shown(tmp_path, PATTERN, SOPClassUID=CTImageStorage)

    def test_pixels_shorter_than_the_header_says_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(PixelDataUnreadable):
            shown(tmp_path, PATTERN, Rows=400)

    def test_an_image_larger_than_any_detector_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        path = write_radiograph(tmp_path / "image.dcm", PATTERN)
        with pytest.raises(TooLarge):
            decoded(path, image_bytes_max=1000)

    def test_what_the_child_refuses_arrives_with_its_class(self, tmp_path: Path) -> None:
        path = write_radiograph(tmp_path / "i.dcm", np.zeros((8, 4), np.uint16), Rows=4, NumberOfFrames=2)
        series = only_series([path])
        with pytest.raises(NotARadiograph):
            decode_radiograph(series, series.instances[0].sop_instance_uid, Path("/"), tmp_path / "out")

    def test_cut_and_overwritten_files_end_in_a_picture_or_a_refusal(self, tmp_path: Path) -> None:
        whole = write_radiograph(tmp_path / "image.dcm", PATTERN, syntax=JPEGLSLossless).read_bytes()
        rng = np.random.default_rng(0)
        for number in range(6):
            data = bytearray(whole)
            for at in rng.integers(len(data) // 2, len(data), 8):
                data[at] = int(rng.integers(256))
            path = tmp_path / f"{number}.dcm"
            path.write_bytes(bytes(data[: len(data) - number * 30]))
            with contextlib.suppress(DecodeError):
                assert decoded(path).pixels.shape == PATTERN.shape


class TestRealImages:
    def test_chest_radiographs_of_an_old_detector_and_a_lossy_archive_are_read(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        for name, shape, bits in (
            ("gdcm-CR-MONO1-10-chest.dcm", (440, 440), 10),
            ("RG1_J2KI", (1955, 1841), 15),
        ):
            series = only_series([shared_data / "cxr" / name])
            out = tmp_path / name
            image = decode_radiograph(series, series.instances[0].sop_instance_uid, Path("/"), out)
            assert (image.pixels.shape, image.bits, image.view_position) == (shape, bits, "PA")
            # Both are MONOCHROME1: the mediastinum is bright, the lungs beside it are dark.
            rows, columns = image.pixels.shape
            strip = image.pixels[rows // 4 : rows // 3]
            spine = strip[:, columns * 47 // 100 : columns * 51 // 100].mean()
            assert spine > strip[:, columns * 7 // 10 : columns * 8 // 10].mean()
