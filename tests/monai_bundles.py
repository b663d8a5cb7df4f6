"""MONAI bundles as the public model zoo lays them out, with networks of random weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from models.monai_config import Bundle

SIDE = 32


def segmentation(**changes: Any) -> dict[str, Any]:
    """configs/inference.json as spleen_ct_segmentation has it, with a smaller network and window."""
    return {
        "network_def": {
            "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8],
            "strides": [2], "num_res_units": 1, "norm": "batch",
        },
        "displayable_configs": {"highres": True},
        "pixdim": "$[1.5, 1.5, 2.0] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
        "image_key": "image",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": "@pixdim", "mode": "bilinear"},
                {
                    "_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0,
                    "b_max": 1, "clip": True,
                },
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [SIDE] * 3, "sw_batch_size": 4},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
        },
        **changes,
    }  # fmt: skip


def segmentation_metadata(modality: str = "CT") -> dict[str, Any]:
    return {
        "version": "0.2.0", "task": "Decathlon spleen segmentation", "authors": "MONAI team",
        "intended_use": "This is an example, not to be used\nfor diagnostic purposes",
        "eval_metrics": {"mean_dice": 0.96},
        "network_data_format": {
            "inputs": {"image": {"modality": modality, "num_channels": 1}},
            "outputs": {
                "pred": {
                    "format": "segmentation",
                    "channel_def": {"0": "background", "1": "spleen", "2": "rib_left_1"},
                }
            },
        },
    }  # fmt: skip


def classification(**changes: Any) -> dict[str, Any]:
    """configs/inference.json as breast_density_classification has it, with a network of MONAI's own."""
    return {
        "network_def": {"_target_": "SEResNet50", "spatial_dims": 2, "in_channels": 3, "num_classes": 4},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "ScaleIntensityd", "keys": "image", "minv": 0.0, "maxv": 1.0},
                {"_target_": "Resized", "keys": "image", "spatial_size": [64, 48]},
            ],
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}],
        },
        **changes,
    }


def classification_metadata(modality: str = "Mammogram") -> dict[str, Any]:
    return {
        "version": "0.1.0", "task": "Breast Density Classification", "authors": "A clinic",
        "network_data_format": {
            "inputs": {"image": {"modality": modality, "num_channels": 3}},
            "outputs": {
                "pred": {"format": "labels", "channel_def": {"0": "A", "1": "B", "2": "C", "3": "D"}}
            },
        },
    }  # fmt: skip


def bundle_of(inference: dict[str, Any], metadata: dict[str, Any]) -> Bundle:
    return Bundle(metadata, inference, "", "")


def write_bundle(path: Path, inference: dict[str, Any], metadata: dict[str, Any], weights: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("theirs/configs/metadata.json", json.dumps(metadata))
        bundle.writestr("theirs/configs/inference.json", json.dumps(inference))
        bundle.writestr("theirs/models/model.pt", weights)
        bundle.writestr("theirs/docs/README.md", "# Theirs\n\nSegments the spleen.\n")
        bundle.writestr("theirs/LICENSE", "Apache License 2.0\n")
    return path
