"""Comparison with a prior that is here: its series is chosen and decoded like any other, its findings are looked up or
made, and the present findings are compared with them.

Whatever is wrong with a prior is a note of the result, never a failure. A model that runs on a prior for this makes no
result: nothing is stored as one, delivered or charged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from dicom_gateway.child_process import ChildError
from dicom_gateway.decode import decode_series
from dicom_gateway.decode_errors import DecodeError, StorageFull
from dicom_gateway.inspect import InspectError, inspect_study
from inference.errors import InferenceError, RunCancelled
from inference.infer import InferenceResult
from models.compare import compare
from models.errors import UnfitInput
from models.manifest import Manifest
from pipeline import prior_studies, store
from pipeline.prior_rule import day
from pipeline.route import choose
from pipeline.route_study import input_digest
from pipeline.services import Services
from pipeline.store import StudyRecord
from pipeline.unfit import Unfit
from study.answer import Answer, Image
from study.findings import Finding
from study.sentences import say
from study.study import Patient, Series
from study.volume import Volume

# Of several priors the newest that can be read is taken; further ones than these are not tried.
_TRIED_MAX = 3

RunOnPrior = Callable[[Volume], InferenceResult]


@dataclass(frozen=True)
class Compared:
    """A result after the comparison. prior_study_id: our id of the study it was compared with, if any."""

    result: InferenceResult
    prior_study_id: UUID | None


@dataclass(frozen=True)
class _Prior:
    """A prior as the model read it: our id, its date (DA text), volume and findings."""

    study_id: UUID
    date: str
    volume: Volume
    answer: Answer


class PriorUnread(Exception):
    """This prior cannot be read; the text says why."""


def compare_with_prior(
    services: Services,
    record: StudyRecord,
    manifest: Manifest,
    image: Image,
    result: InferenceResult,
    run: RunOnPrior,
) -> Compared:
    """Compare a model's findings with those of the newest prior that is here and readable.

    run: the model on another volume. A result that is not about findings in a volume is left as it is.
    """
    if not isinstance(image, Volume) or result.answer.classifications or result.answer.structures:
        return Compared(result, None)
    started = time.perf_counter()
    today = record.header.get("study_date", "")
    prior, notes = _newest_readable(services, record, manifest, today, run)
    answer = replace(result.answer, notes=(*result.answer.notes, *notes))
    if prior is None:
        return Compared(replace(result, answer=answer), None)
    answer = compare(answer, image, prior.answer, prior.volume, date=today, prior_date=prior.date)
    timing = result.timing_s | {"compare": time.perf_counter() - started}
    study_id = prior.study_id if answer.prior is not None else None
    return Compared(replace(result, answer=answer, timing_s=timing), study_id)


def _newest_readable(
    services: Services, record: StudyRecord, manifest: Manifest, today: str, run: RunOnPrior
) -> tuple[_Prior | None, list[str]]:
    """The prior to compare with, and a note for each newer one that could not be read or is not here."""
    with services.database.transaction(record.tenant) as conn:
        here = prior_studies.here(conn, record.tenant, record.id)
        missing = prior_studies.not_here(conn, record.tenant, record.id)
    notes = [say("PRIOR_NOT_HERE", date=day(one["study_date"]), why=one["why"]) for one in missing]
    for row in [one for one in here if one["study_date"] <= today][:_TRIED_MAX]:
        try:
            return _read(services, record, manifest, row, run), notes
        except PriorUnread as error:
            notes.append(say("PRIOR_NOT_COMPARED", date=day(row["study_date"]), why=error))
    return None, notes


def _read(
    services: Services, record: StudyRecord, manifest: Manifest, row: dict[str, Any], run: RunOnPrior
) -> _Prior:
    with services.database.transaction(record.tenant) as conn:
        instances = store.instances(conn, record.tenant, row["id"])
        results = store.results(conn, record.tenant, row["id"])
    files = [(one["location"], services.folders.instances / one["location"]) for one in instances]
    folder = services.folders.prior_of(record, manifest.product_code, row["id"])
    digests = {one["location"]: one["blake3"] for one in instances}
    with services.folders.instances_at_hand(record.tenant, instances):
        decoded = decode_prior(files, manifest, services.folders.instances, folder)
    answer = _stored(results, manifest, input_digest(decoded.series, digests))
    return _Prior(row["id"], row["study_date"], decoded.volume, answer or run_on_prior(run, decoded.volume))


@dataclass(frozen=True)
class DecodedPrior:
    """The series of a prior that a model reads. study_date: DA text."""

    study_date: str
    patient: Patient
    series: Series
    volume: Volume


def decode_prior(
    files: Sequence[tuple[str, Path]], manifest: Manifest, root: Path, folder: Path
) -> DecodedPrior:
    """Choose and decode the series that the model reads; raises `PriorUnread`.

    files: (location, path) of every instance. root: what locations are relative to. folder: for the voxels.
    """
    try:
        study = inspect_study(files).study
        chosen = choose(study, manifest)
        if isinstance(chosen, Unfit):
            raise PriorUnread(chosen.text.rstrip("."))
        series = study.series_of(chosen.series_instance_uid)
        return DecodedPrior(study.study_date, study.patient, series, decode_series(series, root, folder))
    except StorageFull as error:
        raise OSError(str(error)) from error  # passes by itself once there is room
    except (InspectError, DecodeError, ChildError) as error:
        raise PriorUnread(str(error).rstrip(".")) from error


def run_on_prior(run: RunOnPrior, volume: Volume) -> Answer:
    """What the model says of a prior; raises `PriorUnread` where it cannot say anything."""
    try:
        return run(volume).answer
    except RunCancelled:
        raise
    except (UnfitInput, InferenceError) as error:
        raise PriorUnread(str(error).rstrip(".")) from error


def _stored(results: list[dict[str, Any]], manifest: Manifest, digest: str) -> Answer | None:
    """What the same version of the model has said of the same images by the same threshold, if it has."""
    wanted = (manifest.name, manifest.version, manifest.weights_sha256, digest)
    for row in results:
        found = tuple(row[key] for key in ("model_name", "model_version", "weights_sha256", "input_digest"))
        # Of older results nobody noted the threshold, it was the manifest's.
        if wanted == found and row["operating_threshold"] in (None, manifest.operating_threshold):
            return Answer(tuple(Finding.from_json(one) for one in row["findings"]))
    return None
