"""What can go wrong on the path of a study."""

from __future__ import annotations


class PipelineError(Exception):
    """A study could not go on along its path."""


class TransitionNotAllowed(PipelineError):
    """A study cannot go from its status to the wanted one."""

    def __init__(self, before: str, after: str) -> None:
        super().__init__(f"a study cannot go from {before} to {after}")
        self.before = before
        self.after = after


class StudyNotFound(PipelineError):
    """No study has this id for this tenant."""


class NothingWaits(PipelineError):
    """The study does not wait for anything that a person could decide about."""

    def __init__(self, study_id: object) -> None:
        super().__init__(f"study {study_id} does not wait: nothing is arriving")


class StudyRefused(PipelineError):
    """The input is unfit: the study ends as rejected, with this code and sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class StudyFailed(PipelineError):
    """A step cannot be done however often it is tried: the study ends as failed, with code and sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class DeliveryIncomplete(PipelineError):
    """Not every result object was acknowledged; the delivery is tried again."""


class PeerUnknown(PipelineError):
    """The destination of the results is not among the tenant's peers."""


class CommitmentNotReported(PipelineError):
    """The peer did not take the result of its storage commitment; the report is tried again."""


class PeerInvalid(PipelineError):
    """A peer cannot be set up as it is described. `field` names the value, the sentence what it must be."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field = field
        self.sentence = sentence
