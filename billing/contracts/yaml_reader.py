"""YAML read as text with line numbers: no floats, no tags, no aliases, every problem told at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation

import yaml

from billing.errors import ContractError, ContractProblem

TEXT_LENGTH_MAX = 1024 * 1024
DEPTH_MAX = 20
VALUE_LENGTH_MAX = 500
_MISSING = object()
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Reader:
    """Collects what is wrong while a document is read."""

    def __init__(self) -> None:
        self.problems: list[ContractProblem] = []

    def problem(self, node: yaml.Node, message: str) -> None:
        self.problems.append(ContractProblem(node.start_mark.line + 1, message))

    def raise_problems(self) -> None:
        if self.problems:
            raise ContractError(self.problems)


def parse(text: str) -> tuple[Reader, YamlMap]:
    """The document's top mapping; raises `ContractError` where it is not one plain YAML mapping."""
    if len(text) > TEXT_LENGTH_MAX:
        raise ContractError([ContractProblem(1, f"longer than {TEXT_LENGTH_MAX} characters")])
    try:
        _refuse_aliases_and_depth(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ContractError([ContractProblem(line, f"not YAML: {error.problem}")]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ContractError([ContractProblem(1, "not YAML: a character is not allowed")]) from error
    if not isinstance(node, yaml.MappingNode):
        raise ContractError(
            [ContractProblem(1, "needs keys and values, for example `contract: my-contract`")]
        )
    reader = Reader()
    return reader, YamlMap(reader, node)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _refuse_aliases_and_depth(text: str) -> None:
    """Aliases can repeat themselves without end, nesting can exhaust the stack; a contract needs neither."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ContractError([ContractProblem(_line(event), "aliases (*) are not allowed")])
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise ContractError([ContractProblem(_line(event), "nested too deeply")])


class YamlMap:
    """One mapping. Reading a key marks it as known; `finish` reports the others.

    A value that is wrong is reported and its stand-in returned, so that reading goes on to the next problem.
    """

    def __init__(self, reader: Reader, node: yaml.MappingNode) -> None:
        self.reader = reader
        self.node = node
        self._values: dict[str, yaml.Node] = {}
        self._known: set[str] = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            if name in self._values:
                reader.problem(key, f"`{name}` comes twice")
            self._values[name] = value

    def has(self, name: str) -> bool:
        self._known.add(name)
        return name in self._values

    def problem(self, name: str, message: str) -> None:
        self.reader.problem(self._values.get(name, self.node), f"`{name}` {message}")

    def problem_of_item(self, name: str, number: int, message: str) -> None:
        """A problem of one item of a list, from 0, told at its first line."""
        self.reader.problem(self._items(name)[number], message)

    @property
    def names(self) -> tuple[str, ...]:
        """The keys, in the order of the file."""
        return tuple(self._values)

    def finish(self) -> None:
        for name in sorted(self._values.keys() - self._known):
            self.problem(name, "is not known here")

    def text(self, name: str, default: str | object = _MISSING) -> str:
        node = self._get(name, is_required=default is _MISSING)
        if node is None:
            return default if isinstance(default, str) else ""
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.problem(name, "needs a text")
            return ""
        if len(node.value) > VALUE_LENGTH_MAX:
            self.problem(name, f"is longer than {VALUE_LENGTH_MAX} characters")
        return str(node.value).strip()

    def decimal(self, name: str, default: Decimal | None = None, minimum: Decimal = Decimal(0)) -> Decimal:
        text = self.text(name, _MISSING if default is None else f"{default:f}")
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value < minimum or len(text) > 30:
            if text:
                self.problem(name, f"needs a number of at least {minimum:f}")
            return max(minimum, Decimal(1))
        return value

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        text = self.text(name, _MISSING if default is None else str(default))
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else low - 1
        if not low <= value <= high:
            if text:
                self.problem(name, f"needs a whole number from {low} to {high}")
            return low
        return value

    def day_or_none(self, name: str) -> date | None:
        return self.day(name) if self.has(name) else None

    def day(self, name: str) -> date:
        text = self.text(name)
        try:
            return date.fromisoformat(text)
        except ValueError:
            if text:
                self.problem(name, "needs a date like 2026-01-31")
            return date(2000, 1, 1)

    def one_of(self, name: str, choices: tuple[str, ...], default: str | object = _MISSING) -> str:
        if default is _MISSING and not self.has(name):
            self.problem(name, f"is missing; it is one of: {', '.join(choices)}")
            return choices[0]
        text = self.text(name, default)
        if text not in choices:
            if text:
                self.problem(name, f"must be one of: {', '.join(choices)}")
            return choices[0]
        return text

    def map(self, name: str) -> YamlMap:
        node = self._get(name)
        if isinstance(node, yaml.MappingNode):
            return YamlMap(self.reader, node)
        if node is not None:
            self.problem(name, "needs keys and values")
        return YamlMap(Reader(), yaml.MappingNode("", [], self.node.start_mark, self.node.end_mark))

    def maps(self, name: str, is_required: bool = True) -> Iterator[YamlMap]:
        """Each item of a list; nothing where the key is absent and need not be there."""
        if not is_required and not self.has(name):
            return
        for node in self._items(name):
            if isinstance(node, yaml.MappingNode):
                yield YamlMap(self.reader, node)
            else:
                self.reader.problem(node, f"`{name}` needs keys and values in each item")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of lines; empty where the key is absent."""
        if not self.has(name):
            return ()
        nodes = [node for node in self._items(name) if isinstance(node, yaml.ScalarNode)]
        return tuple(str(node.value)[:VALUE_LENGTH_MAX] for node in nodes)

    def scalar(self, name: str) -> yaml.ScalarNode | None:
        """The node of a plain value, None where there is none."""
        node = self._values.get(name)
        return node if isinstance(node, yaml.ScalarNode) else None

    def text_or_texts(self, name: str) -> tuple[str, ...]:
        """One text, or a list of them."""
        if isinstance(self._values.get(name), yaml.SequenceNode):
            return self.texts(name)
        return (self.text(name),)

    def _items(self, name: str) -> list[yaml.Node]:
        node = self._get(name)
        if isinstance(node, yaml.SequenceNode) and node.value:
            return list(node.value)
        if node is not None:
            self.problem(name, "needs a list with at least one item")
        return []

    def _get(self, name: str, is_required: bool = True) -> yaml.Node | None:
        self._known.add(name)
        node = self._values.get(name)
        if node is None and is_required:
            self.reader.problem(self.node, f"`{name}` is missing")
        return node


def name_of(source: YamlMap, key: str, default: str | object = _MISSING) -> str:
    """An id: lower-case letters, digits, - and _."""
    text = source.text(key, default)
    if text and not _NAME.fullmatch(text):
        source.problem(key, "needs lower-case letters, digits, - and _, at most 64")
    return text


def replace_value(text: str, key: str, value: str) -> str:
    """The document with another plain value for one key of its top mapping; everything else as it was written."""
    _, top = parse(text)
    node = top.scalar(key)
    return text if node is None else text[: node.start_mark.index] + value + text[node.end_mark.index :]
