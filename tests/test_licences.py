"""What is installed with the product may be used in it: MIT, BSD, Apache-2.0, LGPL and the like, not GPL."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

CHOSEN_OF_SEVERAL = {
    "pyphen": "GPL 2.0+ or LGPL 2.1+ or MPL 1.1, at our choice: LGPL",
}


def locked_names() -> list[str]:
    lock = (ROOT / "requirements" / "cpu.txt").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"(?m)^([a-z0-9][a-z0-9.-]*)==", lock)))


def licence_of(name: str) -> str:
    """All that a distribution says of its licence, in one line; the field License may hold the whole text."""
    about = metadata.metadata(name)
    said = [about.get("License-Expression") or "", (about.get("License") or "").split("\n")[0]]
    said += [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    return "; ".join(part for part in said if part)


@pytest.mark.parametrize("name", locked_names())
def test_every_locked_package_has_a_licence_that_allows_its_use(name: str) -> None:
    try:
        licence = licence_of(name)
    except metadata.PackageNotFoundError:
        # Its marker names another platform, or this environment has the GPU's build instead.
        return
    if name in CHOSEN_OF_SEVERAL:
        return
    assert licence, f"{name} does not say its licence"
    without_lesser = re.sub(r"(?i)lesser general public license|library or lesser|lgpl", "", licence)
    assert not re.search(r"(?i)\bA?GPL|general public", without_lesser), f"{name}: {licence}"
