"""The guidelines that a tenant may choose from."""

from __future__ import annotations

from pipeline.guidelines.advise import Guideline
from pipeline.guidelines.bts_2015 import BTS_2015
from pipeline.guidelines.c_lung_rads_2024 import C_LUNG_RADS_2024
from pipeline.guidelines.fleischner_2017 import FLEISCHNER_2017
from pipeline.guidelines.lung_rads_2022 import LUNG_RADS_2022

GUIDELINES: dict[str, Guideline] = {
    one.name: one for one in (LUNG_RADS_2022, C_LUNG_RADS_2024, FLEISCHNER_2017, BTS_2015)
}
