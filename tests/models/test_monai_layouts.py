"""Reading bundles of the public segmentation and classification layouts; nothing in them is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidBundle
from models.monai_classification.bundle import read_classification
from models.monai_config import read_bundle
from models.monai_intensity import apply_steps, read_steps
from models.monai_segmentation.bundle import read_segmentation
from tests.monai_bundles import (
    SIDE,
    bundle_of,
    classification,
    classification_metadata,
    segmentation,
    segmentation_metadata,
)


class TestReading:
    def test_a_segmentation_is_understood_with_its_references_and_choices(self) -> None:
        config = read_segmentation(bundle_of(segmentation(), segmentation_metadata()))
        assert (config.network, config.arguments["channels"]) == ("UNet", [4, 8])
        assert (config.spacing_mm, config.window) == ((1.5, 1.5, 2.0), (SIDE, SIDE, SIDE))
        assert config.labels == {1: "spleen", 2: "rib_left_1"}
        assert config.steps == [{"from": [-57.0, 164.0], "to": [0.0, 1.0], "clip": True}]

    def test_a_classification_is_understood(self) -> None:
        config = read_classification(bundle_of(classification(), classification_metadata()))
        assert (config.size, config.mode, config.channels) == ((64, 48), "area", 3)
        assert (config.classes, config.modalities, config.is_exclusive) == (list("ABCD"), ["MG"], False)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"network_def": {"_target_": "os.system", "command": "true"}}, "the network system is none of"),
            ({"network_def": "$__import__('os').system('true')"}, "not understood"),
            ({"pixdim": "@pixdim"}, "references run in a circle"),
            ({"pixdim": "$open('/etc/passwd').read()"}, r"the expression .\$open.* is not understood"),
            ({"pixdim": [1.5, 0, 1]}, "positive numbers"),
            ({"inferer": {"roi_size": [512, 512, 512]}}, "a window's side is at most 160"),
            (
                {"postprocessing": {"transforms": [{"_target_": "Activationsd", "sigmoid": True}]}},
                "channels that overlap",
            ),
        ],
    )
    def test_a_segmentation_of_another_form_is_refused_with_the_reason(
        self, changes: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(InvalidBundle, match=sentence):
            read_segmentation(bundle_of(segmentation(**changes), segmentation_metadata()))

    def test_an_unknown_transform_is_refused_not_passed_over(self) -> None:
        config = segmentation()
        config["preprocessing"]["transforms"].append({"_target_": "CropForegroundd", "keys": "image"})
        with pytest.raises(InvalidBundle, match="CropForeground is not understood"):
            read_segmentation(bundle_of(config, segmentation_metadata()))

    @pytest.mark.parametrize("modality", ["MR", "PET"])
    def test_volumes_of_other_modalities_are_refused(self, modality: str) -> None:
        with pytest.raises(InvalidBundle, match="only CT"):
            read_segmentation(bundle_of(segmentation(), segmentation_metadata(modality)))

    def test_colour_photographs_are_refused(self) -> None:
        with pytest.raises(InvalidBundle, match="only radiographs in shades of grey"):
            read_classification(bundle_of(classification(), classification_metadata("regular")))


class TestIntensity:
    def test_a_range_is_scaled_and_cut(self) -> None:
        steps = [{"from": [-100.0, 100.0], "to": [-1.0, 1.0], "clip": True}]
        assert apply_steps(np.array([-300, -50, 0, 400], np.float32), steps) == pytest.approx(
            [-1, -0.5, 0, 1]
        )

    def test_standardising_leaves_zeros_out_where_it_says_so(self) -> None:
        image = np.array([0, 2, 4, 6], np.float32)
        found = apply_steps(image, [{"standardise": True, "nonzero": True}])
        assert found[0] == 0
        assert found[1:] == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])

    def test_a_flat_picture_stays_finite(self) -> None:
        steps = [{"standardise": True, "nonzero": False}, {"stretch": [0.0, 1.0]}]
        assert np.isfinite(apply_steps(np.full((4, 4), 7, np.float32), steps)).all()


def test_a_bundle_is_read_from_a_folder_too_and_its_paths_lead_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    for name, text in (
        ("configs/metadata.json", json.dumps(segmentation_metadata())),
        ("configs/inference.json", json.dumps(segmentation())),
        ("models/model.pt", "weights"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert read_steps(read_bundle(folder, tmp_path / "copy.pt"))
    (folder / "models/model.pt").unlink()
    (folder / "models/model.pt").symlink_to("/etc/passwd")
    with pytest.raises(InvalidBundle, match="a link that leads out"):
        read_bundle(folder, tmp_path / "copy2.pt")
