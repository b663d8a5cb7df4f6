"""Ribs, clavicles, scapulae, spine and arms of a synthetic patient, as tubes with a shell."""

from __future__ import annotations

import itertools

import numpy as np

from models.chest_radiograph.phantom_body import Body, Vector

Piece = tuple[Vector, Vector, float, float, float, float]


def make_bones(rng: np.random.Generator, body: Body) -> list[list[Piece]]:
    """Layers of pieces: within a layer pieces that overlap are one bone, between layers they add.

    A piece is (start, stop, outer radius, inner radius, attenuation of shell, of core); attenuation is what it has
    more than soft tissue, relative to water.
    """
    shell, core = rng.uniform(1.0, 2.0), rng.uniform(0.2, 0.5)
    back, front = _ribs(rng, body, shell, core)
    return [back, front, _shoulders(rng, body, shell, core), *_spine(rng, body, shell, core)]


def _ribs(rng: np.random.Generator, body: Body, shell: float, core: float) -> tuple[list[Piece], list[Piece]]:
    frame = body.frame
    thick = rng.uniform(4.0, 5.6)
    wall = rng.uniform(0.8, 1.4)
    steep = rng.uniform(0.8, 1.3)
    calcified = rng.random() < 0.35
    back: list[Piece] = []
    front: list[Piece] = []
    for index in range(12):
        top = frame.z_at(0.02 + 0.086 * index + rng.uniform(-0.006, 0.006))
        drop = rng.uniform(0.8, 1.2) * steep * (30 + 55 * np.sin(np.pi * (0.25 + 0.5 * (11 - index) / 11)))
        reach = 0.6 if index < 2 else 0.84
        angles = np.linspace(0.1, reach, 24) * np.pi
        for side in (1, -1):
            own = thick * rng.uniform(0.9, 1.1)
            points = []
            for t in angles:
                z = top - drop * (1 - np.cos(t)) / 2 - 4 * np.sin(t)
                size = float(frame.taper(z)) + 0.05
                dy, dx = np.cos(t) * frame.ay * size, side * np.sin(t) * frame.ax * size
                points.append(np.array([z, frame.cy + dy * 1.02, frame.cx + dx * 1.03]))
            pieces = [(a, b, own, own - wall, shell, core) for a, b in itertools.pairwise(points)]
            half = int(0.5 / reach * len(angles))
            back += pieces[:half]
            front += pieces[half:]
            if calcified or index == 11:
                end = points[-1]
                front.append((end, end + rng.normal(0, 4, 3), own * 0.9, 0.0, rng.uniform(0.1, 0.8), 0.0))
    return back, front


def _shoulders(rng: np.random.Generator, body: Body, shell: float, core: float) -> list[Piece]:
    """Clavicles, scapulae and the upper ends of the arms. Raised shoulders show them above the lungs."""
    frame = body.frame
    lift = rng.uniform(-0.05, 0.08)
    out = rng.uniform(0.85, 1.2)
    pieces: list[Piece] = []
    for side in (1, -1):
        inner = np.array([frame.z_at(0.87), frame.cy - 0.75 * frame.ay, frame.cx + side * 16])
        middle = np.array(
            [frame.z_at(0.94 + lift), frame.cy - 0.5 * frame.ay, frame.cx + side * 0.5 * frame.ax]
        )
        outer = np.array([frame.z_at(0.97 + lift), frame.cy, frame.cx + side * (frame.ax + 25)])
        for a, b in ((inner, middle), (middle, outer)):
            pieces.append((a, b, 6.5, 4.8, shell, core))
        joint = np.array([frame.z_at(0.86 + lift), frame.cy + 20, frame.cx + side * (frame.ax * out + 34)])
        tip = np.array([frame.z_at(0.42), frame.cy + frame.ay, frame.cx + side * frame.ax * out * 0.93])
        corner = np.array([frame.z_at(0.86), frame.cy + frame.ay, frame.cx + side * frame.ax * out * 0.6])
        pieces += [(joint, tip, 4.5, 3.3, shell, core), (joint, corner, 5.5, 4.4, shell * 0.7, core)]
        pieces += [(corner, tip, 2.5, 1.0, shell * 0.6, core)]
        blade = [joint * (1 - t) + corner * t for t in np.linspace(0.15, 0.9, 5)]
        pieces += [(a, tip, 7.0, 6.6, shell * 0.5, 0.02) for a in blade]
        head = joint + np.array([0, 0, side * 22])
        pieces.append((head, head + 1.0, 23, 21.5, shell * 0.6, core * 0.7))
        shaft = head + np.array([-0.6 * frame.height, 20, side * rng.uniform(15, 80)])
        pieces.append((head, shaft, 12, 8, shell, 0.05))
    return pieces


def _spine(rng: np.random.Generator, body: Body, shell: float, core: float) -> list[list[Piece]]:
    frame = body.frame
    bodies: list[Piece] = []
    processes: list[Piece] = []
    bend = rng.normal(0, 5) if rng.random() < 0.4 else 0.0
    pitch = rng.uniform(20, 26)
    for z in np.arange(0.0, frame.z_at(1.35), pitch):
        share = (z - frame.base_z) / frame.height
        x = frame.cx + bend * np.sin(np.pi * share)
        y = frame.cy + frame.ay * (1.0 - 0.5 * max(0.0, share - 0.9)) - max(0.0, -share) * 30
        wide = float(np.interp(share, [-0.4, 0.3, 1.0, 1.3], [23, 17, 14, 11]))
        low, high = np.array([z + wide * 0.3, y, x]), np.array([z + pitch * 0.86 - wide * 0.3, y, x])
        bodies.append((low, high, wide, wide - 1.0, shell * 0.5, core))
        for side in (1, -1):
            end = np.array([z + pitch * 0.6, y + 24, x + side * wide * 1.9])
            processes.append((np.array([z + pitch * 0.5, y + 20, x + side * 8]), end, 4.5, 3.2, shell, core))
            pedicle = np.array([z + pitch * 0.5, y + 17, x + side * wide * 0.6])
            processes.append((pedicle, pedicle + 0.5, 5, 3.4, shell * 1.2, core))
        processes.append((np.array([z + 8, y + 30, x]), np.array([z - 2, y + 48, x]), 3.5, 2.2, shell, core))
    sternum = [
        (
            np.array([frame.z_at(0.3), frame.cy - 1.1 * frame.ay, frame.cx]),
            np.array([frame.z_at(0.84), frame.cy - 0.85 * frame.ay, frame.cx]), 11.0, 10.0, 0.3, core * 0.6,
        )
    ]  # fmt: skip
    return [bodies, processes, sternum]
