"""The tree of a checked expression, and what it says of a study: true, false, or unknown.

A missing value makes a comparison unknown, and what depends on it alone stays unknown (Kleene's logic, as in SQL):
neither `SliceThickness > 3` nor `not (SliceThickness > 3)` holds for a series that does not state its thickness.
Only true matches. Texts are compared without regard to case.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.rule_keywords import Facts, Kind, Value
from pipeline.rule_regex import SUBJECT_LENGTH_MAX

Truth = bool | None
"""None: a value that it depends on is missing."""


@dataclass(frozen=True)
class Name:
    """A keyword and the type of its value."""

    keyword: str
    kind: Kind


Operand = Name | str | float | None


@dataclass(frozen=True)
class Constant:
    """`true` or `false`."""

    value: bool

    @property
    def text(self) -> str:
        return str(self.value).lower()


@dataclass(frozen=True)
class Not:
    """Negation."""

    node: Node

    @property
    def text(self) -> str:
        return f"not ({self.node.text})"


@dataclass(frozen=True)
class Logic:
    """kind: and, or."""

    kind: str
    left: Node
    right: Node

    @property
    def text(self) -> str:
        sides = [
            f"({side.text})" if isinstance(side, Logic) and side.kind != self.kind else side.text
            for side in (self.left, self.right)
        ]
        return f" {self.kind} ".join(sides)


@dataclass(frozen=True)
class Compare:
    """sign: == != < <= > >=."""

    sign: str
    left: Operand
    right: Operand

    @property
    def text(self) -> str:
        return f"{operand_text(self.left)} {self.sign} {operand_text(self.right)}"


@dataclass(frozen=True)
class Match:
    """A regular expression: =~ at the beginning, =~~ anywhere; !~ and !~~ say not."""

    sign: str
    subject: Name
    pattern_text: str
    pattern: re.Pattern[str]

    @property
    def text(self) -> str:
        return f'{self.subject.keyword} {self.sign} r"{self.pattern_text}"'


@dataclass(frozen=True)
class Member:
    """A value in a list, or a text in a longer text."""

    member: Operand
    container: Name | tuple[str | float, ...]

    @property
    def text(self) -> str:
        if isinstance(self.container, Name):
            return f"{operand_text(self.member)} in {self.container.keyword}"
        return f"{operand_text(self.member)} in [{', '.join(operand_text(one) for one in self.container)}]"


Node = Constant | Not | Logic | Compare | Match | Member


@dataclass(frozen=True)
class Expression:
    """A checked expression. text: as it was written."""

    text: str
    node: Node


def operand_text(operand: Operand) -> str:
    if isinstance(operand, Name):
        return operand.keyword
    if isinstance(operand, float):
        return f"{operand:g}"
    return "null" if operand is None else f'"{operand}"'


def evaluate(node: Node, facts: Facts, tick: Callable[[], None] = lambda: None) -> Truth:
    """What the expression says of `facts`. tick: called before each comparison; may raise to end it."""
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Not):
        inner = evaluate(node.node, facts, tick)
        return None if inner is None else not inner
    if isinstance(node, Logic):
        decisive = node.kind == "or"
        left = evaluate(node.left, facts, tick)
        if left is decisive:
            return decisive
        right = evaluate(node.right, facts, tick)
        if right is decisive:
            return decisive
        return None if left is None or right is None else not decisive
    tick()
    if isinstance(node, Match):
        return _match(node, facts)
    return _compare(node, facts) if isinstance(node, Compare) else _contains(node, facts)


def first_not_true(node: Node, facts: Facts) -> Node | None:
    """The smallest part of an expression that keeps it from being true; None where it is true.

    Of `a and b` the first that is not true; an `or` and a `not` stand for themselves.
    """
    if evaluate(node, facts) is True:
        return None
    if isinstance(node, Logic) and node.kind == "and":
        return first_not_true(node.left, facts) or first_not_true(node.right, facts)
    return node


def names_in(node: Node) -> Iterator[Name]:
    """The keywords of an expression, in the order of reading, each as often as it stands there."""
    if isinstance(node, Not):
        yield from names_in(node.node)
    elif isinstance(node, Logic):
        yield from names_in(node.left)
        yield from names_in(node.right)
    elif isinstance(node, Match):
        yield node.subject
    elif isinstance(node, Compare):
        yield from (side for side in (node.left, node.right) if isinstance(side, Name))
    elif isinstance(node, Member):
        yield from (side for side in (node.member, node.container) if isinstance(side, Name))


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _value(operand: Operand, facts: Facts) -> Value:
    value = facts[operand.keyword] if isinstance(operand, Name) else operand
    if isinstance(value, str):
        return value.casefold()
    return tuple(one.casefold() for one in value) if isinstance(value, tuple) else value


def _compare(node: Compare, facts: Facts) -> Truth:
    left, right = _value(node.left, facts), _value(node.right, facts)
    if node.left is None or node.right is None:  # `== null` asks whether the value is missing
        return (left == right) is (node.sign == "==")
    if left is None or right is None:
        return None
    return bool(_ORDER[node.sign](left, right))


def _contains(node: Member, facts: Facts) -> Truth:
    member = _value(node.member, facts)
    if isinstance(node.container, tuple):
        return None if member is None else member in [_value(one, facts) for one in node.container]
    container = _value(node.container, facts)
    if member is None or container is None:
        return None
    assert isinstance(member, str)
    assert isinstance(container, str | tuple)
    return member in container


def _match(node: Match, facts: Facts) -> Truth:
    value = facts[node.subject.keyword]
    if value is None:
        return None
    assert isinstance(value, str)
    subject = value[:SUBJECT_LENGTH_MAX]
    found = node.pattern.search(subject) if node.sign.endswith("~~") else node.pattern.match(subject)
    return (found is not None) is node.sign.startswith("=")
