"""Small ONNX graphs made by hand, for tests that must run without the package onnx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

FLOAT, UINT8, UINT16, INT16, INT64 = 1, 2, 4, 5, 7
Side = int | str


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value & 0xFFFFFFFFFFFFFFFF)


def _bytes(tag: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(tag << 3 | 2) + _varint(len(data)) + data


def _value_info(name: str, kind: int, shape: Sequence[Side]) -> bytes:
    sides = b"".join(
        _bytes(1, _number(1, side) if isinstance(side, int) else _bytes(2, side)) for side in shape
    )
    tensor = _number(1, kind) + _bytes(2, sides)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int) -> bytes:
    """One node; attributes are whole numbers."""
    parts = [_bytes(1, one) for one in inputs] + [_bytes(2, one) for one in outputs] + [_bytes(4, op)]
    for name, value in attributes.items():
        parts.append(_bytes(5, _bytes(1, name) + _number(3, value) + _number(20, 2)))
    return b"".join(parts)


def whole_numbers(name: str, values: Sequence[int]) -> bytes:
    """An initializer of int64."""
    return (
        _number(1, len(values))
        + _number(2, INT64)
        + b"".join(_number(7, v) for v in values)
        + _bytes(8, name)
    )


def elsewhere(name: str, path: str, count: int) -> bytes:
    """An initializer of float whose values lie in another file."""
    where = b"".join(
        _bytes(13, _bytes(1, key) + _bytes(2, value))
        for key, value in {"location": path, "offset": "0", "length": str(4 * count)}.items()
    )
    return _number(1, count) + _number(2, FLOAT) + _bytes(8, name) + where + _number(14, 1)


@dataclass
class Graph:
    """inputs, outputs: (name, kind, shape); a side is a number, or a name where it varies."""

    inputs: Sequence[tuple[str, int, Sequence[Side]]]
    outputs: Sequence[tuple[str, int, Sequence[Side]]]
    nodes: Sequence[bytes]
    initializers: Sequence[bytes] = field(default=())

    def to_bytes(self) -> bytes:
        graph = b"".join(_bytes(1, one) for one in self.nodes) + _bytes(2, "graph")
        graph += b"".join(_bytes(5, one) for one in self.initializers)
        graph += b"".join(_bytes(11, _value_info(*one)) for one in self.inputs)
        graph += b"".join(_bytes(12, _value_info(*one)) for one in self.outputs)
        return _number(1, 8) + _bytes(8, _bytes(1, "") + _number(2, 17)) + _bytes(7, graph)


def mean_graph(
    *,
    output: str = "mean",
    after: Sequence[str] = (),
    batch: Side = "batch",
    initializers: Sequence[bytes] = (),
    extra: Sequence[bytes] = (),
) -> bytes:
    """int16 HU (batch, z, y, x) → the mean (batch, 1, 1, 1). after: further operations on it, each of one input."""
    names = [f"step{number}" for number in range(len(after))] + [output]
    nodes = [
        *extra,
        node("Cast", ["hounsfield"], ["float"], to=FLOAT),
        node("ReduceMean", ["float"], [names[0]], keepdims=1) if batch == 1 else _mean_of_each(names[0]),
        *(node(op, [names[n]], [names[n + 1]]) for n, op in enumerate(after)),
    ]
    return Graph(
        [("hounsfield", INT16, [batch, "z", "y", "x"])],
        [(output, FLOAT, [batch, 1, 1, 1])],
        nodes,
        initializers,
    ).to_bytes()


def _mean_of_each(output: str) -> bytes:
    """Axes are an attribute in opset 17."""
    axes = b"".join(_number(8, axis) for axis in (1, 2, 3))
    attribute = _bytes(5, _bytes(1, "axes") + axes + _number(20, 7))
    return _bytes(1, "float") + _bytes(2, output) + _bytes(4, "ReduceMean") + attribute
