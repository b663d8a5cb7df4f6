"""What can keep a report from being made."""

from __future__ import annotations

from pipeline.errors import PipelineError


class ReportError(PipelineError):
    """A report could not be made."""


class FontMissing(ReportError):
    """A font that reports need is not installed; the text names the line to run."""


class ReportNotRendered(ReportError):
    """The process that turns a report into a PDF failed or took too long."""


class ReportLanguageUnknown(ReportError):
    """Reports are not written in this language."""
