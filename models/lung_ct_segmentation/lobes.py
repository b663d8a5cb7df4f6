"""The five lobes: the graph's labels, in the order in which results list them."""

from __future__ import annotations

from study.codes import Code

# Label 0 is everything else. Codes are SNOMED CT; where PS3.16 CID 6170 names a lobe without its side, these name both.
LOBES = {
    1: Code("42400003", "SCT", "Upper lobe of right lung"),
    2: Code("72481006", "SCT", "Middle lobe of right lung"),
    3: Code("266005", "SCT", "Lower lobe of right lung"),
    4: Code("44714003", "SCT", "Upper lobe of left lung"),
    5: Code("41224006", "SCT", "Lower lobe of left lung"),
}
NAMES = {
    1: "right upper lobe",
    2: "right middle lobe",
    3: "right lower lobe",
    4: "left upper lobe",
    5: "left lower lobe",
}
RIGHT, LEFT = (1, 2, 3), (4, 5)
