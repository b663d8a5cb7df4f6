"""Pictures that are no frontal chest radiograph as the model may judge it: they teach it to refuse."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from models.chest_radiograph.phantom import (
    SIZE_PX,
    Patient,
    Picture,
    draw_findings,
    line_integrals,
    take_frontal,
)
from models.chest_radiograph.phantom_body import STEP_MM, Array, Vector, grid_mm, noise
from models.chest_radiograph.phantom_bones import Piece
from models.chest_radiograph.phantom_film import PIXEL_MM, Projection, expose
from models.chest_radiograph.phantom_findings import make_lungs
from models.lung_nodule_ct.phantom_shapes import smooth_noise


def _square(picture: Array, rng: np.random.Generator, turn: float = 0.0) -> Array:
    """The picture, cropped a little at random, turned and stretched to a square."""
    top, left = (int(rng.uniform(0, 0.08) * length) for length in picture.shape)
    bottom, right = (int(rng.uniform(0.92, 1) * length) for length in picture.shape)
    part = picture[top:bottom, left:right]
    if turn:
        part = ndimage.rotate(part, turn, reshape=False, order=1, mode="nearest")
    zoom = np.array([SIZE_PX, SIZE_PX]) / part.shape
    return np.asarray(ndimage.zoom(part, zoom, order=1, grid_mode=True, mode="nearest"), np.float32)


def lateral(rng: np.random.Generator, patient: Patient) -> Picture:
    """From the side, upright or lying, a person or about as long as a dog."""
    body = patient.body
    projection = Projection(
        axes=(0, 2, 1), distance_mm=float(rng.uniform(1200, 2000)), is_reversed=bool(rng.random() < 0.5),
        shear=(float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.15, 0.15))),
    )  # fmt: skip
    lungs = make_lungs(rng, body, draw_findings(rng))
    line = line_integrals(rng, patient, lungs, projection)
    if rng.random() < 0.5:
        line = line[:, ::-1]
    top, bottom = (
        int(projection.shape[0] - (body.frame.z_at(share) + rng.uniform(-30, 30)) / PIXEL_MM)
        for share in (1.15, -0.12)
    )
    picture = expose(rng, body.style, line[max(top, 0) : bottom])
    turns = int(rng.choice([0, 0, 0, 1, 3]))
    return Picture(_square(np.rot90(picture, turns), rng, float(rng.normal(0, 4))), "lateral")


def inverted(rng: np.random.Generator, patient: Patient) -> Picture:
    """A frontal picture, black and white exchanged."""
    return Picture(1 - take_frontal(rng, patient, draw_findings(rng)).pixels, "inverted")


def turned(rng: np.random.Generator, patient: Patient) -> Picture:
    """A frontal picture on its side or upside down."""
    pixels = take_frontal(rng, patient, draw_findings(rng)).pixels
    return Picture(np.ascontiguousarray(np.rot90(pixels, int(rng.integers(1, 4)))), "turned")


def cropped(rng: np.random.Generator, patient: Patient) -> Picture:
    """Half a chest or less: right, left, upper or lower part, or a small window."""
    pixels = take_frontal(rng, patient, draw_findings(rng)).pixels
    size = SIZE_PX
    keep = int(size * rng.uniform(0.35, 0.58))
    across, down = slice(0, size), slice(0, size)
    match int(rng.integers(5)):
        case 0:
            across = slice(0, keep)
        case 1:
            across = slice(size - keep, size)
        case 2:
            down = slice(0, keep)
        case 3:
            down = slice(size - keep, size)
        case _:
            row, column = (int(v) for v in rng.integers(0, size - keep, 2))
            down, across = slice(row, row + keep), slice(column, column + keep)
    return Picture(_square(pixels[down, across], rng), "cropped")


def _limb(rng: np.random.Generator, chains: list[list[Vector]], flesh: float, bone: float) -> Array:
    """Line integrals of chains of bones in flesh, all at one depth; points are (row, column) px of a 300 grid."""
    projection = Projection()
    flesh_pieces: list[Piece] = []
    bone_pieces: list[Piece] = []
    shell, core = rng.uniform(1.0, 1.8), rng.uniform(0.2, 0.5)
    for chain in chains:
        for a, b in itertools.pairwise(chain):
            start, stop = (np.array([400 - p[0], 0.0, p[1] + 60]) for p in (a, b))
            flesh_pieces.append((start, stop, flesh, 0.0, 1.05, 0.0))
            gap = (stop - start) * 0.06
            bone_pieces.append((start + gap, stop - gap, bone, bone * rng.uniform(0.5, 0.8), shell, core))
            for end in (start + gap, stop - gap):
                bone_pieces.append((end, end + 0.5, bone * 1.35, bone * 1.1, shell * 0.7, core))
    return projection.tubes(flesh_pieces) + projection.tubes(bone_pieces)


def _hand(rng: np.random.Generator) -> Array:
    wrist = np.array([300.0, 170.0])
    chains = []
    for number, angle in enumerate(np.linspace(-0.75, 0.45, 5) + rng.normal(0, 0.05)):
        direction = np.array([-np.cos(angle), np.sin(angle)])
        length = (150 if number == 0 else 235 - 10 * abs(number - 2)) * rng.uniform(0.9, 1.05)
        chains.append(
            [wrist + direction * length * t + rng.normal(0, 2, 2) for t in (0.12, 0.45, 0.68, 0.86, 1)]
        )
    chains += [[wrist, wrist + np.array([100.0, dx])] for dx in (-14.0, 16.0)]
    return _limb(rng, chains, flesh=float(rng.uniform(13, 20)), bone=float(rng.uniform(5, 8)))


def _leg(rng: np.random.Generator) -> Array:
    x, joint = rng.uniform(120, 200), rng.uniform(120, 220)
    lean = rng.normal(0, 20)
    chains = [
        [np.array([-60.0, x - lean]), np.array([joint, x])],
        [np.array([joint + 6, x]), np.array([420.0, x + lean])],
    ]
    if rng.random() < 0.6:
        chains.append([np.array([joint + 25, x + 28]), np.array([420.0, x + lean + 30])])
    return _limb(rng, chains, flesh=float(rng.uniform(40, 75)), bone=float(rng.uniform(13, 24)))


def _head(rng: np.random.Generator) -> Array:
    z, y, x = grid_mm()
    center, radii = np.array([230.0, 140, 246]), rng.uniform((95, 75, 62), (120, 95, 80))

    def ball(c: Vector, r: Vector) -> Array:
        level = np.sqrt(sum(((g - m) / q) ** 2 for g, m, q in zip((z, y, x), c, r, strict=True)))
        return np.asarray(np.clip((1 - level) * float(r.min()) / STEP_MM + 0.5, 0, 1), np.float32)

    volume = 1.05 * ball(center, radii) + 1.2 * (ball(center, radii - 5) - ball(center, radii - 12))
    volume = volume + 1.05 * ball(center + np.array([-75.0, -30, 0]), np.array([50.0, 50, 45]))
    for side in (1, -1):
        volume = volume * (1 - ball(center + np.array([-20.0, -70, side * 32]), np.array([18.0, 22, 19])))
        volume = volume * (1 - ball(center + np.array([-55.0, -60, side * 24]), np.array([17.0, 20, 15])))
    neck = np.hypot(y - 160, x - 246) < rng.uniform(45, 60)
    volume = np.maximum(volume, 1.05 * (neck & (z < 170)))
    axes = (0, 1, 2) if rng.random() < 0.5 else (0, 2, 1)
    return Projection(axes=axes, distance_mm=1100).volume(volume.astype(np.float32))[60:300]


def _abdomen(rng: np.random.Generator) -> Array:
    """Below the diaphragm: soft tissue, bowel gas, spine and pelvis."""
    z, y, x = grid_mm()
    wide, deep = rng.uniform(130, 190), rng.uniform(85, 130)
    level = (np.abs((y - 140) / deep) ** 2.3 + np.abs((x - 246) / wide) ** 2.3) ** (1 / 2.3) + 0 * z
    volume = 1.03 * np.clip((1 - level) * deep / STEP_MM + 0.5, 0, 1)
    gas = np.clip((noise(rng, rng.uniform(15, 30)) - rng.uniform(0.9, 1.6)) * 3, 0, 1)
    volume = volume * (1 - gas * (level < 0.75))
    projection = Projection(distance_mm=1100)
    line = projection.volume(volume.astype(np.float32))
    pieces: list[Piece] = []
    for bottom in np.arange(80.0, 430, rng.uniform(33, 38)):
        pieces.append(
            (np.array([bottom, 200, 246.0]), np.array([bottom + 24, 200, 246.0]), 24, 22.5, 0.8, 0.35)
        )
        for side in (1, -1):
            pieces.append(
                (
                    np.array([bottom + 8, 205, 246.0]),
                    np.array([bottom + 12, 205, 246 + side * 50.0]),
                    5,
                    3,
                    1,
                    0.3,
                )
            )
    for side in (1, -1):
        crest = [
            np.array([60 + 75 * np.sin(t), 180, 246 + side * (35 + 100 * np.sin(t * 0.8))])
            for t in np.linspace(0, 1.7, 9)
        ]
        pieces += [(a, b, 16, 13, 0.7, 0.4) for a, b in itertools.pairwise(crest)]
        pieces.append(
            (
                np.array([20.0, 150, 246 + side * 100.0]),
                np.array([22.0, 150, 246 + side * 100.0]),
                26,
                23,
                0.8,
                0.4,
            )
        )
    return line + projection.tubes(pieces)


def _axial(rng: np.random.Generator, patient: Patient) -> Array:
    """A CT slice sent as a radiograph."""
    lungs = make_lungs(rng, patient.body, draw_findings(rng))
    body = patient.body
    volume = body.tissue + (lungs.air - body.tissue) * lungs.inside
    plane = volume[int(body.frame.z_at(rng.uniform(0, 0.9)) / STEP_MM)]
    return np.asarray(plane + rng.normal(0, 0.02, plane.shape), np.float32)


def _texture(rng: np.random.Generator) -> Array:
    """No body at all: noise, ramps, blank exposures, lines of text, blobs."""
    size = (SIZE_PX, SIZE_PX)
    picture = rng.normal(0, rng.choice([0.0, 0.02, 0.3]), size).astype(np.float32)
    for _ in range(rng.integers(0, 3)):
        picture += smooth_noise(rng, (1, *size), float(rng.uniform(4, 100)))[0] * rng.uniform(0, 1)
    if rng.random() < 0.4:
        row, column = np.mgrid[:SIZE_PX, :SIZE_PX] / SIZE_PX
        picture += row * rng.normal() + column * rng.normal()
    if rng.random() < 0.3:
        for top in range(10, SIZE_PX - 14, int(rng.integers(10, 24))):
            letters = np.repeat(np.repeat(rng.random((6, 60)) < 0.5, 1, 0), 4, 1)
            length = int(rng.integers(40, 230))
            picture[top : top + 6, 16 : 16 + length] += letters[:, :length]
    for _ in range(rng.integers(0, 6)):
        row, column = np.ogrid[:SIZE_PX, :SIZE_PX]
        a, b, c, d = rng.uniform((0, 0, 8, 8), (SIZE_PX, SIZE_PX, 100, 100))
        picture += (((row - a) / c) ** 2 + ((column - b) / d) ** 2 < 1) * rng.normal()
    return picture


def other(rng: np.random.Generator, patient: Patient) -> Picture:
    """Another part of the body, a CT slice, or no body."""
    style = patient.body.style
    kind = int(rng.choice(6, p=[0.17, 0.15, 0.17, 0.2, 0.13, 0.18]))
    if kind == 5:
        return Picture(_texture(rng), "other", facts={"what": "no body"})
    if kind == 4:
        return Picture(
            _square(_axial(rng, patient), rng, float(rng.normal(0, 5))), "other", facts={"what": "ct"}
        )
    makers: tuple[tuple[str, Callable[[], Array]], ...] = (
        ("hand", lambda: _hand(rng)), ("leg", lambda: _leg(rng)), ("head", lambda: _head(rng)),
        ("abdomen", lambda: _abdomen(rng)),
    )  # fmt: skip
    what, make = makers[kind]
    film = expose(rng, style, make(), hard=float(rng.uniform(0.6, 1.1)))
    turns = int(rng.choice([0, 0, 0, 1, 2, 3]))
    picture = _square(np.rot90(film, turns), rng, float(rng.normal(0, 8)))
    if rng.random() < 0.15:
        picture = 1 - picture
    return Picture(picture, "other", facts={"what": what})


MAKERS: dict[str, Callable[[np.random.Generator, Patient], Picture]] = {
    "lateral": lateral, "inverted": inverted, "turned": turned, "cropped": cropped, "other": other,
}  # fmt: skip
