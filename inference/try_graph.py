"""Opens the graph of a model that somebody brought and asks it once, in a child process that can be lost.

What the child gives back are plain values: what the graph takes and gives, and one sentence for each thing in which
it is not what the manifest says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

SIDE_TRIED = 64
"""Size of a side that varies, in the one inference that is tried; a multiple of every usual stride."""
ELEMENTS_MAX = 1 << 28
_DTYPES = {
    "tensor(int16)": np.int16,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
_THREADS = 2
_SENTENCE_LENGTH_MAX = 600


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """The child's work. arguments: path, inputs and outputs (shapes by name, of the manifest), max_batch.

    The answer: `problems`, sentences; `inputs`, as text by name.
    """
    wanted_in = {name: tuple(shape) for name, shape in arguments["inputs"].items()}
    wanted_out = {name: tuple(shape) for name, shape in arguments["outputs"].items()}
    try:
        session = _open(Path(arguments["path"]))
    except Exception as error:  # ONNX Runtime raises classes of its binary module and RuntimeError
        return _answer([f"ONNX Runtime cannot open it: {error}"], {})
    given = {one.name: one for one in session.get_inputs()}
    described = {name: f"{one.type} {_text(one.shape)}" for name, one in given.items()}
    problems = _compare("input", {name: one.shape for name, one in given.items()}, wanted_in, wanted_in != {})
    outputs = {one.name: one.shape for one in session.get_outputs()}
    problems += _compare("output", outputs, wanted_out, False)
    for name, one in given.items():
        if one.type not in _DTYPES:
            problems.append(f"input {name} is a {one.type}; allowed are {', '.join(_DTYPES)}")
    if problems:
        return _answer(problems, described)
    for batch in (1, 2) if arguments["max_batch"] > 1 else (1,):
        feed = {
            name: _example(one.type, _sides(one.shape, wanted_in.get(name), batch))
            for name, one in given.items()
        }
        problems += _try(session, feed, wanted_out, batch)
        if problems:
            break
    return _answer(problems, described)


def _open(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _compare(
    what: str, graph: Mapping[str, Any], manifest: Mapping[str, tuple[int, ...]], is_complete: bool
) -> list[str]:
    """is_complete: the manifest must name all that the graph has."""
    problems = []
    for name, shape in manifest.items():
        if name not in graph:
            there = ", ".join(f"{one} {_text(graph[one])}" for one in graph)
            problems.append(f"the manifest names an {what} {name}, the graph has {there or 'none'}")
        elif not _fits(graph[name], shape):
            problems.append(
                f"{what} {name} is {_text(graph[name])} in the graph and {_text(shape)} in the manifest"
            )
    if is_complete:
        problems += [
            f"the graph's {what} {name} is not in the manifest" for name in graph if name not in manifest
        ]
    return problems


def _fits(graph: Any, manifest: tuple[int, ...]) -> bool:
    """Equal where both give a number; of a size that varies the inference tells."""
    return len(graph) == len(manifest) and all(
        want == -1 or not isinstance(have, int) or have == want
        for have, want in zip(graph, manifest, strict=True)
    )


def _sides(graph: Any, manifest: tuple[int, ...] | None, batch: int) -> tuple[int, ...]:
    """The shape that is tried: the graph's numbers, else the manifest's, else one input or `SIDE_TRIED`."""
    sides = []
    for axis, have in enumerate(graph):
        want = manifest[axis] if manifest is not None else -1
        usual = batch if axis == 0 else SIDE_TRIED
        sides.append(
            have if isinstance(have, int) else usual if want == -1 or (axis == 0 and batch > 1) else want
        )
    return tuple(sides)


def _example(kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Noise in a usual range: Hounsfield units, brightness, or [0, 1)."""
    dtype = _DTYPES[kind]
    if np.prod(shape, dtype=np.float64) > ELEMENTS_MAX:
        raise MemoryError
    random = np.random.default_rng(0)
    if np.issubdtype(dtype, np.floating):
        return random.random(shape, np.float32).astype(dtype)
    low, high = (-1000, 400) if dtype == np.int16 else (0, 255)
    return random.integers(low, high, shape, dtype=dtype)


def _try(
    session: onnxruntime.InferenceSession,
    feed: dict[str, NDArray[Any]],
    wanted: Mapping[str, tuple[int, ...]],
    batch: int,
) -> list[str]:
    shown = ", ".join(f"{name} {_text(array.shape)}" for name, array in feed.items())
    if any(array.shape[:1] != (batch,) for array in feed.values()):
        return (
            [f"max_batch says that inputs may be stacked, but the graph takes {shown} only"]
            if batch > 1
            else []
        )
    names = list(wanted)
    try:
        values = session.run(names, feed)
    except MemoryError:
        raise
    except Exception as error:  # as above
        return [f"it does not run on {shown} (state shapes that it takes in [inputs]): {error}"]
    problems = []
    for name, value in zip(names, values, strict=True):
        array = np.asarray(value)
        expected = (-1, *wanted[name][1:]) if batch > 1 else wanted[name]
        if not _fits(array.shape, expected):
            problems.append(
                f"on {shown} it gives {name} {_text(array.shape)}, the manifest says {_text(expected)}"
            )
        elif batch > 1 and array.shape[0] != batch:
            problems.append(
                f"on {batch} stacked inputs it gives {name} {_text(array.shape)}: set max_batch = 1"
            )
        elif not np.isfinite(array).all():
            problems.append(f"on noise it answers with NaN or infinity in {name}")
    return problems


def _text(shape: Any) -> str:
    return "[" + ", ".join(str(side) if isinstance(side, int) else "varies" for side in shape) + "]"


def _answer(problems: list[str], inputs: dict[str, str]) -> dict[str, Any]:
    clean = ["".join(c if c.isprintable() else " " for c in one)[:_SENTENCE_LENGTH_MAX] for one in problems]
    return {"problems": clean, "inputs": inputs}
