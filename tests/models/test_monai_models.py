"""Models that came of MONAI bundles: what they give is what MONAI gives."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidBundle, VolumeTooLarge, WrongKindOfImage
from models.model import Model
from models.monai_classification.model import MonaiClassification
from models.monai_segmentation.labels import code_of
from models.monai_segmentation.model import MonaiSegmentation
from models.registry import get_model
from pipeline.install_model import install
from study.radiograph import Radiograph
from tests.monai_bundles import (
    SIDE,
    classification,
    classification_metadata,
    segmentation,
    segmentation_metadata,
    write_bundle,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def segmentation_model(make_volume: Callable[..., Any]) -> tuple[MonaiSegmentation, Any]:
    """A model without a graph, and a volume of 70 x 60 x 50 voxels."""
    manifest = get_model("lung_nodule_ct").manifest
    settings = {
        "window": [SIDE] * 3, "intensity": [{"from": [-1000.0, 1000.0], "to": [0.0, 1.0], "clip": True}],
        "labels": [{"number": 1, "name": "spleen"}, {"number": 2, "name": "rib"}, {"number": 3, "name": "gone"}],
    }  # fmt: skip
    manifest = dataclasses.replace(manifest, settings=settings, spacing_mm=(1.25, 1.25, 1.25))
    voxels = np.zeros((70, 60, 50), np.int16)
    voxels[20:45, 10:40, 15:35] = 500
    voxels[50:60, 30:50, 5:20] = -500
    return MonaiSegmentation(manifest), make_volume(voxels, (1.0, 1.0, 1.0))


class TestSegmentation:
    def test_windows_are_stitched_and_labels_come_back_to_their_place(
        self, make_volume: Callable[..., Any]
    ) -> None:
        model, volume = segmentation_model(make_volume)
        prepared = model.preprocess(volume)
        assert len(prepared.batches) > 1
        windows = np.concatenate([batch["image"] for batch in prepared.batches])[:, 0]
        labels = np.where(windows > 0.625, 1, np.where(windows < 0.375, 2, 0)).astype(np.uint8)
        answer = model.postprocess({"labels": labels}, prepared.context, volume, {})
        spleen, rib = answer.structures
        assert (spleen.label, spleen.code.value, rib.code.scheme) == ("spleen", "78961009", "99RADMETER")
        assert spleen.volume_ml == pytest.approx(25 * 30 * 20 / 1000, rel=0.12)
        assert rib.volume_ml == pytest.approx(10 * 20 * 15 / 1000, rel=0.25)
        assert spleen.mean_hu > 400
        assert rib.mean_hu < -350
        truth = volume.voxels == 500
        found = np.zeros(truth.shape, np.bool_)
        box = tuple(
            slice(o, o + n) for o, n in zip(spleen.segment.origin, spleen.segment.mask.shape, strict=True)
        )
        found[box] = spleen.segment.mask
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.93
        assert answer.notes == ("Not found: gone.",)

    def test_a_volume_with_too_many_voxels_is_refused(
        self, make_volume: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, volume = segmentation_model(make_volume)
        monkeypatch.setattr("models.monai_segmentation.model.GRID_VOXELS_MAX", 1000)
        with pytest.raises(VolumeTooLarge, match="at most 1000 are read"):
            model.preprocess(volume)

    def test_codes_of_our_own_fit_into_dicom(self) -> None:
        code = code_of("x" * 200, 255)
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64


def radiograph(rows: int = 120, columns: int = 90) -> Radiograph:
    pixels = (np.arange(rows)[:, None] * 30 + np.arange(columns)[None] * 7).astype(np.uint16)
    return Radiograph(pixels, 12, None, "1.2.3", "1.2")


def save(network: Any, path: Path) -> bytes:
    import torch

    torch.save(network.state_dict(), path)
    return path.read_bytes()


def added(source: Path, data: Path) -> Model:
    data.mkdir()
    manifest = install(source, data, clock=lambda: NOW).manifest
    assert manifest.clearance_status.startswith("Not cleared")
    assert "Segments the spleen." in (manifest.folder / "MODEL_CARD.md").read_text()
    assert manifest.licence_file == "LICENSE"
    return get_model(manifest.name, data)


@pytest.mark.train
@pytest.mark.parametrize("steps", ["range", "statistics"])
def test_an_installed_segmentation_gives_the_labels_that_monai_gives(
    tmp_path: Path, make_volume: Callable[..., Any], steps: str
) -> None:
    torch = pytest.importorskip("torch")
    import onnxruntime
    from monai.networks.nets import UNet
    from monai.transforms import NormalizeIntensity, ScaleIntensity, ScaleIntensityRange

    torch.manual_seed(3)
    config = segmentation()
    if steps == "statistics":  # as wholeBody_ct_segmentation
        config["preprocessing"]["transforms"][4:5] = [
            {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True},
            {"_target_": "ScaleIntensityd", "keys": "image", "minv": -1.0, "maxv": 1.0},
        ]
    arguments = {key: value for key, value in config["network_def"].items() if key != "_target_"}
    network = UNet(**arguments).eval()
    weights = save(network, tmp_path / "model.pt")
    model = added(
        write_bundle(tmp_path / "b.zip", config, segmentation_metadata(), weights), tmp_path / "data"
    )
    assert model.manifest.name == "monai_decathlon_spleen_segmentation"
    assert model.manifest.intended_use.startswith("This is an example, not to be used for")
    voxels = np.random.default_rng(0).integers(-200, 300, (40, 48, 48)).astype(np.int16)
    volume = make_volume(voxels, (2.0, 1.5, 1.5))
    prepared = model.preprocess(volume)
    path = str(model.manifest.weights_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    labels = np.concatenate([session.run(["labels"], dict(batch))[0] for batch in prepared.batches])
    # What MONAI's transforms make of the first window: the axes run to the right, to the front and up.
    turned = np.flip(voxels.transpose(2, 1, 0), (0, 1)).astype(np.float32)
    if steps == "range":
        scaled = ScaleIntensityRange(-57, 164, 0, 1, clip=True)(turned)
    else:
        scaled = ScaleIntensity(-1.0, 1.0)(NormalizeIntensity(nonzero=True)(turned))
    image = torch.as_tensor(np.ascontiguousarray(scaled))
    assert np.asarray(prepared.batches[0]["image"][0, 0]) == pytest.approx(
        image[:SIDE, :SIDE, :SIDE].numpy(), abs=1e-4
    )
    with torch.no_grad():
        logits = network(image[None, None, :SIDE, :SIDE, :SIDE])[0]
    top = logits.topk(2, dim=0).values
    is_clear = (top[0] - top[1] > 1e-3).numpy()
    assert is_clear.mean() > 0.9
    assert (labels[0] == logits.argmax(0).numpy())[is_clear].all()
    answer = model.postprocess({"labels": labels}, prepared.context, volume, {})
    total = sum(one.volume_ml for one in answer.structures)
    assert 0 < total <= voxels.size * 4.5 / 1000
    with pytest.raises(WrongKindOfImage):
        model.preprocess(radiograph())


@pytest.mark.train
@pytest.mark.parametrize("weights", [b"not a checkpoint", b"", pickle.dumps(Path("code"))])
def test_a_checkpoint_that_is_none_or_needs_code_is_refused_without_advice_to_run_it(
    tmp_path: Path, weights: bytes
) -> None:
    source = write_bundle(tmp_path / "b.zip", segmentation(), segmentation_metadata(), weights)
    (tmp_path / "data").mkdir()
    with pytest.raises(InvalidBundle, match="no checkpoint of tensors alone") as caught:
        install(source, tmp_path / "data", clock=lambda: NOW)
    assert "weights_only" not in str(caught.value)


@pytest.mark.train
def test_an_installed_classification_gives_the_probabilities_that_monai_gives(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    import onnxruntime
    from monai.networks.nets import SEResNet50
    from monai.transforms import Resize, ScaleIntensity

    torch.manual_seed(3)
    config = classification()
    network = SEResNet50(spatial_dims=2, in_channels=3, num_classes=4).eval()
    weights = save(network, tmp_path / "model.pt")
    source = write_bundle(tmp_path / "b.zip", config, classification_metadata(), weights)
    model = added(source, tmp_path / "data")
    assert isinstance(model, MonaiClassification)
    assert (model.manifest.input.kind, model.manifest.input.modalities) == ("radiograph", ("MG",))
    image = radiograph()
    (batch,) = model.preprocess(image).batches
    picture = ScaleIntensity(0.0, 1.0)(
        image.pixels.T[None].astype(np.float32)
    )  # the readers give (column, row)
    wanted = Resize([64, 48], mode="area")(picture)
    assert np.asarray(batch["image"][0]) == pytest.approx(np.asarray(wanted), abs=1e-4)
    session = onnxruntime.InferenceSession(
        str(model.manifest.weights_path), providers=["CPUExecutionProvider"]
    )
    outputs = {"probabilities": session.run(["probabilities"], dict(batch))[0]}
    with torch.no_grad():
        expected = network(torch.as_tensor(np.asarray(wanted)).repeat(3, 1, 1)[None]).sigmoid()[0].numpy()
    answer = model.postprocess(outputs, None, image, {})
    assert [one.label for one in answer.classifications] == list("ABCD")
    assert [one.probability for one in answer.classifications] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("size", "mode"), [((64, 48), "bilinear"), ((9, 200), "bilinear")])
def test_pictures_are_resized_between_pixel_centres(size: tuple[int, int], mode: str) -> None:
    settings = {"size": list(size), "mode": mode, "intensity": []}
    manifest = dataclasses.replace(get_model("lung_nodule_ct").manifest, settings=settings)
    (batch,) = MonaiClassification(manifest).preprocess(radiograph()).batches
    picture = batch["image"][0, 0]
    assert picture.shape == size
    # A ramp stays one: the middle is the middle.
    assert picture.mean() == pytest.approx(radiograph().pixels.mean(), rel=0.01)
    assert (np.diff(picture, axis=0) > 0).all()
