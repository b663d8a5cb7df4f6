"""The conclusion as plain sentences."""

from __future__ import annotations

from dataclasses import replace

from pipeline.ways_out.conclusion import conclusion
from tests.pipeline.ways_out.builders import NODULES, VIEW, told


def test_the_largest_is_named_wherever_it_stands() -> None:
    small_and_worst, large = NODULES[1], replace(NODULES[0], mean_diameter_mm=24.0)
    said = conclusion(told(report=replace(VIEW, findings=(small_and_worst, large))))
    assert (
        "2 findings marked as possible pulmonary nodules; the largest has a mean diameter of 24.0 mm." in said
    )


def test_what_is_larger_than_a_nodule_is_called_a_mass() -> None:
    mass = replace(NODULES[0], mean_diameter_mm=36.0)
    assert "possible pulmonary mass: mean diameter 36.0 mm" in conclusion(
        told(report=replace(VIEW, findings=(mass,)))
    )
    assert "疑似肺结节或肿块" in conclusion(
        told(report=replace(VIEW, findings=(mass, NODULES[1])), language="zh")
    )
