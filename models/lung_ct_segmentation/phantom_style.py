"""How phantoms vary: one set of ranges for training, another one for the phantoms they are judged on."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Ranges that are drawn from uniformly, and chances.

    thorax_front_mm, thorax_side_mm: half axes of the rib cage. lung_height_mm: lowest recess to apex.
    small_lung: chance that one lung is shrunken, as after surgery or under a raised diaphragm.
    oblique_back, oblique_middle, oblique_front: height of the oblique fissure at the back wall, in the
    middle and at the front wall, as shares of the lung's height (below 0: it ends at the diaphragm);
    horizontal: the same of the horizontal one. sheet_mm: half thickness of a fissure. hidden: chance that a
    fissure cannot be seen at all. vessels: end branches in a litre of lung, of arteries and of veins each.
    """

    thorax_front_mm: Range
    thorax_side_mm: Range
    lung_height_mm: Range
    small_lung: float
    oblique_back: Range
    oblique_middle: Range
    oblique_front: Range
    horizontal: Range
    warp_mm: Range
    sheet_mm: Range
    sheet_hu: Range
    hidden: float
    vessels: tuple[int, int]
    lung_hu: Range
    disease: float


TRAIN = Style(
    thorax_front_mm=(72, 112),
    thorax_side_mm=(108, 156),
    lung_height_mm=(170, 300),
    small_lung=0.25,
    oblique_back=(0.6, 0.92),
    oblique_middle=(0.26, 0.58),
    oblique_front=(-0.5, 0.2),
    horizontal=(0.38, 0.68),
    warp_mm=(1, 9),
    sheet_mm=(0.2, 0.8),
    sheet_hu=(-600, 0),
    hidden=0.15,
    vessels=(60, 300),
    lung_hu=(-905, -740),
    disease=0.3,
)
# Other body sizes, wavier and fainter fissures, other texture: nothing here was drawn in training.
HELD_OUT = Style(
    thorax_front_mm=(78, 104),
    thorax_side_mm=(116, 146),
    lung_height_mm=(190, 280),
    small_lung=0.2,
    oblique_back=(0.66, 0.88),
    oblique_middle=(0.32, 0.52),
    oblique_front=(-0.35, 0.1),
    horizontal=(0.42, 0.62),
    warp_mm=(4, 8),
    sheet_mm=(0.15, 0.6),
    sheet_hu=(-500, -50),
    hidden=0.1,
    vessels=(180, 420),
    lung_hu=(-890, -780),
    disease=0.3,
)
