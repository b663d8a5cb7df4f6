"""What the web asks of a stored instance beyond its bytes: decoded frames, pictures, values. Children make them."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_gateway.child_process import ChildError, ChildLimits, run_child

CHILDREN_MAX = 3  # at a time; an instance is taken in and read while people look
# Requests that wait hold threads that pages need: beyond these it is said at once that there are too many.
WAITING_MAX = 12
WAIT_MAX_S = 20.0
_LIMITS = ChildLimits(memory_bytes=2 << 30, cpu_s=60, wall_clock_s=90.0, file_bytes=2 << 30)
_children = threading.BoundedSemaphore(CHILDREN_MAX)
_waiting = threading.BoundedSemaphore(CHILDREN_MAX + WAITING_MAX)


class NotDecodable(ValueError):
    """An instance cannot be given in the form that was asked for; the message is the reason."""


class TooBusy(RuntimeError):
    """Too many images are being decoded."""


@dataclass(frozen=True)
class Drawing:
    """How a frame is drawn. window: center, width, function; viewport: the box in which it must fit, in pixels."""

    media_type: str
    window: tuple[float, float, str] | None = None
    viewport: tuple[int, int] | None = None
    quality: int = 90


def decode_frames(path: Path, numbers: Sequence[int]) -> Iterator[bytes]:
    """The frames in Explicit VR Little Endian, one after the other, all of the same size."""
    with _folder() as folder:
        out = folder / "frames"
        _run("web_frames", {"files": [{"path": _name(path), "out_path": str(out), "frames": list(numbers)}]})
        size = out.stat().st_size // len(numbers)
        with out.open("rb") as file:
            for _ in numbers:
                yield file.read(size)


@contextmanager
def decoded_instances(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Files with the instances in Explicit VR Little Endian, removed in the end."""
    with _folder() as folder:
        outs = [folder / f"{number}.dcm" for number in range(len(paths))]
        files = [{"path": _name(path), "out_path": str(out)} for path, out in zip(paths, outs, strict=True)]
        _run("web_frames", {"files": files})
        yield outs


def draw_frame(path: Path, number: int, drawing: Drawing) -> bytes:
    """A PNG or JPEG."""
    with _folder() as folder:
        out = folder / "picture"
        arguments = {
            "path": _name(path),
            "out_path": str(out),
            "frame": number,
            "media_type": drawing.media_type,
            "window": drawing.window,
            "viewport": drawing.viewport,
            "quality": drawing.quality,
        }
        _run("web_render", arguments)
        return out.read_bytes()


def bulk_value(path: Path, element: Sequence[int]) -> bytes:
    """The value of a binary element. element: tags and numbers of items from 1 on, in turn."""
    with _folder() as folder:
        out = folder / "value"
        _run("bulk_data", {"path": _name(path), "out_path": str(out), "element": list(element)})
        return out.read_bytes()


def _run(function: str, arguments: dict[str, Any]) -> None:
    with turn():
        try:
            answer = run_child(function, arguments, _LIMITS)
        except ChildError as error:
            reason = f"the instance cannot be decoded within the limits: its process {error}"
            raise NotDecodable(reason) from error
    if "problem" in answer:
        raise NotDecodable(str(answer["problem"]))


@contextmanager
def turn() -> Iterator[None]:
    """A place among those who may run a child; raises `TooBusy` where there is none soon."""
    if not _waiting.acquire(blocking=False):
        raise TooBusy
    try:
        if not _children.acquire(timeout=WAIT_MAX_S):
            raise TooBusy
        try:
            yield
        finally:
            _children.release()
    finally:
        _waiting.release()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="radmeter-web-") as name:
        yield Path(name)


def _name(path: Path) -> str:
    return str(path.absolute())
