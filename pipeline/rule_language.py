"""Expressions of routing rules: text → checked `Expression`.

The grammar and its parser are rule-engine's; of what it can parse only comparisons, lists and logic are admitted. Names
are a fixed table of keywords with their types: no attribute, no function, no arithmetic, no Python object is within
reach. Everything that could be expensive is refused from the tokens, before the library sees the text, for it computes
constants while it parses.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import rule_engine
from rule_engine import ast, errors

from pipeline.rule_errors import ExpressionRefused
from pipeline.rule_expression import (
    Compare,
    Constant,
    Expression,
    Logic,
    Match,
    Member,
    Name,
    Node,
    Not,
    Operand,
    operand_text,
)
from pipeline.rule_keywords import SERIES_KEYWORDS, STUDY_KEYWORDS, Kind
from pipeline.rule_regex import compile_pattern

LENGTH_MAX = 1000
TOKENS_MAX = 200
DEPTH_MAX = 20

_ADMITTED = frozenset(
    {
        *("SYMBOL", "STRING", "FLOAT", "TRUE", "FALSE", "NULL", "AND", "OR", "NOT", "IN", "COMMA"),
        *("EQ", "NE", "LT", "LE", "GT", "GE", "EQ_FZM", "EQ_FZS", "NE_FZM", "NE_FZS"),
        *("LPAREN", "RPAREN", "LBRACKET", "RBRACKET"),
    }
)
_MATCHING = frozenset({"EQ_FZM", "EQ_FZS", "NE_FZM", "NE_FZS"})
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_MATCHES = {"eq_fzm": "=~", "eq_fzs": "=~~", "ne_fzm": "!~", "ne_fzs": "!~~"}


@lru_cache(maxsize=2000)
def parse_expression(text: str, *, of_series: bool) -> Expression:
    """Check `text`; raises `ExpressionRefused` with the column.

    of_series: whether the keywords of a series may be used beside those of the study.
    """
    keywords = SERIES_KEYWORDS if of_series else STUDY_KEYWORDS
    if len(text) > LENGTH_MAX:
        raise ExpressionRefused(f"longer than {LENGTH_MAX} characters")
    columns = _check_tokens(text, keywords)
    context = rule_engine.Context(type_resolver=lambda _name: rule_engine.DataType.UNDEFINED)
    try:
        parsed = rule_engine.Rule(text, context).statement.expression
    except errors.RuleSyntaxError as error:
        token = getattr(error, "token", None)
        if token is None:
            raise ExpressionRefused("it ends too early", len(text)) from error
        raise ExpressionRefused(f"{token.value!r} does not fit here", token.lexpos + 1) from error
    except errors.EngineError as error:
        raise ExpressionRefused(str(error.message)) from error
    builder = _Builder(keywords, iter(columns))
    return Expression(text, builder.condition(parsed))


def _check_tokens(text: str, keywords: Mapping[str, Kind]) -> list[int]:
    """The one-based column of each name; raises at the first token that no rule may hold."""
    columns: list[int] = []
    depth = negations = 0
    before = ""
    for count, token in enumerate(_tokens(text)):
        column = token.lexpos + 1
        if count == TOKENS_MAX:
            raise ExpressionRefused(f"more than {TOKENS_MAX} words and signs", column)
        if token.type not in _ADMITTED or "&" in token.value:
            raise ExpressionRefused(f"{token.value[:30]!r} is not part of the rule language", column)
        if before in _MATCHING and token.type != "STRING":
            raise ExpressionRefused('a pattern is a text in quotes, like r"^CT"', column)
        if token.type == "SYMBOL":
            _check_name(token.value, keywords, column)
            columns.append(column)
        elif token.type == "STRING":
            _check_text(token.value, column, is_pattern=before in _MATCHING)
        depth += token.type in {"LPAREN", "LBRACKET"}
        depth -= token.type in {"RPAREN", "RBRACKET"}
        negations = negations + 1 if token.type == "NOT" else 0
        if depth + negations > DEPTH_MAX:
            raise ExpressionRefused(f"nested more than {DEPTH_MAX} deep", column)
        before = token.type
    if not before:
        raise ExpressionRefused("the expression is empty")
    return columns


def _tokens(text: str) -> Iterator[Any]:
    lexer = rule_engine.Rule.parser._lexer.clone()
    lexer.input(text)
    try:
        yield from lexer
    except errors.RuleSyntaxError as error:
        column = lexer.lexpos + 1
        raise ExpressionRefused(
            f"{text[column - 1 : column]!r} is not part of the rule language", column
        ) from error


def _check_name(name: str, keywords: Mapping[str, Kind], column: int) -> None:
    if name in keywords:
        return
    if name in SERIES_KEYWORDS:
        sentence = f"{name} belongs to a series: write it under `series`"
        if name == "Modality":
            sentence += ", or use ModalitiesInStudy"
        raise ExpressionRefused(sentence, column)
    by_case = {known.lower(): known for known in keywords}
    near = difflib.get_close_matches(name.lower(), by_case, n=1, cutoff=0.6)
    hint = f": did you mean {by_case[near[0]]}?" if near else " is not a known keyword"
    raise ExpressionRefused(f"{name[:60]}{hint}", column)


def _check_text(literal: str, column: int, *, is_pattern: bool) -> None:
    is_raw = literal[0] == "r"
    if "\\" in literal and not is_raw:
        raise ExpressionRefused('write r"…" for a text that holds a backslash', column)
    if is_pattern:
        try:
            compile_pattern(literal[2 if literal[0] in "rs" else 1 : -1])
        except ExpressionRefused as error:
            raise ExpressionRefused(error.message, column) from error


@dataclass
class _Builder:
    """From the library's tree to ours, types checked. columns: where each name stands, in the order of reading."""

    keywords: Mapping[str, Kind]
    columns: Iterator[int]
    column: int = 1

    def condition(self, node: Any) -> Node:
        if isinstance(node, ast.BooleanExpression):
            return Constant(bool(node.value))
        if isinstance(node, ast.LogicExpression):
            return Logic(node.type, self.condition(node.left), self.condition(node.right))
        if isinstance(node, ast.UnaryExpression) and node.type == "not":
            return Not(self.condition(node.right))
        if isinstance(node, ast.FuzzyComparisonExpression):
            return self._match(node)
        if isinstance(node, ast.ContainsExpression):
            return self._member(node)
        if isinstance(node, ast.ComparisonExpression):
            return self._compare(node)
        if isinstance(node, ast.SymbolExpression):
            self._operand(node)
        raise self._refuse("is not a condition: compare it with something")

    def _match(self, node: Any) -> Node:
        subject = self._operand(node.left)
        if not isinstance(subject, Name) or subject.kind is not Kind.TEXT:
            raise self._refuse("can be matched only when it is a text")
        return Match(_MATCHES[node.type], subject, node.right.value, compile_pattern(node.right.value))

    def _member(self, node: Any) -> Node:
        # The library builds the container first.
        if isinstance(node.container, ast.ArrayExpression):
            member = self._operand(node.member)
            container = self._literals(node.container)
            kinds = {_kind(one) for one in container}
            if not isinstance(member, Name) or kinds != {member.kind}:
                raise self._refuse("needs a list of values of its own type after `in`")
            return Member(member, container)
        member = self._operand(node.member)
        container_name = self._operand(node.container)
        if not isinstance(container_name, Name) or container_name.kind is Kind.NUMBER:
            raise self._refuse("is not a list or a text that something can be in")
        if _kind(member) is not Kind.TEXT:
            raise self._refuse("can be in a list of texts only when it is a text")
        return Member(member, container_name)

    def _compare(self, node: Any) -> Node:
        left, right = self._operand(node.left), self._operand(node.right)
        kinds = {_kind(left), _kind(right)}
        if not isinstance(left, Name) and not isinstance(right, Name):
            raise self._refuse("compares two values that never change")
        is_null = None in kinds
        if is_null and node.type not in ("eq", "ne"):
            raise self._refuse("null can only be compared with == and !=")
        if not is_null and len(kinds) > 1:
            raise self._refuse(
                f"{operand_text(left)} is {_kind(left)} and {operand_text(right)} is {_kind(right)}"
            )
        if Kind.TEXTS in kinds and not is_null:
            raise self._refuse('is a list: write "…" in it')
        return Compare(_COMPARISONS[node.type], left, right)

    def _operand(self, node: Any) -> Operand:
        if isinstance(node, ast.SymbolExpression):
            self.column = next(self.columns)
            return Name(node.name, self.keywords[node.name])
        if isinstance(node, ast.StringExpression):
            return str(node.value)
        if isinstance(node, ast.FloatExpression):
            return float(node.value)
        if isinstance(node, ast.NullExpression):
            return None
        raise self._refuse("is compared with something that is no value")

    def _literals(self, node: Any) -> tuple[str | float, ...]:
        found = [self._operand(one) for one in node.value]
        if not found or not all(isinstance(one, str | float) for one in found):
            raise self._refuse("needs texts or numbers in the list after `in`")
        return tuple(one for one in found if isinstance(one, str | float))

    def _refuse(self, sentence: str) -> ExpressionRefused:
        return ExpressionRefused(sentence, self.column)


def _kind(operand: Operand) -> Kind | None:
    if isinstance(operand, Name):
        return operand.kind
    return {str: Kind.TEXT, float: Kind.NUMBER}.get(type(operand))
