"""What can be wrong with a routing rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import PipelineError


class ExpressionRefused(PipelineError):
    """An expression is not one of the rule language.

    column: one-based, where known. The sentence says what to write instead.
    """

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message if column is None else f"column {column}: {message}")
        self.message = message
        self.column = column


@dataclass(frozen=True)
class RuleProblem:
    """One mistake in a rule document. line: one-based."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class RulesInvalid(PipelineError):
    """A rule document is not well formed; `problems` says each mistake with its line."""

    def __init__(self, problems: Sequence[RuleProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class RuleSetNotFound(PipelineError):
    """The tenant has no such version of its routing rules."""


class EvaluationTooLong(PipelineError):
    """The rules took longer over one study than they may."""
