"""What can go wrong while a model runs."""

from __future__ import annotations


class InferenceError(Exception):
    """A model could not be run, or its answer cannot be used. `code` names the fact for programs."""

    code = "INFERENCE_ERROR"


class ProviderUnavailable(InferenceError):
    """The runtime fell back to another execution provider than the one asked for."""

    code = "PROVIDER_UNAVAILABLE"

    def __init__(self, wanted: str, got: str) -> None:
        super().__init__(f"the model should run on {wanted} but the runtime chose {got}")


class EndpointFailed(InferenceError):
    """The runtime refused the model or its inputs."""

    code = "ENDPOINT_FAILED"


class InvalidModelOutput(InferenceError):
    """The model answered with a missing output, another shape, NaN or infinity."""

    code = "INVALID_MODEL_OUTPUT"
