"""Training and export, short. Needs the extra `train`."""

from pathlib import Path

import numpy as np
import pytest

from models.lung_nodule_ct import dataset
from models.lung_nodule_ct.phantom import make_phantom

pytestmark = pytest.mark.train


def test_a_short_training_writes_a_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    from models.lung_nodule_ct.export import load_network
    from models.lung_nodule_ct.network import NoduleNet
    from models.lung_nodule_ct.train import train

    dataset.write(tmp_path / "train_1.npz", make_phantom(1, spacing_mm=(2.0, 1.0, 1.0), nodule_count=8))
    steps = train(tmp_path, tmp_path / "checkpoint.pt", minutes=0.4, batch_size=2)
    assert steps >= 1
    trained = load_network(tmp_path / "checkpoint.pt").state_dict()
    fresh = NoduleNet().state_dict()
    assert trained.keys() == fresh.keys()
    assert bool((trained["head.weight"] != 0).any())  # a fresh head is all zero


def test_the_exported_graph_equals_the_network(tmp_path: Path) -> None:
    import onnxruntime
    import torch

    from models.lung_nodule_ct.export import export, load_network
    from models.lung_nodule_ct.network import Detector, NoduleNet
    from models.lung_nodule_ct.train import save

    torch.manual_seed(0)
    network = NoduleNet()
    # A head of zeros scores every voxel alike, and then the order of the candidates is arbitrary.
    torch.nn.init.normal_(network.head.weight, std=100.0)
    save(tmp_path / "checkpoint.pt", network.state_dict(), steps=0, seed=0)
    export(tmp_path / "checkpoint.pt", tmp_path / "model.onnx")
    hounsfield = np.random.default_rng(0).integers(-1000, 300, (1, 48, 64, 80)).astype(np.int16)
    with torch.no_grad():
        wanted = Detector(load_network(tmp_path / "checkpoint.pt"))(torch.from_numpy(hounsfield))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    got = session.run(["scores", "centers", "diameters"], {"hounsfield": hounsfield})
    scores, centers, diameters = (theirs.numpy()[0] for theirs in wanted)
    assert np.ptp(scores) > 0.05
    assert got[0][0] == pytest.approx(scores, abs=1e-3)
    for center, diameter, score in zip(got[1][0], got[2][0], got[0][0], strict=True):
        if score < scores[-1] + 2e-3:
            continue  # at the cut-off either side may have kept the other of two equals
        nearest = int(np.linalg.norm(centers - center, axis=1).argmin())
        assert center == pytest.approx(centers[nearest], rel=1e-3, abs=1e-2)
        assert diameter == pytest.approx(diameters[nearest], rel=1e-3)


def test_training_without_data_says_what_to_do(tmp_path: Path) -> None:
    from models.lung_nodule_ct.train import train

    with pytest.raises(FileNotFoundError, match=r"models\.lung_nodule_ct\.dataset"):
        train(tmp_path, tmp_path / "checkpoint.pt", minutes=1)


def test_the_loss_falls_when_the_network_is_right() -> None:
    import torch

    from models.lung_nodule_ct.train import losses

    heat = torch.zeros(1, 8, 8, 8)
    heat[0, 4, 4, 4] = 1
    regression, weight = torch.zeros(1, 4, 8, 8, 8), heat.clone()
    right = torch.full((1, 5, 8, 8, 8), -6.0)
    right[:, 1:] = 0
    right[0, 0, 4, 4, 4] = 6
    wrong = right.clone()
    wrong[0, 0, 4, 4, 4], wrong[0, 0, 1, 1, 1], wrong[0, 1, 4, 4, 4] = -6, 6, 2
    good, bad = losses(right, heat, regression, weight), losses(wrong, heat, regression, weight)
    assert good[0] < 0.01 < bad[0]
    assert good[1] == 0 < bad[1]
