"""`radmeter analyze`: one study, no server: JSON, SR, SEG, PDF and PNG into a folder."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from dicom_gateway.decode import DecodeLimits, decode_image
from dicom_gateway.decode_errors import DecodeError
from dicom_gateway.inspect import InspectError, inspect_study
from dicom_gateway.volume_files import load_volume
from inference.choose import make_endpoint
from inference.endpoint import Endpoint
from inference.errors import InferenceError
from inference.infer import InferenceResult, run_model
from models.compare import compare
from models.errors import UnfitInput
from models.model import Model
from models.registry import get_model
from pipeline.check_results import check_result_set
from pipeline.compare_study import PriorUnread, decode_prior, run_on_prior
from pipeline.errors import StudyFailed
from pipeline.intended_patient import patient_caveats
from pipeline.report import build_report, render_report_pdf
from pipeline.result_set import PLAIN_REPORTS, RESULT_KINDS, make_result_set
from pipeline.route import Route, choose
from pipeline.status import StudyStatus
from server.send import files_below
from server.settings import load_settings
from study.answer import Answer, Image
from study.sentences import say
from study.study import Patient, Study
from study.volume import Volume


class _Clock:
    """Seconds of each step, as they end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step], self._last = now - self._last, now

    def total(self) -> float:
        return time.perf_counter() - self._start


def analyze(
    path: Path, out: Path, *, model_name: str, language: str, prior: Path | None = None
) -> dict[str, Any]:
    """Run the path of a study without a server; returns what it wrote as result.json.

    prior: an earlier study of the patient to compare with; one that cannot be read is a note.

    The status is "completed", "rejected" (unfit input) or "failed", the last two with their reason.
    """
    clock = _Clock()
    settings = load_settings()
    model = get_model(model_name, settings.data_directory)
    endpoint = make_endpoint(settings.engine_choice)
    out.mkdir(parents=True, exist_ok=True)
    _remove_former_results(out, model.manifest.product_code)
    record: dict[str, Any] = {
        "study_instance_uid": None,
        "series_instance_uid": None,
        "status": "failed",
        "reason": None,
        "model": {
            "name": model.manifest.name,
            "version": model.manifest.version,
            "weights_sha256": model.manifest.weights_sha256,
        },
        "findings": [],
        **Answer().as_json(),
        "engines": [],
        "timing_s": {},
    }
    try:
        study = _inspect(path)
        record["study_instance_uid"] = study.study_instance_uid
        clock.lap("inspect")
        _run(study, out, model, endpoint, language, record, clock, prior)
    except _Refused as refused:
        record |= {"status": "rejected", "reason": {"code": refused.code, "text": refused.text}}
        _write_refusal(refused, out, language)
    except InferenceError as error:
        record["reason"] = {"code": "INFERENCE_FAILED", "text": str(error)}
    except StudyFailed as failed:
        record["reason"] = {"code": failed.code, "text": failed.text}
    record["timing_s"] = {step: round(seconds, 3) for step, seconds in clock.seconds.items()}
    record["timing_s"]["total"] = round(clock.total(), 3)
    (out / "result.json").write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")
    return record


def _remove_former_results(out: Path, product: str) -> None:
    """The findings of an earlier study must not lie beside the refusal of this one."""
    for pattern in (
        f"{product}.*.dcm",
        "finding-*.png",
        "radiograph*.png",
        "structures-*.png",
        "report.pdf",
        "result.json",
    ):
        for path in out.glob(pattern):
            path.unlink()


class _Refused(Exception):
    """The input is unfit, with its reason and the study as far as it was read."""

    def __init__(self, code: str, text: str, study: Study | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.study = code, text, study


def _inspect(path: Path) -> Study:
    files = files_below([path])
    try:
        return inspect_study([(str(file.absolute()), file) for file in files]).study
    except InspectError as error:
        raise _Refused("HEADERS_UNREADABLE", str(error)) from error


def _run(
    study: Study,
    out: Path,
    model: Model,
    endpoint: Endpoint,
    language: str,
    record: dict[str, Any],
    clock: _Clock,
    prior: Path | None,
) -> None:
    route = choose(study, model.manifest)
    if not isinstance(route, Route):
        raise _Refused(route.code, route.text, study)
    record["series_instance_uid"] = route.series_instance_uid
    series = study.series_of(route.series_instance_uid)
    with tempfile.TemporaryDirectory(prefix="radmeter-analyze-") as folder:
        try:
            image = decode_image(
                series,
                Path("/"),
                Path(folder),
                sop_instance_uid=route.sop_instance_uid,
                limits=DecodeLimits(is_durable=False),
            )
            clock.lap("decode")
            result = run_model(model, image, endpoint, get_model=_find_model)
        except DecodeError as error:
            raise _Refused(error.code, str(error), study) from error
        except UnfitInput as error:
            raise _Refused(error.code, str(error), study) from error
        clock.seconds |= result.timing_s
        clock.lap("model")
        del clock.seconds["model"]  # its parts stand there already
        if prior is not None:
            result = _compared(study, image, result, model, endpoint, prior, Path(folder) / "prior")
            clock.lap("compare")
        prior_volume = load_volume(Path(folder) / "prior") if result.answer.prior is not None else None
        _write_results(study, image, result, model, out, language, prior_volume)
        clock.lap("encode")
    record["status"] = "completed"
    record["findings"] = [finding.as_json() for finding in result.findings]
    record |= result.answer.as_json()
    record["notes"] = [*patient_caveats(study, model.manifest, image), *record["notes"]]
    record["engines"] = [asdict(engine) for engine in result.engines]


def _compared(
    study: Study,
    image: Image,
    result: InferenceResult,
    model: Model,
    endpoint: Endpoint,
    path: Path,
    folder: Path,
) -> InferenceResult:
    """The result beside the prior below `path`; a prior that cannot be read, or is another patient's, is a note."""
    if not isinstance(image, Volume):
        note = say("RADIOGRAPH_NOT_COMPARED")
        return replace(result, answer=replace(result.answer, notes=(*result.answer.notes, note)))
    files = [(str(file.absolute()), file) for file in files_below([path])]
    try:
        prior = decode_prior(files, model.manifest, Path("/"), folder)
        if why := _another_patient(study.patient, prior.patient):
            raise PriorUnread(why)
        then = run_on_prior(partial(run_model, model, endpoint=endpoint, get_model=_find_model), prior.volume)
    except PriorUnread as error:
        note = say("PRIOR_OF_ANY_DATE_NOT_COMPARED", why=error)
        return replace(result, answer=replace(result.answer, notes=(*result.answer.notes, note)))
    answer = compare(
        result.answer, image, then, prior.volume, date=study.study_date, prior_date=prior.study_date
    )
    return replace(result, answer=answer)


def _another_patient(one: Patient, other: Patient) -> str | None:
    """Why two studies are not of one patient, as far as their headers tell."""
    for code, values in (
        ("OTHER_PATIENT_ID", (one.patient_id, other.patient_id)),
        ("OTHER_BIRTH_DATE", (one.birth_date, other.birth_date)),
    ):
        if all(values) and values[0] != values[1]:
            return say(code)
    return None


def _find_model(name: str) -> Model:
    return get_model(name, load_settings().data_directory)


def clearance_of(model_name: str) -> str:
    """The model's own sentence on where it may be used."""
    return _find_model(model_name).manifest.clearance_status


def _write_results(
    study: Study,
    image: Image,
    result: InferenceResult,
    model: Model,
    out: Path,
    language: str,
    prior_volume: Volume | None,
) -> None:
    """Raises `StudyFailed` where the gate holds the objects back; nothing is written then."""
    now = datetime.now(UTC)
    results = make_result_set(
        study,
        image,
        result.answer,
        model.manifest,
        study_id=_job_id(study.study_instance_uid),
        # No server remembers when this was: each run makes objects of its own.
        uid_seed=_job_id(study.study_instance_uid, now.isoformat()),
        revision=1,
        created_at=now,
        instances_root=Path("/"),
        language=language,
        kinds=RESULT_KINDS - PLAIN_REPORTS,
        prior_volume=prior_volume,
    )
    check_result_set(
        results.objects,
        results.sources,
        model_name=model.manifest.name,
        model_version=model.manifest.version,
        image=image,
    ).require()
    for one in results.objects:
        (out / one.file_name(model.manifest.product_code)).write_bytes(one.content)
    (out / "report.pdf").write_bytes(results.pdf)
    for picture in results.view.key_images:
        (out / picture.name).write_bytes(picture.png)


def _write_refusal(refused: _Refused, out: Path, language: str) -> None:
    """A refusal is something to read too."""
    if refused.study is None:
        return
    view = build_report(
        refused.study,
        job_id=_job_id(refused.study.study_instance_uid),
        created_at=datetime.now(UTC),
        status=StudyStatus.REJECTED,
        reason=(refused.code, refused.text),
    )
    (out / "report.pdf").write_bytes(render_report_pdf(view, language))


def _job_id(*parts: str) -> str:
    """A stable opaque id for a study that no server knows."""
    return hashlib.sha256(chr(31).join(parts).encode()).hexdigest()[:12]
