"""Lobe, composition, solid part, distance to the pleura and change since the prior study, as the SR holds them."""

from __future__ import annotations

import io

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.encode_sr import encode_sr
from study.nodule import PriorRead, ResolvedNodule
from tests.dicom_gateway.test_encode_sr import content_tree, written
from tests.result_builders import ball, characterised, grown, result_context, synthetic_headers, volume_of

PRIOR = PriorRead("20240901", 183, 0.97, (ResolvedNodule("2.25.9", (0.0, 0.0, 0.0), 5.0, 65.4),))


@pytest.fixture(scope="module")
def document() -> Dataset:
    headers = synthetic_headers()
    volume = volume_of(headers)
    findings = (
        grown(ball(volume, (-10.0, 4.0, 10.0), 9.0, id=1)),
        characterised(ball(volume, (12.0, -6.0, 14.0), 6.0, id=2, segment=False), state="new"),
        grown(ball(volume, (0.0, 12.0, 8.0), 5.0, id=3), factor=1.02),
    )
    return encode_sr(result_context(headers, volume, findings, prior=PRIOR))


@pytest.fixture(scope="module")
def lines(document: Dataset) -> list[str]:
    return [line.strip() for line in content_tree(document)]


def test_the_site_of_a_finding_is_its_lobe(lines: list[str]) -> None:
    site = "HAS CONCEPT MOD CODE Finding Site (363698007, SCT) = Upper lobe of right lung (42400003, SCT)"
    assert lines.count(site) == 5  # two groups of each with a segment, one of the other


def test_composition_and_solid_part_stand_in_the_planar_group(lines: list[str]) -> None:
    assert (
        lines.count("CONTAINS CODE Composition (RDE1301, RADELEMENT) = part-solid (RDE1301.2, RADELEMENT)")
        == 3
    )
    assert lines.count("CONTAINS NUM Solid component size (RDE1303, RADELEMENT) = 4.2 mm") == 3


def test_the_distance_to_the_pleura_names_the_pleura(lines: list[str]) -> None:
    at = lines.index("CONTAINS NUM Distance (121206, DCM) = 7.3 mm")
    assert lines[at + 1] == "HAS CONCEPT MOD CODE Finding Site (363698007, SCT) = Pleura (3120008, SCT)"


def test_growth_is_coded_and_measured_with_its_uncertainty(lines: list[str]) -> None:
    name = "CONTAINS CODE Change from priors (RDE1706, RADELEMENT) = "
    changes = [line.removeprefix(name) for line in lines if line.startswith(name)]
    assert changes == [
        "Increase in size (15454001, SCT)", "New (7147002, SCT)",
        "No significant changes in the finding (129723006, SCT)",
    ]  # fmt: skip
    change = [line.split(" = ")[1] for line in lines if "(VOLUME_CHANGE, 99RADMETER)" in line][:3]
    value, low, high = (float(text.removesuffix(" %")) for text in change)
    assert (value, low < value < high) == (100.0, True)
    assert (low, high) == pytest.approx((45, 180), abs=25)
    doubling = [line.split(" = ")[1] for line in lines if "(VOLUME_DOUBLING, 99RADMETER)" in line]
    days = [float(text.removesuffix(" d")) for text in doubling]
    assert days[0] == 183.0
    assert days[1] < 183.0 < days[2]
    derivations = [line for line in lines if "INTERVAL_LOW" in line]
    assert derivations[0] == (
        "HAS CONCEPT MOD CODE Derivation (121401, DCM) = Lower end of the 95 % interval (INTERVAL_LOW, 99RADMETER)"
    )


def test_the_comments_say_what_was_compared(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert "Compared with the prior study of 20240901: 1 new, 1 grown, 1 unchanged, 1 no longer seen." in text
    assert "change since prior studies" not in text


def test_highdicom_reads_the_groups_back(document: Dataset) -> None:
    report = highdicom.sr.srread(io.BytesIO(written(document))).content
    groups = report.get_planar_roi_measurement_groups()
    assert len(groups) == 3
    assert [len(group.get_qualitative_evaluations()) for group in groups] == [2, 2, 2]
    assert np.isfinite([one.value for group in groups for one in group.get_measurements()]).all()
