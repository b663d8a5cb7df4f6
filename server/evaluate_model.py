"""`radmeter models evaluate`: any model on annotated data, through the code that serves it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from inference.endpoint import Endpoint
from inference.infer import run_model
from models.errors import ModelError, UnfitInput
from models.evaluation.evaluate import collect, figures_of, lowered, record_of
from models.evaluation.plots import save
from models.evaluation.sample import Nodules, Refusal, Said, Sample
from models.manifest import Manifest
from models.model import Model
from models.registry import FAMILIES
from server.annotated_scans import annotated_scans, is_annotated


class NoSamples(ModelError):
    """The model comes without data of its own, and the folder is in no layout that is known."""

    code = "NO_SAMPLES"

    def __init__(self, manifest: Manifest, data: Path) -> None:
        super().__init__(
            f"{data} holds no annotations.csv in LUNA16's layout, and models of the family {manifest.family} "
            "bring no data of their own"
        )


def evaluate_model(
    model: Model,
    endpoint: Endpoint,
    data: Path,
    out: Path,
    *,
    get_model: Callable[[str], Model],
    set_operating_point: bool = False,
    report: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write the figures to `out` and the plots beside it; returns what was written.

    set_operating_point: choose it by the rule of the model's family and write it into the model's manifest.
    """
    manifest = model.manifest
    own = _own(manifest)
    if is_annotated(data):
        samples, what, on_patients = annotated_scans(data, manifest), "annotated scans of the user", True
    elif own is not None:
        samples, what, on_patients = _samples(own, data), str(own.WHAT), False
    else:
        raise NoSamples(manifest, data)
    sensitive = FAMILIES[manifest.family](lowered(manifest))

    def ask(sample: Sample) -> Said:
        asked = sensitive if isinstance(sample.truth, Nodules) else model
        try:
            return run_model(asked, sample.image, endpoint, get_model=get_model).answer
        except UnfitInput as error:
            return Refusal(error.code)

    splits = collect(samples, ask, report=report)
    if set_operating_point:
        if own is None or not hasattr(own, "operating_threshold"):
            raise ModelError(f"models of the family {manifest.family} have no rule for their operating point")
        manifest = replace(manifest, operating_threshold=own.operating_threshold(splits))
        write_operating_point(manifest.folder / "manifest.toml", manifest.operating_threshold)
    out.parent.mkdir(parents=True, exist_ok=True)
    record = record_of(splits, manifest, what=what, on_patients=on_patients)
    out.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    written = [out]
    for name, figure in figures_of(splits, manifest).items():
        path = out.with_name(f"{out.stem}_{re.sub('[^a-z0-9]+', '_', name.lower())}.png")
        save(figure, path)
        written.append(path)
    return written


def _own(manifest: Manifest) -> ModuleType | None:
    """The module `evaluate` of the model's family; an installed model brings none."""
    name = f"models.{manifest.family}.evaluate"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _samples(own: ModuleType, data: Path) -> Iterator[Sample]:
    found: Iterator[Sample] = own.samples(data)
    return found


def write_operating_point(manifest: Path, threshold: float) -> None:
    """Put the threshold into a manifest.toml."""
    text, count = re.subn(
        r"(?m)^operating_threshold = .*$", f"operating_threshold = {threshold}", manifest.read_text("utf-8")
    )
    if count != 1:
        raise ModelError(f"{manifest} has {count} lines that begin with `operating_threshold = `, not one")
    manifest.write_text(text, "utf-8")
