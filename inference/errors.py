"""What can go wrong while a model runs."""

from __future__ import annotations


class InferenceError(Exception):
    """A model could not be run, or its answer cannot be used. `code` names the fact for programs.

    is_transient: the same run may succeed a little later, so it may be tried again.
    """

    code = "INFERENCE_ERROR"
    is_transient = False


class EngineNotPossible(InferenceError):
    """The settings name an engine, provider or precision that does not exist, fit the others or is not installed.

    part: which of the three is wrong.
    """

    code = "ENGINE_NOT_POSSIBLE"

    def __init__(self, part: str, problem: str) -> None:
        super().__init__(problem)
        self.part = part


class ProviderUnavailable(InferenceError):
    """The runtime fell back to another execution provider than the one asked for."""

    code = "PROVIDER_UNAVAILABLE"

    def __init__(self, wanted: str, got: str) -> None:
        super().__init__(f"the model should run on {wanted} but the runtime chose {got}")


class EndpointFailed(InferenceError):
    """The runtime refused the model or its inputs."""

    code = "ENDPOINT_FAILED"


class ModelTooLarge(InferenceError):
    """A model needs more memory than all models together may use."""

    code = "MODEL_TOO_LARGE"

    def __init__(self, needed_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the open model needs about {needed_bytes >> 20} MiB, and all models may use {limit_bytes >> 20} MiB:"
            " raise RADMETER_INFERENCE_MEMORY_MIB"
        )


class EndpointUnavailable(InferenceError):
    """The endpoint cannot be reached or has no room now; it may be there again in a moment."""

    code = "ENDPOINT_UNAVAILABLE"
    is_transient = True


class CircuitOpen(EndpointUnavailable):
    """The endpoint failed several times in a row and is left alone for a while."""

    code = "CIRCUIT_OPEN"


class RunTimedOut(InferenceError):
    """The endpoint did not answer in time."""

    code = "RUN_TIMED_OUT"
    is_transient = True


class InvalidModelOutput(InferenceError):
    """The model answered with a missing output, another shape, NaN or infinity."""

    code = "INVALID_MODEL_OUTPUT"


class RunTooLarge(InferenceError):
    """A run would need more memory than the device may be used for."""

    code = "RUN_TOO_LARGE"

    def __init__(self, model: str, needed: int, allowed: int) -> None:
        super().__init__(
            f"{model} would need about {needed >> 20} MiB for this image, {allowed >> 20} MiB are allowed "
            "(RADMETER_INFERENCE_RUN_MEMORY_MIB)"
        )


class RunCancelled(InferenceError):
    """The study was cancelled or has new images; its result would be thrown away."""

    code = "RUN_CANCELLED"

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} was not run to its end: the study was cancelled")


class RunInterrupted(RunCancelled):
    """This process ends before the run does; another one takes the study's step anew."""

    code = "RUN_INTERRUPTED"

    def __init__(self, model: str) -> None:
        InferenceError.__init__(self, f"{model} was broken off: this worker stops")


class ModelNotServed(InferenceError):
    """A server does not have the model."""

    code = "MODEL_NOT_SERVED"

    def __init__(self, name: str, words: str) -> None:
        super().__init__(
            f"the server does not have {name} ({words}): `radmeter models export --triton` writes it for the server"
        )


class ServedModelDiffers(InferenceError):
    """A server has a model of the right name with other weights."""

    code = "SERVED_MODEL_DIFFERS"

    def __init__(self, name: str, told: str) -> None:
        super().__init__(
            f"the server's {name} has weights {told[:64] or 'of an unknown digest'}, not ours: "
            "export the model again and let the server load it"
        )
