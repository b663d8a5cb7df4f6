"""Infer: preprocess, run and postprocess each chosen model; the answers are stored."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial
from typing import Any

from psycopg.types.json import Jsonb

from dicom_gateway.decode import load_image
from inference.errors import InferenceError, RunCancelled, RunInterrupted
from inference.infer import run_model
from models.errors import UnfitInput
from pipeline.compare_study import Compared, compare_with_prior
from pipeline.database import Connection
from pipeline.errors import StudyFailed
from pipeline.intended_patient import patient_caveats
from pipeline.models_for_study import is_trial, model_of, supporter_of
from pipeline.progress import Following
from pipeline.refused_choices import Reason, refuse_choices, require_one_left
from pipeline.services import Outcome, Services
from pipeline.store import StudyRecord
from pipeline.study_file import load_study, save_answer
from pipeline.urgency import MOST_URGENT_FIRST, Priority

log = logging.getLogger("radmeter.pipeline")


def infer_study(services: Services, record: StudyRecord) -> Outcome | None:
    """Run the routed models one after the other on their series. None where nobody wants the study any more.

    A model that cannot judge its series is refused with the reason, and the others go on. A version that runs in shadow
    beside another costs the study nothing, whatever becomes of it.
    """
    results: dict[str, Compared] = {}
    notes: dict[str, tuple[str, ...]] = {}
    refused: dict[str, Reason] = {}
    following = Following(services.database, record)
    endpoint = services.scheduler.for_study(
        tenant=record.tenant,
        priority=MOST_URGENT_FIRST.index(Priority(record.priority)),
        is_cancelled=following.is_cancelled,
    )
    for choice in record.to_run:
        image = load_image(services.folders.image_of(record, choice))
        find = partial(supporter_of, services, choice)
        try:
            model = model_of(services, choice)
            run = partial(run_model, model, endpoint=endpoint, get_model=find, on_progress=following.tell)
            with services.tracing.part("model", model=f"{model.manifest.name}@{model.manifest.version}"):
                compared = compare_with_prior(services, record, model.manifest, image, run(image), run)
        except UnfitInput as error:
            refused[choice["product"]] = (error.code, str(error))
            continue
        except RunInterrupted:
            raise
        except RunCancelled:
            return None
        except Exception as error:
            if is_trial(choice):
                # Whatever it is, settings that do not fit or weights that are gone: the clinic's study goes on.
                log.warning("shadow_failed", extra={"study": str(record.id), "error": type(error).__name__})
                refused[choice["product"]] = ("SHADOW_FAILED", str(error)[:500])
                continue
            if isinstance(error, InferenceError):
                raise StudyFailed("INFERENCE_FAILED", str(error)) from error
            raise
        save_answer(services.folders.work_of(record), choice["product"], compared.result.answer)
        results[choice["product"]] = compared
        study = load_study(services.folders.work_of(record))
        caveats = patient_caveats(study, model.manifest, image)
        notes[choice["product"]] = (*image.notes, *caveats, *compared.result.answer.notes)

    require_one_left(record, refused)

    def save(conn: Connection, study: StudyRecord) -> None:
        refuse_choices(conn, study, refused)
        for choice in study.to_run:
            if choice["product"] not in refused:
                _insert_result(conn, study, choice, results[choice["product"]], notes[choice["product"]])

    found = {product: len(one.result.findings) for product, one in results.items()}
    ran_on = {product: [str(engine) for engine in one.result.engines] for product, one in results.items()}
    return Outcome(save=save, detail={"findings": found, "engines": ran_on})


def _insert_result(
    conn: Connection, study: StudyRecord, choice: dict[str, Any], compared: Compared, notes: tuple[str, ...]
) -> None:
    """notes: what the report says of images, patient and result, so that programs read it too."""
    result = compared.result
    conn.execute(
        """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                               input_digest, findings, answer, timing_s, is_shadow, prior_study_id,
                               operating_threshold, deployment)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            study.tenant,
            study.id,
            study.revision,
            choice["product"],
            result.model.name,
            result.model.version,
            result.model.weights_sha256,
            choice["input_digest"],
            Jsonb([finding.as_json() for finding in result.findings]),
            Jsonb(
                result.answer.as_json()
                | {
                    "notes": list(notes),
                    "support": [asdict(one) for one in result.support],
                    "engines": [asdict(one) for one in result.engines],
                }
            ),
            Jsonb(result.timing_s),
            bool(choice.get("shadow")),
            compared.prior_study_id,
            choice.get("threshold"),
            Jsonb(choice.get("deployment", {})),
        ),
    )
