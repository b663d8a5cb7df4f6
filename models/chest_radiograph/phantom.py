"""Synthetic chest radiographs with findings of known place. They are made, not measured."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.chest_radiograph.phantom_body import Array, Body, Style, Vector, make_body, sample
from models.chest_radiograph.phantom_bones import Piece, make_bones
from models.chest_radiograph.phantom_film import PIXEL_MM, Projection, added, expose, vessel_cloud
from models.chest_radiograph.phantom_findings import Lungs, make_lungs
from models.chest_radiograph.postprocess import FINDINGS
from models.lung_nodule_ct.phantom_vessels import grow_tree, tree_pieces

# A finding that lies over less than this many mm of the beam's way is not to be seen.
_VISIBLE_MM = {"nodule_or_mass": 4.0, "cardiomegaly": 4.0}
_VISIBLE_MM_ELSE = 13.0
SIZE_PX = 288
# About a nodule of 9 mm.
_SEEN_PX_MIN = 20
BLOOD = 1.05


@dataclass(frozen=True)
class Picture:
    """One synthetic radiograph.

    pixels: float32 (SIZE_PX, SIZE_PX) in about [0, 1], bright where dense. kind: what it shows, see `KINDS`.
    findings: names of what is in it. masks: where each of `FINDINGS` is, bool (finding, row, column).
    facts: how it was made, for subgroups.
    """

    pixels: Array
    kind: str
    findings: frozenset[str] = frozenset()
    masks: NDArray[np.bool_] | None = None
    facts: dict[str, float | str] = field(default_factory=dict)


@dataclass
class Patient:
    """A body with its bones and vessels, from which many pictures are taken."""

    body: Body
    bones: list[list[Piece]]
    vessels: tuple[Vector, Vector, Vector]


def make_patient(rng: np.random.Generator, style: Style) -> Patient:
    """A patient of its own for every state of `rng`."""
    body = make_body(rng, style)
    tubes = []
    depth = body.lung_depth[::2, ::2, ::2]
    inside = np.argwhere(depth > 2) * 6.0
    for hilum in body.hila:
        own = inside[(inside[:, 2] > body.frame.cx) == (hilum[2] > body.frame.cx)]
        for kind in ("artery", "vein"):
            count = min(int(rng.integers(*style.vessel_points)), len(own))
            targets = own[rng.choice(len(own), count, replace=False)] + rng.uniform(-3, 3, (count, 3))
            root = hilum + rng.normal(0, 4, 3) - (np.array([8.0, 8.0, 0.0]) if kind == "vein" else 0)
            tree = grow_tree(rng, root, targets)
            tubes += tree_pieces(rng, tree, wiggle=float(rng.uniform(0.03, 0.12)))
    start, stop = np.array([t.start for t in tubes]), np.array([t.stop for t in tubes])
    radius = np.array([t.radius_mm for t in tubes]) * rng.uniform(1.2, 2.1)
    return Patient(body, make_bones(rng, body), (start, stop, radius))


def draw_findings(rng: np.random.Generator) -> frozenset[str]:
    """None in a third of the pictures, else one to three."""
    count = int(rng.choice([0, 1, 2, 3], p=[0.34, 0.36, 0.2, 0.1]))
    return frozenset(str(name) for name in rng.choice(FINDINGS, count, replace=False))


def draw_projection(rng: np.random.Generator, style: Style) -> Projection:
    """A PA picture, or in one of four cases an AP one from nearer by."""
    is_ap = bool(rng.random() < 0.25)
    return Projection(
        distance_mm=float(rng.uniform(1000, 1300) if is_ap else rng.uniform(1500, 2000)),
        is_reversed=is_ap,
        shear=(float(rng.uniform(*style.tilt)), float(rng.uniform(*style.tilt))),
        focus_up=float(rng.uniform(180, 240)),
    )


def take_frontal(
    rng: np.random.Generator, patient: Patient, findings: frozenset[str], projection: Projection | None = None
) -> Picture:
    """A frontal picture of the patient with `findings` put in."""
    body = patient.body
    projection = projection or draw_projection(rng, body.style)
    lungs = make_lungs(rng, body, findings)
    line = line_integrals(rng, patient, lungs, projection)
    film = expose(rng, body.style, line, hard=float(rng.uniform(0.85, 1.35)))
    film = _things_on_the_film(rng, film)
    crop = _Crop.draw(rng, body, projection)
    pixels = _finish(rng, crop.apply(film))
    masks = np.zeros((len(FINDINGS), *pixels.shape), np.bool_)
    for number, name in enumerate(FINDINGS):
        if name in findings:
            masks[number] = crop.apply(_footprint(lungs, projection, name)) > 0.5
    seen = frozenset(name for name, mask in zip(FINDINGS, masks, strict=True) if mask.sum() > _SEEN_PX_MIN)
    facts: dict[str, float | str] = {
        "view": "AP" if projection.is_reversed else "PA", "sex": "F" if body.is_female else "M",
        "fat_mm": body.frame.fat_mm, "lung_height_mm": body.frame.height, "style": body.style.name,
    }  # fmt: skip
    return Picture(pixels, "frontal", seen, masks, facts)


def line_integrals(rng: np.random.Generator, patient: Patient, lungs: Lungs, projection: Projection) -> Array:
    """mm of water along every ray."""
    body = patient.body
    volume = body.tissue + (lungs.air - body.tissue) * lungs.inside
    line = projection.volume(volume)
    for layer in patient.bones:
        line += projection.tubes(layer)
    start, stop, radius = patient.vessels
    points, amount = vessel_cloud(rng, start, stop, radius)
    amount = amount * (sample(lungs.inside, points) > 0.3)
    if lungs.collapsed is not None:
        amount = amount * (sample(lungs.collapsed, points) < 0.5)
    line += projection.splat(points, added(volume, points, amount, BLOOD))
    for cloud, volume_mm3, attenuation in lungs.clouds:
        line += projection.splat(cloud, added(volume, cloud, volume_mm3, attenuation), 0.8)
    return line


def _footprint(lungs: Lungs, projection: Projection, name: str) -> Array:
    """1 where the finding lies over enough of the beam's way, else 0."""
    line = np.zeros(projection.shape, np.float32)
    if name in lungs.regions:
        line += projection.volume(lungs.regions[name])
    for points, amount in lungs.cloud_regions.get(name, []):
        line += projection.splat(points, amount, 1.0)
    least = _VISIBLE_MM.get(name, _VISIBLE_MM_ELSE)
    if name == "interstitial_pattern":
        least = 0.35 * max(float(line.max()), least)
    return np.asarray(line > least, np.float32)


@dataclass(frozen=True)
class _Crop:
    """What of the detector becomes the picture: centre, half sizes in px and turn in radians."""

    center: tuple[float, float]
    half: tuple[float, float]
    turn: float

    @classmethod
    def draw(cls, rng: np.random.Generator, body: Body, projection: Projection) -> _Crop:
        """The lungs with margins as radiographers choose them."""
        frame = body.frame
        corners = np.array(
            [[frame.apex_z, frame.cy, frame.cx - frame.ax], [frame.base_z, frame.cy, frame.cx + frame.ax]]
        )
        (top, left), (bottom, right) = projection.points(corners)[0]
        margin = np.array([rng.uniform(8, 62), rng.uniform(-6, 60), rng.uniform(4, 58), rng.uniform(4, 58)])
        top, bottom = top - margin[0] / PIXEL_MM, bottom + margin[1] / PIXEL_MM
        left, right = left - margin[2] / PIXEL_MM, right + margin[3] / PIXEL_MM
        return cls(
            (float(top + bottom) / 2, float(left + right) / 2),
            (float(bottom - top) / 2, float(right - left) / 2),
            float(rng.normal(0, 0.045)),
        )

    def apply(self, picture: Array, size: int = SIZE_PX) -> Array:
        """The crop stretched to a square."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        step = np.array([2 * self.half[0] / size, 2 * self.half[1] / size])
        matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag(step)
        offset = np.array(self.center) - matrix @ np.full(2, (size - 1) / 2)
        return np.asarray(
            ndimage.affine_transform(picture, matrix, offset, (size, size), order=1, mode="nearest"),
            np.float32,
        )


def _things_on_the_film(rng: np.random.Generator, film: Array) -> Array:
    """Wires, electrodes and catheters, which are no finding."""
    film = film.copy()
    low, high = np.quantile(film, (0.05, 0.95))
    contrast = float(high - low)
    if rng.random() < 0.2:
        for _ in range(rng.integers(1, 5)):
            points = rng.uniform((0.1, 0.2), (0.95, 0.8), (3, 2)) * film.shape
            t = np.linspace(0, 1, 500)[:, None]
            curve = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
            row, column = np.rint(curve).astype(int).T
            width = int(rng.integers(1, 3))
            for shift in range(width):
                film[row, np.minimum(column + shift, film.shape[1] - 1)] += contrast * rng.uniform(0.05, 0.3)
        row, column = np.ogrid[: film.shape[0], : film.shape[1]]
        for _ in range(rng.integers(0, 4)):
            a, b = rng.uniform((0.25, 0.25), (0.75, 0.75)) * film.shape
            film += (
                ((row - a) ** 2 + (column - b) ** 2 < rng.uniform(2, 5) ** 2)
                * contrast
                * rng.uniform(0.1, 0.4)
            )
    return film


def _finish(rng: np.random.Generator, pixels: Array) -> Array:
    """Side marker, borders of the collimator or of a scanned film."""
    size = len(pixels)
    pixels = pixels.copy()
    low, high = float(pixels.min()), float(pixels.max())
    if rng.random() < 0.6:
        row, column = (
            int(rng.integers(4, size // 3)),
            int(rng.choice([rng.integers(3, 40), rng.integers(size - 60, size - 22)])),
        )
        tall, wide, thick = int(rng.integers(10, 20)), int(rng.integers(6, 14)), int(rng.integers(2, 4))
        ink = rng.uniform(0.85, 1.05) * high
        pixels[row : row + tall, column : column + thick] = ink
        pixels[row + tall - thick : row + tall, column : column + wide] = ink
        if rng.random() < 0.5:
            pixels[row : row + thick, column : column + wide] = ink
    if rng.random() < 0.3:
        level = high if rng.random() < 0.7 else low
        for axis in (0, 1):
            for side in (0, 1):
                if rng.random() < 0.5:
                    width = int(rng.integers(2, 16))
                    part = [slice(None), slice(None)]
                    part[axis] = slice(0, width) if side == 0 else slice(size - width, size)
                    pixels[tuple(part)] = level
    return pixels
