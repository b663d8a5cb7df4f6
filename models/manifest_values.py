"""Reading one table of a manifest.toml: each value by its key, of its kind, or a sentence that says what is allowed."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

TEXT_LENGTH_MAX = 2000
LIST_LENGTH_MAX = 200
Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")
Reader = Callable[Concatenate["Table", Arguments], Value]
_NO_TEXTS: tuple[str, ...] = ()
_NO_NUMBERS: tuple[float, ...] = ()
_NO_SHAPES: dict[str, tuple[int, ...]] = {}
_NO_KEYS: dict[str, Any] = {}


def _noted(stand_in: Value) -> Callable[[Reader[Arguments, Value]], Reader[Arguments, Value]]:
    """What a reader finds wrong is noted, and `stand_in` read instead: whoever wrote it learns of all at once."""

    def noting(read: Reader[Arguments, Value]) -> Reader[Arguments, Value]:
        def reader(table: Table, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
            try:
                return read(table, *args, **kwargs)
            except ValueError as error:
                table.problems.append(str(error))
                return stand_in

        return reader

    return noting


def lines_of(text: str) -> dict[tuple[str, str], int]:
    """(table, key) → the line of a manifest that begins with it; for sentences, not for reading values."""
    lines: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if head := re.match(r"\s*\[([\w.\-]+)\]", line):
            table = head[1]
        elif key := re.match(r"\s*\"?([\w\-]+)\"?\s*=", line):
            lines.setdefault((table, key[1]), number)
    return lines


class Table:
    """One table of a manifest. Every reader notes in `problems` the key, what is wrong and what is allowed.

    default: what an absent key means; without one the key is needed. Keys that were read are remembered, so that
    `unknown` can name the others. lines: see `lines_of`. Tables below share both with this one.
    """

    def __init__(
        self, values: Mapping[str, Any], lines: Mapping[tuple[str, str], int], name: str = ""
    ) -> None:
        self._name, self._values, self._lines = name, values, lines
        self._known: set[str] = set()
        self.problems: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @_noted("")
    def text(
        self,
        key: str,
        default: str | None = None,
        *,
        pattern: str = "",
        allowed: str = "",
        empty: bool = True,
    ) -> str:
        """A string on one line. pattern: what all of it must match; `allowed` says so in words."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.problem(key, value, f"must be text in quotes{allowed and f': {allowed}'}")
        if len(value) > TEXT_LENGTH_MAX or not value.isprintable():
            raise self.problem(
                key, value, f"must be one line of at most {TEXT_LENGTH_MAX} printable characters"
            )
        if not (value.strip() or empty):
            raise self.problem(key, value, "must not be empty")
        if pattern and re.fullmatch(pattern, value, re.ASCII) is None and value != default:
            raise self.problem(key, value, f"must be {allowed}")
        return value

    @_noted(1.0)
    def number(
        self, key: str, default: float | None = None, *, low: float = -math.inf, high: float = math.inf
    ) -> float:
        """A finite number in [low, high]."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.problem(key, value, "must be a number")
        if value != default and not (math.isfinite(value) and low <= value <= high):
            raise self.problem(key, value, f"must lie in [{low:g}, {high:g}]")
        return float(value)

    @_noted(1)
    def integer(self, key: str, default: int | None = None, *, low: int = 0, high: int = 1_000_000) -> int:
        """A whole number in [low, high]."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.problem(key, value, f"must be a whole number from {low} to {high}")
        return value

    @_noted("")
    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self._value(key, default)
        if value not in allowed:
            raise self.problem(key, value, f"must be one of {', '.join(allowed)}")
        return str(value)

    @_noted(_NO_TEXTS)
    def texts(
        self,
        key: str,
        default: tuple[str, ...] | None = None,
        *,
        pattern: str = "",
        allowed: str = "",
        empty: bool = True,
    ) -> tuple[str, ...]:
        """A list of strings; one string alone counts as a list of it."""
        value = self._value(key, default)
        items = [value] if isinstance(value, str) else value
        if not (items or empty):
            raise self.problem(key, value, f"must name at least one of {allowed}")
        if not isinstance(items, list | tuple) or len(items) > LIST_LENGTH_MAX:
            raise self.problem(key, value, f"must be a list of at most {LIST_LENGTH_MAX} texts in quotes")
        for item in items:
            if not isinstance(item, str) or not item.isprintable() or len(item) > TEXT_LENGTH_MAX:
                raise self.problem(key, item, "must be a list of texts in quotes, each on one line")
            if pattern and re.fullmatch(pattern, item, re.ASCII) is None:
                raise self.problem(key, item, f"must be a list of {allowed}")
        return tuple(items)

    def numbers(
        self,
        key: str,
        count: int,
        default: tuple[float, ...] | None = None,
        *,
        allowed: str,
        low: float = -math.inf,
    ) -> tuple[float, ...]:
        """A list of exactly `count` finite numbers, each above `low`."""
        return self._numbers(key, count, default, allowed, low) or tuple(range(1, count + 1))

    @_noted(_NO_NUMBERS)
    def _numbers(
        self, key: str, count: int, default: tuple[float, ...] | None, allowed: str, low: float
    ) -> tuple[float, ...]:
        value = self._value(key, default)
        are_numbers = isinstance(value, list | tuple) and all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in value
        )
        if not are_numbers or len(value) != count or (value != default and min(value) <= low):
            raise self.problem(key, value, f"must be {allowed}")
        return tuple(float(one) for one in value)

    @_noted(_NO_SHAPES)
    def shapes(
        self, key: str, default: dict[str, Any] | None = None, *, example: str = ""
    ) -> dict[str, tuple[int, ...]]:
        """A table of shapes by name, -1 for a side that varies. example: of one, where at least one is needed."""
        value = self._value(key, default)
        if not isinstance(value, Mapping) or len(value) > LIST_LENGTH_MAX:
            raise self.problem(key, value, "must be a table of names with their shapes, as scores = [1, 256]")
        for name, shape in value.items():
            sizes = shape if isinstance(shape, list) and 0 < len(shape) <= 8 else [None]
            if not all(isinstance(n, int) and not isinstance(n, bool) and (n == -1 or n > 0) for n in sizes):
                raise ValueError(
                    f"{self._line(key, str(name))}[{key}] {name} = {_shown(shape)}: a shape lists 1 to 8 sizes, "
                    "-1 where one varies"
                )
        if example and not value:
            raise ValueError(f"[{key}] must name at least one {example}")
        return {str(name): tuple(shape) for name, shape in value.items()}

    def table(self, key: str, *, optional: bool = False) -> Table | None:
        """The table below; None where it is optional and absent, or where there is none that can be read."""
        if key in self._values and isinstance(self._values[key], Mapping):
            self._known.add(key)
            below = Table(self._values[key], self._lines, f"{self._name}.{key}" if self._name else key)
            below.problems = self.problems
            return below
        if key in self._values or not optional:
            self._known.add(key)
            is_there = "must be a table of keys" if key in self._values else "is missing"
            self.problems.append(f"{self._where(key)} {is_there}")
        return None

    @_noted(_NO_KEYS)
    def free(self, key: str) -> dict[str, Any]:
        """A table that only the family understands; empty where there is none."""
        value = self._value(key, {})
        if not isinstance(value, Mapping):
            raise self.problem(key, value, "must be a table of keys")
        return dict(value)

    def unknown(self) -> list[str]:
        """One sentence for each key that nothing has asked for."""
        sentences = []
        for key in sorted(set(map(str, self._values)) - self._known):
            near = difflib.get_close_matches(key, self._known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(self._known))}"
            sentences.append(f"{self._where(key)} is not a key of a manifest{meant}")
        return sentences

    def problem(self, key: str, value: Any, sentence: str) -> ValueError:
        return ValueError(f"{self._where(key)} = {_shown(value)}: it {sentence}")

    def _value(self, key: str, default: Any) -> Any:
        self._known.add(key)
        if key in self._values:
            return self._values[key]
        if default is None:
            raise ValueError(f"{self._where(key)} is missing")
        return default

    def _where(self, key: str) -> str:
        shown = key[:80] if key.isprintable() else repr(key)[:80]
        return self._line(self._name, key) + (f"[{self._name}] {shown}" if self._name else shown)

    def _line(self, table: str, key: str) -> str:
        number = self._lines.get((table, key))
        return "" if number is None else f"line {number}: "


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
