"""Training and export of the lobes, short. Needs the extra `train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.lung_ct_segmentation import dataset
from models.lung_ct_segmentation.phantom import make_phantom
from models.lung_ct_segmentation.phantom_style import TRAIN

pytestmark = pytest.mark.train


def test_a_short_training_writes_a_checkpoint_that_exports_to_the_same_labels(tmp_path: Path) -> None:
    import onnxruntime
    import torch

    from models.lung_ct_segmentation.export import export, load_network
    from models.lung_ct_segmentation.network import Segmenter
    from models.lung_ct_segmentation.train import train

    phantom = dataset.cut_to_lungs(make_phantom(1, style=TRAIN, grid_mm=dataset.TRAIN_GRID_MM))
    dataset.write(tmp_path / "train_1.npz", phantom)
    assert train(tmp_path, tmp_path / "checkpoint.pt", minutes=0.3, threads=1) >= 1
    export(tmp_path / "checkpoint.pt", tmp_path / "model.onnx")
    hounsfield = np.random.default_rng(0).integers(-1000, 300, (1, 48, 64, 80)).astype(np.int16)
    with torch.no_grad():
        wanted = Segmenter(load_network(tmp_path / "checkpoint.pt"))(torch.from_numpy(hounsfield)).numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (got,) = session.run(["labels"], {"hounsfield": hounsfield})
    assert got.dtype == np.uint8
    assert got.shape == hounsfield.shape
    assert np.mean(got == wanted) > 0.999  # at a border the last bit may decide


def test_the_losses_are_least_for_the_truth() -> None:
    import torch

    from models.lung_ct_segmentation.train import losses

    shares = torch.zeros(1, 6, 4, 4, 4)
    shares[:, 1, :2] = 1
    shares[:, 3, 2:] = 1
    right, wrong = shares * 20, shares.roll(1, dims=1) * 20
    assert sum(one.item() for one in losses(right, shares)) < 0.01
    assert sum(one.item() for one in losses(wrong, shares)) > 5


def test_training_without_data_says_what_to_do(tmp_path: Path) -> None:
    from models.lung_ct_segmentation.train import train

    with pytest.raises(FileNotFoundError, match=r"models\.lung_ct_segmentation\.dataset"):
        train(tmp_path, tmp_path / "checkpoint.pt", minutes=1)
