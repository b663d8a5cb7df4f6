"""What training shows the network: patches, what is painted into them, and the targets. Needs the extra `train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.lung_nodule_ct.scenes import DEPTH_STEP_MM, Scene

if TYPE_CHECKING:
    from torch import Tensor

    from models.lung_nodule_ct.patches import Part, PatchSampler, Recipe

pytestmark = pytest.mark.train


def sampler_of(scene: Scene, part: Part, patch: int, seed: int = 0) -> PatchSampler:
    import torch

    from models.lung_nodule_ct.patches import RECIPES, PatchSampler, hold

    torch.manual_seed(seed)
    rng, device = np.random.default_rng(seed), torch.device("cpu")
    return PatchSampler(RECIPES[part], patch, rng, device, [hold(scene, RECIPES[part], device, rng)])


def ball_scene(center: tuple[float, float, float], diameter: float, side: int = 128) -> Scene:
    """A dark cube of lung with one bright ball in it."""
    grid = np.ogrid[0:side, 0:side, 0:side]
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)))
    inside = np.minimum.reduce(np.broadcast_arrays(*(np.minimum(g, side - 1 - g) for g in grid))) - 8
    voxels = np.where(distance <= diameter / 2, 40, np.where(inside > 0, -850, 40)).astype(np.int16)
    depth = np.clip(inside / DEPTH_STEP_MM, -127, 127).astype(np.int8)
    return Scene(voxels, depth, np.array([center]), np.array([diameter]), scanned=True)


def bright_middle(image: Tensor) -> list[float]:
    weight = (image - 0.2).clamp(min=0).numpy()
    return [float((weight * axis).sum() / weight.sum()) for axis in np.indices(weight.shape)]


def test_the_peak_of_the_heat_map_and_its_offset_lead_back_to_the_centre() -> None:
    import torch

    from models.lung_nodule_ct.patches import targets

    center = torch.tensor([[[20.3, 31.9, 40.6]]])
    heat, regression, weight = targets(center, torch.tensor([[9.0]]), 32)
    peaks = (heat[0] == 1).nonzero()
    assert len(peaks) == 1
    z, y, x = (int(i) for i in peaks[0])
    found = (peaks[0] + regression[0, :3, z, y, x]) * 2 + 0.5
    assert found.tolist() == pytest.approx(center[0, 0].tolist(), abs=1e-4)
    assert float(regression[0, 3, z, y, x].exp()) == pytest.approx(9.0, rel=1e-5)
    assert float(weight[0, z, y, x]) == 1


def test_what_is_too_small_for_a_network_is_neither_right_nor_wrong_and_nothing_is_cold() -> None:
    import torch

    from models.lung_nodule_ct.patches import NEITHER, targets

    heat, _, weight = targets(torch.zeros(1, 2, 3), torch.zeros(1, 2), 16)
    assert float(heat.max()) == float(weight.max()) == 0
    place, width = torch.full((1, 1, 3), 15.0), torch.tensor([[9.0]])
    heat, _, weight = targets(place, width, 16, find=(20.0, 99.0), neither=(5.0, 99.0))
    assert float(heat.max()) == pytest.approx(NEITHER)
    assert float(weight.max()) == 0
    heat, _, _ = targets(place, width, 16, find=(20.0, 99.0), neither=(10.0, 99.0))
    assert float(heat.max()) == 0


def test_a_lesion_of_the_scene_is_where_the_targets_say_however_the_patch_was_turned() -> None:
    sampler = sampler_of(ball_scene((60.0, 66.0, 71.0), 12.0), "nodules", 64)
    sampler.recipe = without_shapes(sampler)
    seen = 0
    for _ in range(6):
        batch = sampler.batch(2)
        for image, heat in zip(batch.image[:, 0], batch.heat, strict=True):
            if len(peaks := (heat == 1).nonzero()) == 1 and int(peaks.min()) > 4 and int(peaks.max()) < 27:
                z, y, x = (2 * int(i) for i in peaks[0])
                near = image[z - 8 : z + 10, y - 8 : y + 10, x - 8 : x + 10]
                # A breath between two slices displaces some patches by up to three voxels, a moving heart by one.
                assert bright_middle(near) == pytest.approx([8.5, 8.5, 8.5], abs=4)
                seen += 1
    assert seen >= 2


def test_a_false_alarm_is_remembered_where_it_was() -> None:
    sampler = sampler_of(ball_scene((60.0, 66.0, 71.0), 12.0), "nodules", 64)
    sampler.recipe = without_shapes(sampler)
    while not sampler.mistakes:
        batch = sampler.batch(2)
        for origin, heat in zip(batch.origins, batch.heat, strict=True):
            for peak in (heat == 1).nonzero().tolist():
                sampler.report_mistakes(origin, peak)
    scene, place = sampler.mistakes[0]
    assert scene == 0
    assert place == pytest.approx([60.0, 66.0, 71.0], abs=2.0)


def test_a_mass_keeps_its_place_and_size_on_the_coarser_grid() -> None:
    sampler = sampler_of(ball_scene((100.0, 96.0, 104.0), 40.0, side=200), "masses", 32)
    sampler.recipe = without_shapes(sampler)
    batch = sampler.batch(4)
    peaks = (batch.heat == 1).nonzero()
    assert len(peaks) >= 1
    for row, *place in peaks.tolist():
        size = float(batch.regression[row, 3, place[0], place[1], place[2]].exp())
        assert size == pytest.approx(40 / 4, rel=0.2)  # the chest was scaled by up to 18 %


def test_a_breath_between_two_slices_moves_the_truth_with_the_lesion(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.lung_nodule_ct import patches

    monkeypatch.setattr(patches, "BREATHS", 1.0)
    sampler = sampler_of(ball_scene((60.0, 66.0, 71.0), 12.0), "nodules", 64)
    moved = 0
    for _ in range(6):
        hounsfield, _, places, _, _ = sampler._cut()
        # Room for the ball and the step on every side.
        if not len(places) or places.min() < 12 or (np.array(hounsfield.shape) - places[0]).min() < 12:
            continue
        after = hounsfield.clone()[None]
        told = sampler._breathe(after, torch_of(places)[None])[0, 0]
        if bool((after[0, int(places[0][0]) - 7] != hounsfield[int(places[0][0]) - 7]).any()):
            # The whole ball lies above the step.
            z, y, x = (round(float(axis)) for axis in told)
            near = after[0, z - 10 : z + 11, y - 10 : y + 11, x - 10 : x + 11] > -400
            found = near.nonzero().float().mean(0) - 10 + torch_of(np.array([z, y, x]))
            assert found.tolist() == pytest.approx(told.tolist(), abs=0.6)
            assert 1 <= float(told[1]) - places[0][1] <= 3
            moved += 1
    assert moved >= 1


def test_a_painted_lesion_is_where_it_says_and_leaves_the_lesions_before_it_alone() -> None:
    import torch

    from models.lung_nodule_ct.patch_shapes import MASS_FAMILIES, paint

    torch.manual_seed(1)
    rng, sides = np.random.default_rng(1), (6, 80, 80, 80)
    lung, depth = torch.full(sides, -850.0), torch.full(sides, 20.0)
    before = torch.full((6, 1, 3), 12.0)
    painted = paint(rng, MASS_FAMILIES[:1], lung, depth, 2.0, before, torch.full((6, 1), 8.0))
    assert painted.lesion.any()
    for row in range(6):
        changed = (lung[row] > -400).nonzero().float()
        if not painted.lesion[row]:
            assert len(changed) == 0
            continue
        assert float((painted.centers[row] - 12).norm()) > 8
        assert painted.centers[row].tolist() == pytest.approx(changed.mean(0).tolist(), abs=1.5)
        volume = 4 / 3 * np.pi * float(painted.diameters[row] / 2) ** 3
        assert 0.5 * volume < len(changed) < 1.5 * volume


def test_a_lesion_that_nobody_could_see_is_not_painted() -> None:
    import torch

    from models.lung_nodule_ct.patch_shapes import NODULE_FAMILIES, paint

    tissue, depth = torch.full((8, 48, 48, 48), 20.0), torch.full((8, 48, 48, 48), 20.0)
    solid = NODULE_FAMILIES[:1]
    painted = paint(
        np.random.default_rng(0), solid, tissue, depth, 1.0, torch.zeros(8, 1, 3), torch.zeros(8, 1)
    )
    assert not painted.lesion.any()
    assert bool((tissue == 20).all())


def torch_of(array: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(array.astype(np.float32))


def without_shapes(sampler: PatchSampler) -> Recipe:
    """The sampler's recipe with nothing painted into its patches."""
    from dataclasses import replace

    return replace(sampler.recipe, rounds=(0, 0))
