"""What the graphs that come with radmeter carry beside their weights: nothing of the machine that exported them."""

from __future__ import annotations

from pathlib import Path

import pytest

GRAPHS = sorted(Path(__file__).resolve().parents[2].glob("models/*/*.onnx"))


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: path.parent.name)
def test_no_graph_tells_where_its_source_lay(graph: Path) -> None:
    content = graph.read_bytes()
    assert b"stack_trace" not in content
    assert b'File "/' not in content


def test_there_are_graphs_to_look_at() -> None:
    assert len(GRAPHS) >= 3
