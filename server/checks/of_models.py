"""Checks of what runs the models and draws the reports."""

from __future__ import annotations

from inference.choose import make_endpoint
from inference.errors import InferenceError
from models.errors import ModelError
from models.registry import find_models, get_model, list_models
from models.weights import verified_weights
from pipeline.model_users import missing_versions
from pipeline.report_fonts import missing_fonts
from server.checks.finding import Check, Finding, Ground


def whole(ground: Ground) -> Finding | None:
    try:
        catalogue = find_models(ground.settings.data_directory)
        if catalogue.problems:
            raise catalogue.problems[0]
        for manifest in catalogue.models:
            verified_weights(manifest)
            for precision in manifest.precisions:
                verified_weights(manifest, precision)
    except ModelError as error:
        means = "studies that need it fail visibly; changed weights are never run"
        return Finding(str(error), means, "add the model again: radmeter models add FILE")
    return None


def deployed(ground: Ground) -> Finding | None:
    missing = missing_versions(ground.database, find_models(ground.settings.data_directory))
    if not missing:
        return None
    return Finding(
        f"not installed here, and in use: {'; '.join(missing)}",
        "studies of these tenants fail",
        "radmeter models add FILE, or radmeter models activate NAME VERSION --tenant TENANT",
    )


def engine(ground: Ground) -> Finding | None:
    choice = ground.settings.engine_choice
    try:
        endpoint = make_endpoint(choice)
        for manifest in list_models(ground.settings.data_directory):
            endpoint.warm(get_model(manifest.name, ground.settings.data_directory))
    except (InferenceError, ModelError) as error:
        return Finding(
            f"{choice.as_engine}: {error}",
            "studies wait, or run on the fallback where RADMETER_INFERENCE_FALLBACK names one",
            "look at the device (nvidia-smi) and docs/inference.md, Faults",
        )
    return None


def triton(ground: Ground) -> Finding | None:
    if not ground.settings.uses_triton:
        return None
    from server.triton import check

    for model, problem in check(ground.settings):
        if problem is not None:
            return Finding(
                f"Triton, {model}: {problem}",
                "studies of this model wait",
                "radmeter triton check; the log of Triton; docs/triton.md",
            )
    return None


def fonts(ground: Ground) -> Finding | None:  # noqa: ARG001 the signature of a check
    missing = missing_fonts()
    if missing is None:
        return None
    return Finding(
        missing, "reports in Chinese would be printed with empty boxes", "install the fonts, start again"
    )


CHECKS = (
    Check("the models are whole", whole, needs_database=False),
    Check("the versions that tenants run are installed", deployed),
    Check("fonts for reports are installed", fonts, needs_database=False),
    Check("the inference engine opens each model", engine, deep=True, needs_database=False),
    Check("Triton answers as it should", triton, deep=True, needs_database=False),
)
