"""Training and export, short. Needs the extra `train`."""

from pathlib import Path

import numpy as np
import pytest

from models.lung_nodule_ct import dataset, scenes
from models.lung_nodule_ct.phantom import make_phantom
from models.registry import get_model

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


def test_masses_are_learnt_on_a_coarser_grid(tmp_path: Path) -> None:
    from models.lung_nodule_ct.export import load_network
    from models.lung_nodule_ct.network import mass_net
    from models.lung_nodule_ct.train import train

    scenes.write(tmp_path / "train_1.npz", scenes.make_scene(1))
    assert train(tmp_path, tmp_path / "masses.pt", minutes=0.4, part="masses", patch=32, batch_size=2) >= 1
    trained = load_network(tmp_path / "masses.pt").state_dict()
    assert trained.keys() == mass_net().state_dict().keys()


def test_the_exported_graph_equals_its_networks(tmp_path: Path) -> None:
    import onnxruntime
    import torch

    from models.lung_nodule_ct.export import export, load_network
    from models.lung_nodule_ct.network import Detector, Mean, NoduleNet, mass_net
    from models.lung_nodule_ct.train import save

    torch.manual_seed(0)
    nodules, *masses = paths = [tmp_path / name for name in ("nodules.pt", "masses.pt", "others.pt")]
    networks = ("nodules", NoduleNet()), ("masses", mass_net()), ("masses", mass_net())
    for path, (part, network) in zip(paths, networks, strict=True):
        # A head of zeros scores every voxel alike, and then the order of the candidates is arbitrary; so it is
        # where many scores are exactly 1. The bias lifts some of the masses above the cut-off.
        torch.nn.init.normal_(network.head.weight, std=10.0)
        save(path, network.state_dict(), steps=0, seed=0, part=part)
    export(nodules, masses, tmp_path / "model.onnx", mass_bias=4.0)
    hounsfield = np.random.default_rng(0).integers(-1000, 300, (1, 48, 64, 80)).astype(np.int16)
    with torch.no_grad():
        detector = Detector(load_network(nodules), Mean(map(load_network, masses)), mass_bias=4.0)
        wanted = detector(torch.from_numpy(hounsfield))
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


def test_a_mass_lies_in_the_graphs_answer_where_it_lies_in_the_image() -> None:
    """A network of masses that fires at the brightest place: its centre comes back in voxels of the input."""
    import torch

    from models.lung_nodule_ct.network import COARSE, STRIDE, Detector, NoduleNet

    class Brightest(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            score = torch.nn.functional.avg_pool3d(image, STRIDE) * 20 - 10
            flat = torch.zeros_like(score)
            return torch.cat([score, flat, flat, flat, flat + np.log(10.0)], dim=1)

    hounsfield = torch.full((1, 64, 64, 64), -1000, dtype=torch.int16)
    hounsfield[:, 16:24, 40:48, 8:16] = 600  # one output voxel of the coarse network
    with torch.no_grad():
        scores, centers, diameters = Detector(NoduleNet(), Brightest())(hounsfield)
    assert float(scores[0, 0]) > 0.99
    assert centers[0, 0].tolist() == pytest.approx([19.5, 43.5, 11.5])
    assert float(diameters[0, 0]) == pytest.approx(10 * COARSE, rel=1e-4)


@pytest.mark.parametrize("place", [(20, 16, 30), (0, 31, 38)])
def test_a_peak_that_is_looked_at_again_keeps_its_place_and_is_judged_both_ways_round(
    place: tuple[int, int, int],
) -> None:
    """A network that wants the next slice bright too and sees centres further on: mirrored, both turn round."""
    import torch

    from models.lung_nodule_ct.network import STRIDE, look_again

    class Lopsided(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            bright = torch.nn.functional.avg_pool3d(image, STRIDE)
            following = torch.nn.functional.pad(bright, (0, 0, 0, 0, 0, 1))[:, :, 1:]
            flat = torch.zeros_like(bright)
            return torch.cat(
                [4 * bright + following - 2, flat + 0.3, flat, flat - 0.2, flat + np.log(10.0)], dim=1
            )

    image = torch.zeros(1, 1, 48, 64, 80)
    z, y, x = (STRIDE * one for one in place)
    image[:, :, z : z + 2, y : y + 2, x : x + 2] = 1.0
    image[:, :, z + 2 : z + 4, y : y + 2, x : x + 2] = 0.5
    scores, centers, diameters = look_again(Lopsided(), image, Lopsided()(image))
    best = int(scores[0].argmax())
    assert float(scores[0, best].logit()) == pytest.approx((2.5 + 2.0) / 2, abs=1e-4)
    assert centers[0, best].tolist() == pytest.approx([z + 0.5, y + 0.5, x + 0.5])
    assert float(diameters[0, best]) == pytest.approx(10.0, rel=1e-4)


def test_the_networks_come_back_out_of_the_released_graph() -> None:
    import onnxruntime
    import torch

    from models.lung_nodule_ct.released import detector_of

    model = get_model("lung_nodule_ct").manifest.weights_path
    hounsfield = np.random.default_rng(0).integers(-1000, 300, (1, 48, 64, 80)).astype(np.int16)
    with torch.no_grad():
        scores, centers, _ = (one.numpy() for one in detector_of(model)(torch.from_numpy(hounsfield)))
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    served = session.run(["scores", "centers"], {"hounsfield": hounsfield})
    assert served[0] == pytest.approx(scores, abs=1e-4)
    assert np.ptp(scores) > 0.01
    assert served[1][0, :5] == pytest.approx(centers[0, :5], abs=1e-2)


def test_a_released_network_goes_on_with_batch_statistics_from_where_it_stood() -> None:
    """Folded into the graph and measured anew: it computes the same, and almost the same with those of a batch."""
    import torch

    from models.lung_nodule_ct.network import NoduleNet
    from models.lung_nodule_ct.released import network_of
    from models.lung_nodule_ct.train import measure_statistics

    network = NoduleNet()
    network.load_state_dict(network_of(get_model("lung_nodule_ct").manifest.weights_path, "nodules"))
    image = torch.from_numpy(np.random.default_rng(0).random((4, 1, 48, 48, 48), np.float32))
    with torch.no_grad():
        folded = network.eval()(image)
        astray = network.train()(image)
        network.load_state_dict(network_of(get_model("lung_nodule_ct").manifest.weights_path, "nodules"))
        measure_statistics(network, [image[:2], image[2:]])
        measured = network.eval()(image)
        trained = network.train()(image)
    assert float((measured - folded).abs().max()) < 1e-3
    assert float((trained - folded).abs().mean()) < 0.02 * float((astray - folded).abs().mean())


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
