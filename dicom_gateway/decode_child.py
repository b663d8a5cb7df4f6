"""Decode one series in the child of `decode`: frames -> voxels.npy and volume.json."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.decode_errors import DecodeError, DuplicateSlices, StorageFull, TooLarge
from dicom_gateway.geometry import Stack, common_axes, equal_heights, heights_mm, stack
from dicom_gateway.pixels import decode_frame
from dicom_gateway.series_source import Frame, SeriesSource, open_series
from dicom_gateway.shear import UprightGrid, shift_slice, upright_grid
from dicom_gateway.volume_files import DESCRIPTION_NAME, VOXELS_NAME, VolumeDescription
from study.sentences import say

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What may tell two acquisitions at the same positions apart, in the order in which it is tried.
_GROUPING: tuple[tuple[str, Callable[[Frame], object]], ...] = (
    ("acquisition", lambda frame: frame.header.acquisition_number),
    ("temporal position", lambda frame: frame.header.temporal_position),
    ("image type", lambda frame: frame.header.image_type),
    ("convolution kernel", lambda frame: frame.header.convolution_kernel),
)
_GROUP_SLICES_MIN = 3
_NAMED_MAX = 12


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: those of `_decode` by name. Answer: {} or {"error"}."""
    return answer_of(
        lambda: _decode(
            [Path(path) for path in arguments["paths"]],
            Path(arguments["out_dir"]),
            arguments["series_instance_uid"],
            arguments["volume_bytes_max"],
            arguments["threads"],
            arguments["is_durable"],
        )
    )


def answer_of(decode: Callable[[], None]) -> dict[str, Any]:
    """{} when `decode` ends well, {"error"} for what a series or a full disk is to blame for."""
    try:
        decode()
    except DecodeError as error:
        return {"error": error.as_json()}
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return {"error": StorageFull("there is no room for the decoded image").as_json()}
    return {}


def _decode(
    paths: list[Path], out_dir: Path, series_uid: str, volume_bytes_max: int, threads: int, is_durable: bool
) -> None:
    series = open_series(paths, volume_bytes_max)
    with ThreadPoolExecutor(threads) as pool:
        frames, plan, notes = _plan(series)
        ordered = [frames[index] for index in plan.order]
        grid = upright_grid(plan, ordered[0].plane.size) if plan.shear_pixels is not None else None
        if grid is not None:
            notes.append(say("TILT_CORRECTED", degrees=f"{plan.tilt_deg:.1f}"))
        _write_voxels(out_dir, ordered, grid, volume_bytes_max, pool, is_durable)
    affine = plan.affine_mm if grid is None else grid.affine_mm
    VolumeDescription(
        affine_mm=affine.tolist(),
        slice_sop_instance_uids=[frame.source.sop_instance_uid for frame in ordered],
        slice_frame_numbers=[frame.header.number for frame in ordered],
        series_instance_uid=series_uid,
        frame_of_reference_uid=series.frame_of_reference_uid,
        slice_thickness_mm=_thickness_mm(ordered),
        notes=[*series.notes, *notes],
    ).write(out_dir)


def _plan(series: SeriesSource) -> tuple[list[Frame], Stack, list[str]]:
    """The frames that make one regular stack, the stack, and what was left out."""
    frames, notes = _without_copies(list(series.frames))
    if len({(frame.source.sop_instance_uid, frame.header.number) for frame in frames}) < len(frames):
        raise DuplicateSlices("two different images of the series have the same SOP Instance UID")
    try:
        return frames, _stack(frames, series.tilt_tag_deg), notes
    except DuplicateSlices:
        for name, key in _GROUPING:
            found = _largest_regular_group(frames, key, series.tilt_tag_deg)
            if found is not None:
                group, plan = found
                left_out = len(frames) - len(group)
                notes.append(say("OTHERS_LEFT_OUT", n=left_out, group=name))
                return group, plan, notes
        raise


def _without_copies(frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Of frames with the same position and the same pixels, only the first."""
    heights = heights_mm([frame.plane for frame in frames], common_axes([frame.plane for frame in frames]))
    kept: list[Frame] = []
    for indices in equal_heights(heights):
        images: list[NDArray[np.int16]] = []
        for index in indices:
            # Alone at its position: nothing to compare with.
            image = _hounsfield(frames[index]) if len(indices) > 1 else None
            if image is not None and any(np.array_equal(image, other) for other in images):
                continue
            kept.append(frames[index])
            images.extend([] if image is None else [image])
    count = len(frames) - len(kept)
    code = "COPY_LEFT_OUT" if count == 1 else "COPIES_LEFT_OUT"
    return kept, [say(code, n=count)] if count else []


def _stack(frames: Sequence[Frame], tilt_tag_deg: float | None) -> Stack:
    """Raises `DuplicateSlices` when frames share a position."""
    planes = [frame.plane for frame in frames]
    axes = common_axes(planes)
    shared = [group for group in equal_heights(heights_mm(planes, axes)) if len(group) > 1]
    if shared:
        z_mm = [round(float((planes[group[0]].position_mm or (0.0, 0.0, 0.0))[2]), 2) for group in shared]
        named = ", ".join(f"{z:g}" for z in z_mm[:_NAMED_MAX]) + (", …" if len(z_mm) > _NAMED_MAX else "")
        raise DuplicateSlices(
            f"different images lie at the same position, at z = {named} mm, and nothing tells which belong"
            " together",
            duplicate_z_mm=z_mm,
        )
    return stack(planes, axes, tilt_tag_deg)


def _largest_regular_group(
    frames: list[Frame], key: Callable[[Frame], object], tilt_tag_deg: float | None
) -> tuple[list[Frame], Stack] | None:
    groups: dict[object, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    largest = max(groups.values(), key=len)
    if len(groups) < 2 or len(largest) < _GROUP_SLICES_MIN:
        return None
    try:
        return largest, _stack(largest, tilt_tag_deg)
    except DecodeError:
        return None


def _thickness_mm(frames: list[Frame]) -> float | None:
    """Slice Thickness when all slices agree on one that can be."""
    found = {frame.header.slice_thickness_mm for frame in frames}
    thickness = found.pop() if len(found) == 1 else None
    return thickness if thickness is not None and thickness > 0 else None


def _write_voxels(
    out_dir: Path,
    frames: list[Frame],
    grid: UprightGrid | None,
    volume_bytes_max: int,
    pool: ThreadPoolExecutor,
    is_durable: bool,
) -> None:
    """Decode every frame into its slice of `voxels.npy`, on disk before it gets that name if it is durable."""
    shape = (len(frames), *(grid.size if grid is not None else frames[0].plane.size))
    if int(np.prod(shape, dtype=np.int64)) * 2 > volume_bytes_max:
        raise TooLarge(f"the volume without tilt exceeds {volume_bytes_max >> 20} MiB")
    (out_dir / DESCRIPTION_NAME).unlink(missing_ok=True)
    partial = out_dir / f"{VOXELS_NAME}.partial"
    voxels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.int16, shape=shape)
    with partial.open("r+b") as file:
        # A full disk is an error here, but a SIGBUS once the pages are written through the map.
        os.posix_fallocate(file.fileno(), 0, file.seek(0, os.SEEK_END))
        _fill(voxels, frames, grid, pool)
        if is_durable:
            voxels.flush()
            os.fsync(file.fileno())
    partial.replace(out_dir / VOXELS_NAME)


def _fill(
    voxels: NDArray[np.int16], frames: list[Frame], grid: UprightGrid | None, pool: ThreadPoolExecutor
) -> None:
    """One task per source file; its frames lie in one value."""
    by_source: dict[Path, list[int]] = {}
    for index, frame in enumerate(frames):
        by_source.setdefault(frame.source.path, []).append(index)

    def put(index: int, encoded: bytes) -> None:
        frame = frames[index]
        image = decode_frame(encoded, frame.source.pixel_format, frame.rescale)
        voxels[index] = image if grid is None else shift_slice(image, grid, index)

    def put_source(indices: list[int]) -> None:
        encoded = frames[indices[0]].source.encoded_frames()
        for index in indices:
            put(index, encoded[frames[index].header.number - 1])

    if len(by_source) == 1:
        encoded = frames[0].source.encoded_frames()
        _finish(pool, put, [(index, encoded[frame.header.number - 1]) for index, frame in enumerate(frames)])
    else:
        _finish(pool, put_source, [(indices,) for indices in by_source.values()])


def _finish(pool: ThreadPoolExecutor, function: Callable[..., None], calls: list[tuple[Any, ...]]) -> None:
    """Run all calls; the first failure ends the rest."""
    futures = [pool.submit(function, *call) for call in calls]
    try:
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()


def _hounsfield(frame: Frame) -> NDArray[np.int16]:
    encoded = frame.source.encoded_frames()[frame.header.number - 1]
    return decode_frame(encoded, frame.source.pixel_format, frame.rescale)
