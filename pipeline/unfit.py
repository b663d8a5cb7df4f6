"""Unfit: why a series does not fit a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unfit:
    """Why a series does not fit a model: a stable code and a sentence."""

    code: str
    text: str
