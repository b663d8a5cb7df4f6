"""Regular expressions of rules, admitted only where matching them is cheap whatever the text.

Python's matcher backtracks: `(a+)+$` takes a lifetime on forty characters. The number of ways in which a pattern can
be laid over a text bounds the work, so it is counted before the pattern is ever used; with too many it is refused.
"""

from __future__ import annotations

import re
from re import _constants, _parser  # type: ignore[attr-defined] # the parse tree has no public name
from typing import Any

from pipeline.rule_errors import ExpressionRefused

PATTERN_LENGTH_MAX = 200
# DICOM's LO has 64 characters at most; of longer texts (ST, LT) a pattern sees the beginning.
SUBJECT_LENGTH_MAX = 128
WAYS_MAX = 4_000_000
"""About 0.1 s of work. Two open repetitions anywhere in the text are within it, three are not."""

_ONE_CHARACTER = frozenset({_constants.LITERAL, _constants.NOT_LITERAL, _constants.ANY, _constants.IN})
_REPEATS = frozenset({_constants.MAX_REPEAT, _constants.MIN_REPEAT})


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern, case ignored; raises `ExpressionRefused` where it is none or could be slow."""
    if len(pattern) > PATTERN_LENGTH_MAX:
        raise ExpressionRefused(f"the pattern is longer than {PATTERN_LENGTH_MAX} characters")
    try:
        tree = _parser.parse(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ExpressionRefused(f"the pattern is not a regular expression: {error}") from error
    # A search tries every place to begin at.
    if _ways(tree) * SUBJECT_LENGTH_MAX > WAYS_MAX:
        raise ExpressionRefused(
            "the pattern could take too long on some texts: use fewer of * + {} |, and none around a group"
        )
    return re.compile(pattern, re.IGNORECASE)


def _ways(tree: Any) -> int:
    """In how many ways the parts can be laid over a text, from one place on; at most a little over `WAYS_MAX`."""
    ways = 1
    for kind, argument in tree:
        ways = min(ways * _ways_of(kind, argument), WAYS_MAX + 1)
    return ways


def _ways_of(kind: Any, argument: Any) -> int:
    if kind in _ONE_CHARACTER or kind is _constants.AT:
        return 1
    if kind is _constants.BRANCH:
        ways = [_ways(branch) for branch in argument[1]]
        return max(ways) if _begin_differently(argument[1]) else sum(ways)
    if kind is _constants.SUBPATTERN:
        return _ways(argument[-1])
    if kind in _REPEATS:
        return _repeated(*argument)
    raise ExpressionRefused(
        "the pattern uses a form that is not allowed (look-around, back reference, atomic group)"
    )


def _begin_differently(branches: Any) -> bool:
    """Whether no text can enter two of the branches: `chest|thorax` is one way, not two."""
    first = [branch[0] for branch in branches if len(branch)]
    if len(first) < len(branches) or any(kind is not _constants.LITERAL for kind, _ in first):
        return False
    return len({chr(code).casefold() for _, code in first}) == len(first)


def _repeated(low: int, high: int, tree: Any) -> int:
    longest = min(int(high), SUBJECT_LENGTH_MAX)
    if low > SUBJECT_LENGTH_MAX:
        raise ExpressionRefused(f"the pattern repeats more than {SUBJECT_LENGTH_MAX} times")
    is_character = len(tree) == 1 and tree[0][0] in _ONE_CHARACTER
    # A group may match nothing, so that even a fixed number of repeats is work.
    each = 1 if is_character else max(_ways(tree), 2)
    ways = 0
    for count in range(low, longest + 1):
        ways += min(each**count, WAYS_MAX + 1)
        if ways > WAYS_MAX:
            break
    return ways
