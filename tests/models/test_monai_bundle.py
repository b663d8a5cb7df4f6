"""Bundles of the public lung_nodule_ct_detection layout, made here with random weights."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidBundle, InvalidPackage, ModelExists, TrainExtraMissing
from models.monai_config import read_bundle
from models.monai_retinanet.boxes import anchors, decode, suppress
from models.monai_retinanet.bundle import NAME, RetinaNetConfig, read_detection
from models.registry import get_model, list_models
from models.weights import verified_weights
from pipeline.install_model import install

WINDOW = [64, 64, 32]
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
METADATA = {
    "version": "0.6.9",
    "task": "CT lung nodule detection",
    "authors": "MONAI team",
    "intended_use": "This is an example, not to be used for diagnostic purposes",
}


def inference_config() -> dict[str, Any]:
    """The parts of configs/inference.json that describe the network, as the public bundle has them."""
    return {
        "infer_patch_size": WINDOW,
        "anchor_generator": {
            "_target_": "monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape",
            "feature_map_scales": [1, 2, 4],
            "base_anchor_shapes": [[6, 8, 4], [8, 6, 5], [10, 10, 6]],
        },
        "backbone": "$monai.networks.nets.resnet.resnet50("
        "spatial_dims=3,n_input_channels=1,conv1_t_stride=[2,2,1],conv1_t_size=[7,7,7])",
        "feature_extractor": "$monai.apps.detection.networks.retinanet_network."
        "resnet_fpn_feature_extractor(@backbone,3,False,[1,2],None)",
        "network_def": {"_target_": "RetinaNet", "num_anchors": 3, "size_divisible": [16, 16, 8]},
        "detector_ops": [
            "$@detector.set_target_keys(box_key='box', label_key='label')",
            "$@detector.set_box_selector_parameters(score_thresh=0.02,topk_candidates_per_level=1000,"
            "nms_thresh=0.22,detections_per_img=300)",
        ],
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [0.703125, 0.703125, 1.25]},
                {
                    "_target_": "ScaleIntensityRanged",
                    "a_min": -1024.0,
                    "a_max": 300.0,
                    "b_min": 0,
                    "b_max": 1,
                },
            ],
        },
    }


def newer_config() -> dict[str, Any]:
    """The same as versions from 0.5 have it: their test data have the spacing already, so that step is switched off."""
    config = inference_config()
    _, spacing, scale = config["preprocessing"]["transforms"]
    load = {"_target_": "LoadImaged", "keys": "@image_key"}
    return config | {
        "whether_raw_luna16": False, "whether_resampled_luna16": "$(not @whether_raw_luna16)",
        "image_key": "image", "spatial_dims": 3, "size_divisible": [16, 16, 8],
        "network_def": {
            "_target_": "RetinaNet", "spatial_dims": "@spatial_dims", "num_anchors": 3,
            "size_divisible": "@size_divisible", "use_list_output": False,
        },
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                load | {"_disabled_": "@whether_raw_luna16"},
                load | {"reader": "itkreader", "affine_lps_to_ras": True, "_disabled_": "@whether_resampled_luna16"},
                spacing | {"keys": "@image_key", "_disabled_": "@whether_resampled_luna16"},
                scale,
            ],
        },
    }  # fmt: skip


def write_bundle(path: Path, config: dict[str, Any], weights: bytes, top: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(f"{top}configs/metadata.json", json.dumps(METADATA))
        bundle.writestr(f"{top}configs/inference.json", json.dumps(config))
        bundle.writestr(f"{top}models/model.pt", weights)
    return path


def add_bundle(path: Path, data: Path, operating_threshold: float | None = None) -> None:
    data.mkdir(exist_ok=True)
    install(path, data, clock=lambda: NOW, operating_threshold=operating_threshold)


def read_config(path: Path, checkpoint: Path) -> RetinaNetConfig:
    return read_detection(read_bundle(path, checkpoint))


@pytest.mark.parametrize("configuration", [inference_config, newer_config])
def test_the_configuration_is_understood_without_running_it(
    tmp_path: Path, configuration: Callable[[], dict[str, Any]]
) -> None:
    path = write_bundle(tmp_path / "b.zip", configuration(), b"weights", top="lung_nodule_ct_detection/")
    config = read_config(path, tmp_path / "model.pt")
    assert isinstance(config, RetinaNetConfig)
    assert config.depth == 50
    assert config.backbone["conv1_t_stride"] == [2, 2, 1]
    assert config.returned_layers == [1, 2]
    assert config.window == (64, 64, 32)
    assert config.spacing_mm == (0.703125, 0.703125, 1.25)
    assert config.window_hu == (-1024.0, 300.0)
    assert config.nms_overlap_max == 0.22
    assert (tmp_path / "model.pt").read_bytes() == b"weights"


@pytest.mark.parametrize(
    "backbone",
    [
        "$__import__('os').system('touch /tmp/owned')",
        "$monai.networks.nets.resnet.resnet50(spatial_dims=open('/etc/passwd'))",
        "$monai.networks.nets.resnet.system(3)",
        "$monai.networks.nets.resnet.resnet51(spatial_dims=3,n_input_channels=1)",
        "not python (",
        "",
    ],
)
def test_code_in_the_configuration_is_refused_and_not_run(tmp_path: Path, backbone: str) -> None:
    config = inference_config() | {"backbone": backbone}
    with pytest.raises(InvalidBundle):
        read_config(write_bundle(tmp_path / "b.zip", config, b""), tmp_path / "model.pt")


def test_a_zip_that_lacks_a_part_or_is_none_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as bundle:
        bundle.writestr("configs/metadata.json", "{}")
    (tmp_path / "c.zip").write_bytes(b"PK no zip")
    for name in ("b.zip", "c.zip", "missing.zip"):
        with pytest.raises((InvalidBundle, InvalidPackage)):
            add_bundle(tmp_path / name, tmp_path / "data")
    assert list_models(tmp_path / "data") == list_models()


def test_names_in_the_zip_never_become_paths(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b.zip", inference_config(), b"weights")
    with zipfile.ZipFile(path, "a") as bundle:
        bundle.writestr("../../escaped.txt", "x")
        bundle.writestr("/absolute.txt", "x")
    (tmp_path / "in").mkdir()
    read_config(path, tmp_path / "in" / "model.pt")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["b.zip", "in", "model.pt"]


def test_a_configuration_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    config = inference_config() | {"padding": "x" * (1 << 21)}
    with pytest.raises(InvalidBundle, match="larger than"):
        read_config(write_bundle(tmp_path / "b.zip", config, b""), tmp_path / "model.pt")


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is not None, reason="needs an environment without torch"
)
def test_without_torch_the_missing_extra_is_named(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b.zip", inference_config(), b"weights")
    with pytest.raises(TrainExtraMissing, match="train"):
        add_bundle(path, tmp_path / "data")
    assert list_models(tmp_path / "data") == list_models()


def test_boxes_decode_as_shift_and_logarithmic_size() -> None:
    anchor = np.array([[0, 0, 0, 10, 20, 4]], np.float32)
    codes = np.array([[0.1, 0, -0.5, np.log(2), 0, 0]], np.float32)
    assert decode(codes, anchor)[0] == pytest.approx([-4, 0, -2, 16, 20, 2])


def test_overlapping_boxes_are_suppressed_best_first() -> None:
    boxes = np.array([[0, 0, 0, 10, 10, 10], [1, 0, 0, 11, 10, 10], [30, 0, 0, 40, 10, 10]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.9, 0.4], np.float32), 0.22, 10).tolist() == [1, 2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A bundle zip with random weights, and the network that holds them."""
    torch = pytest.importorskip("torch")
    from models.monai_retinanet.export import build_network

    torch.manual_seed(0)
    backbone = {
        "spatial_dims": 3, "n_input_channels": 1, "conv1_t_stride": [2, 2, 1], "conv1_t_size": [7, 7, 7],
    }  # fmt: skip
    network = build_network(50, backbone, [1, 2], 3)
    folder = tmp_path_factory.mktemp("bundle")
    torch.save(network.state_dict(), folder / "model.pt")
    return write_bundle(folder / "b.zip", inference_config(), (folder / "model.pt").read_bytes()), network


@pytest.fixture(scope="module")
def installed(bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    add_bundle(bundle[0], data, operating_threshold=0.01)
    return data


@pytest.mark.train
def test_an_installed_bundle_is_a_model_like_any_other(bundle: tuple[Path, Any], installed: Path) -> None:
    manifest = get_model(NAME, installed).manifest
    assert manifest.version == "0.6.9"
    assert manifest.spacing_mm == (1.25, 0.703125, 0.703125)
    assert manifest.clearance_status.startswith("Not cleared")
    assert verified_weights(manifest).stat().st_size > 80_000_000
    with pytest.raises(ModelExists):
        add_bundle(bundle[0], installed)


@pytest.mark.train
def test_anchors_boxes_and_suppression_agree_with_monai(bundle: tuple[Path, Any], installed: Path) -> None:
    import onnxruntime
    import torch
    from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
    from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape

    shapes = [[6, 8, 4], [8, 6, 5], [10, 10, 6]]
    generator = AnchorGeneratorWithAnchorShape((1, 2, 4), shapes)
    detector = RetinaNetDetector(bundle[1], generator).eval()
    detector.set_box_selector_parameters(
        score_thresh=0.0, topk_candidates_per_level=100_000, nms_thresh=0.22, detections_per_img=10
    )
    hounsfield = np.random.default_rng(0).integers(-1000, 300, (1, *WINDOW)).astype(np.int16)
    image = torch.from_numpy(np.clip((hounsfield.astype(np.float32) + 1024) / 1324, 0, 1))
    with torch.no_grad():
        wanted = detector([image])[0]
    manifest = get_model(NAME, installed).manifest
    session = onnxruntime.InferenceSession(str(manifest.weights_path), providers=["CPUExecutionProvider"])
    logits, codes = session.run(["logits", "codes"], {"hounsfield": hounsfield})
    settings = manifest.settings
    every = anchors(WINDOW, settings["level_shapes"], settings["anchor_scales"], settings["anchor_shapes"])
    boxes = np.clip(decode(codes[0], every), 0, np.array(WINDOW * 2, np.float32))
    scores = 1 / (1 + np.exp(-logits[0, :, 0]))
    kept = suppress(boxes, scores, 0.22, 10)
    assert scores[kept] == pytest.approx(wanted[detector.pred_score_key].numpy(), abs=1e-5)
    assert boxes[kept] == pytest.approx(wanted[detector.target_box_key].numpy(), abs=1e-2)


@pytest.mark.train
def test_an_installed_bundle_runs_over_a_volume_and_finds_the_right_place(
    installed: Path, make_volume: Callable[..., Any]
) -> None:
    model = get_model(NAME, installed)
    voxels = np.full((50, 90, 130), -1000, np.int16)
    voxels[:, 5:85, 5:125] = 40
    voxels[8:42, 20:70, 15:60] = voxels[8:42, 20:70, 70:115] = -850
    volume = make_volume(voxels, (2.5, 2.0, 2.0))
    prepared = model.preprocess(volume)
    assert all(batch["hounsfield"].shape == (1, *WINDOW) for batch in prepared.batches)
    settings = model.manifest.settings
    every = anchors(WINDOW, settings["level_shapes"], settings["anchor_scales"], settings["anchor_shapes"])
    count = len(prepared.batches)
    outputs = {
        "logits": np.full((count, len(every), 1), -20, np.float32),
        "codes": np.zeros((count, len(every), 6), np.float32),
    }
    chosen, window = len(every) // 3, 1
    outputs["logits"][window, chosen] = 4
    findings = model.postprocess(outputs, prepared.context, volume, {}).findings
    assert len(findings) == 1
    # Right, front, top in window voxels, from the far corner of the box in the patient.
    place = (every[chosen, :3] + every[chosen, 3:]) / 2 + prepared.context.window_starts[window]  # type: ignore[attr-defined]
    box = prepared.context
    index = [box.start_index[0] + place[2] * box.step[0]]  # type: ignore[attr-defined]
    index += [box.start_index[1] + (box.shape[1] - 1 - place[1]) * box.step[1]]  # type: ignore[attr-defined]
    index += [box.start_index[2] + (box.shape[2] - 1 - place[0]) * box.step[2]]  # type: ignore[attr-defined]
    assert findings[0].center_lps_mm == pytest.approx(tuple(volume.to_lps_mm(np.array(index))), abs=0.01)


@pytest.mark.train
def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "owned",))

    path = write_bundle(tmp_path / "b.zip", inference_config(), pickle.dumps(Bomb()))
    with pytest.raises(InvalidBundle):
        add_bundle(path, tmp_path / "data")
    assert not (tmp_path / "owned").exists()
    assert list_models(tmp_path / "data") == list_models()
