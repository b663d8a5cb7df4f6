"""Coded concepts for what public segmentation bundles name in their own words."""

from __future__ import annotations

from study.codes import Code

PRIVATE_SCHEME = "99RADMETER"
_CODE_LENGTH_MAX, _MEANING_LENGTH_MAX = 16, 64

# SNOMED CT codes of PS3.16 CID 7166 and its like, by the words that bundles use.
_KNOWN = {
    "spleen": ("78961009", "Spleen"),
    "liver": ("10200004", "Liver"),
    "pancreas": ("15776009", "Pancreas"),
    "stomach": ("69695003", "Stomach"),
    "gallbladder": ("28231008", "Gallbladder"),
    "kidney_right": ("9846003", "Right kidney"),
    "kidney_left": ("18639004", "Left kidney"),
    "aorta": ("15825003", "Aorta"),
    "heart": ("80891009", "Heart"),
    "lung": ("39607008", "Lung"),
    "esophagus": ("32849002", "Esophagus"),
    "trachea": ("44567001", "Trachea"),
    "brain": ("12738006", "Brain"),
    "duodenum": ("38848004", "Duodenum"),
    "colon": ("71854001", "Colon"),
    "urinary_bladder": ("89837001", "Urinary bladder"),
}


def code_of(label: str, number: int) -> Code:
    """The known code of a label, else one of our own scheme made of its number; the meaning is the label itself."""
    known = _KNOWN.get(label.lower().replace(" ", "_"))
    if known is not None:
        return Code(known[0], "SCT", known[1])
    return Code(f"LABEL-{number}"[:_CODE_LENGTH_MAX], PRIVATE_SCHEME, label[:_MEANING_LENGTH_MAX])
