"""What lies beside the lungs and differs between people: fat, organs below the diaphragm, heart, gas in bowel."""

from __future__ import annotations

import numpy as np

from models.lung_nodule_ct.phantom_anatomy import Chest
from models.lung_nodule_ct.phantom_shapes import Array, draw_ball, draw_tube, smooth_noise, upsample_by_two

# What touches the lungs keeps a rim of this width, so that the lungs' shape stays what it is.
RIM_MM = 2.0


def draw_surroundings(rng: np.random.Generator, chest: Chest) -> None:
    """Paint around the lungs, never into them; `chest.depth_mm` and the truth of lesions stay as they are."""
    hu, shape = chest.hu, chest.hu.shape
    before = hu.copy()
    tissue = (before > -200) & (before < 200)
    _organs(rng, chest)
    _heart(rng, chest)
    coarse = tuple(-(-length // 2) for length in shape)
    fat = _clear_of(smooth_noise(rng, coarse, rng.uniform(4, 14)), rng.uniform(0.4, 2.2))
    hu += (rng.uniform(-120, -70) - hu) * upsample_by_two(fat, shape)
    grain = smooth_noise(rng, coarse, rng.uniform(3, 20)) * np.float32(rng.uniform(2, 20))
    hu += upsample_by_two(grain, shape)
    _bowel(rng, chest)
    outside = np.clip(-chest.depth_mm / RIM_MM, 0, 1) * tissue
    hu[:] = before + (hu - before) * outside
    _contrast(rng, chest)


def _clear_of(noise: Array, level: float) -> Array:
    return np.asarray(np.clip((noise - np.float32(level)) * 3, 0, 1), np.float32)


def _organs(rng: np.random.Generator, chest: Chest) -> None:
    """Liver and spleen below the domes."""
    _, y, x = chest.center
    height = chest.hu.shape[0] * rng.uniform(0.05, 0.25)
    across = chest.thorax_mm[1]
    enhanced = rng.uniform(0, 90) if rng.random() < 0.6 else 0.0
    liver = np.array([height, y + rng.uniform(-20, 10), x - across * rng.uniform(0.2, 0.5)])
    draw_ball(
        chest.hu, liver, rng.uniform(55, 110, 3), rng.uniform(35, 65) + enhanced, mode="set", softness_mm=6
    )
    spleen = np.array([height, y + rng.uniform(10, 60), x + across * rng.uniform(0.45, 0.8)])
    draw_ball(
        chest.hu, spleen, rng.uniform(25, 60, 3), rng.uniform(35, 60) + enhanced, mode="set", softness_mm=4
    )


def _heart(rng: np.random.Generator, chest: Chest) -> None:
    """Chambers with blood as bright as in the lungs' vessels or less, in muscle and fat."""
    _, y, x = chest.center
    middle = np.array(
        [chest.hu.shape[0] * rng.uniform(0.28, 0.4), y - rng.uniform(10, 35), x + rng.uniform(5, 25)]
    )
    muscle = rng.uniform(30, 120)
    draw_ball(chest.hu, middle, rng.uniform(35, 60, 3), muscle, mode="set", softness_mm=4)
    for _ in range(rng.integers(2, 6)):
        place = middle + rng.normal(0, 18, 3)
        blood = muscle + (chest.blood_hu - muscle) * rng.uniform(0, 1.1)
        draw_ball(chest.hu, place, rng.uniform(10, 32, 3), blood, mode="set", softness_mm=4)


def _bowel(rng: np.random.Generator, chest: Chest) -> None:
    """Stomach and colon below the left dome, with gas and without."""
    _, y, x = chest.center
    for _ in range(rng.integers(0, 5)):
        place = np.array(
            [rng.uniform(0, 50), y + rng.uniform(-50, 40), x + chest.thorax_mm[1] * rng.uniform(-0.1, 0.8)]
        )
        radii = rng.uniform(8, 38, 3)
        draw_ball(chest.hu, place, radii, rng.uniform(-20, 60), mode="set", softness_mm=2)
        if rng.random() < 0.6:
            gas = place - (0, radii[1] * rng.uniform(0, 0.4), 0)
            draw_ball(chest.hu, gas, radii * rng.uniform(0.4, 0.9), -970, mode="set", softness_mm=1.5)


def _contrast(rng: np.random.Generator, chest: Chest) -> None:
    """Undiluted contrast in the superior vena cava and the arm's vein of some."""
    if rng.random() < 0.3:
        z, y, x = chest.hu.shape[0], chest.center[1], chest.center[2]
        bottom = np.array([z * rng.uniform(0.4, 0.6), y - 14, x - rng.uniform(20, 28)])
        top = np.array([z * rng.uniform(0.8, 0.95), y - 20, x - rng.uniform(14, 26)])
        draw_tube(chest.hu, bottom, top, (rng.uniform(4, 8), rng.uniform(4, 8)), rng.uniform(300, 1500))
