"""Series -> Volume or Radiograph, decoded in a child process under limits (D12)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_gateway.child_process import ChildCrashed, ChildLimits, ChildOutOfMemory, ChildTimedOut, run_child
from dicom_gateway.decode_errors import DecoderCrashed, DecodeTimedOut, TooLarge, error_from_json
from dicom_gateway.radiograph_files import RadiographNotDecoded, load_radiograph
from dicom_gateway.volume_files import VolumeNotDecoded, load_volume
from study.answer import Image
from study.radiograph import Radiograph
from study.study import Series
from study.volume import Volume

__all__ = [
    "DecodeLimits", "VolumeNotDecoded", "decode_image", "decode_radiograph", "decode_series", "load_image",
    "load_radiograph", "load_volume",
]  # fmt: skip

# More threads than this wait for one another's memory bandwidth.
THREADS_MAX = 8
_NPY_HEADER_BYTES = 4096
# 8,192 x 8,192 pixels; the largest detectors have a quarter of that.
RADIOGRAPH_BYTES_MAX = 128 << 20


@dataclass(frozen=True)
class DecodeLimits:
    """What decoding one series may use.

    memory_bytes: address space of the child. Default 4 GiB: a volume of the greatest size, mapped, and one
        multi-frame file of the same size read.
    cpu_s, wall_clock_s: 1,000 slices of JPEG 2000 need about 30 s of one core; the defaults leave ten times.
    volume_bytes_max: int16 voxels. Default 2 GiB: 4,096 slices of 512 x 512, or 1,024 of 1024 x 1024.
    threads: 0 means one per available core, at most 8.
    is_durable: whether the volume must survive a power cut; what is used up in this process need not.
    """

    memory_bytes: int = 4 << 30
    cpu_s: int = 300
    wall_clock_s: float = 300.0
    volume_bytes_max: int = 2 << 30
    threads: int = 0
    is_durable: bool = True


def decode_series(series: Series, root: Path, out_dir: Path, limits: DecodeLimits | None = None) -> Volume:
    """Decode `series`, whose instances' locations lie under `root`, into files in `out_dir`.

    The volume's voxels are a read-only memory map of `out_dir`/voxels.npy. Decoding again replaces it.
    Raises a `DecodeError` whose `code` and sentence tell why there is no volume.
    """
    limits = limits or DecodeLimits()
    out_dir.mkdir(parents=True, exist_ok=True)
    arguments = {
        "paths": [str((root / instance.location).absolute()) for instance in series.instances],
        "out_dir": str(out_dir.absolute()),
        "series_instance_uid": series.series_instance_uid,
        "volume_bytes_max": limits.volume_bytes_max,
        "threads": limits.threads or min(THREADS_MAX, len(os.sched_getaffinity(0))),
        "is_durable": limits.is_durable,
    }
    _run("decode", arguments, limits)
    return load_volume(out_dir)


def decode_radiograph(
    series: Series, sop_instance_uid: str, root: Path, out_dir: Path, limits: DecodeLimits | None = None
) -> Radiograph:
    """Decode one instance of `series` into files in `out_dir`; as `decode_series` does."""
    limits = limits or DecodeLimits()
    out_dir.mkdir(parents=True, exist_ok=True)
    found = next(one for one in series.instances if one.sop_instance_uid == sop_instance_uid)
    arguments = {
        "path": str((root / found.location).absolute()),
        "out_dir": str(out_dir.absolute()),
        "series_instance_uid": series.series_instance_uid,
        "image_bytes_max": min(limits.volume_bytes_max, RADIOGRAPH_BYTES_MAX),
    }
    _run("decode_radiograph", arguments, limits)
    return load_radiograph(out_dir)


def decode_image(
    series: Series,
    root: Path,
    out_dir: Path,
    *,
    sop_instance_uid: str = "",
    limits: DecodeLimits | None = None,
) -> Image:
    """The whole series as a volume, or the one image of it that is named as a radiograph."""
    if sop_instance_uid:
        return decode_radiograph(series, sop_instance_uid, root, out_dir, limits)
    return decode_series(series, root, out_dir, limits)


def load_image(folder: Path) -> Image:
    """Re-open what a former decode wrote, whichever kind of image it was."""
    try:
        return load_radiograph(folder)
    except RadiographNotDecoded:
        return load_volume(folder)


def _run(function: str, arguments: dict[str, Any], limits: DecodeLimits) -> None:
    try:
        answer = run_child(function, arguments, _child_limits(limits))
    except ChildOutOfMemory as error:
        raise TooLarge(f"decoding the series needs {error}") from error
    except ChildTimedOut as error:
        raise DecodeTimedOut(f"decoding the series takes too long: {error}") from error
    except ChildCrashed as error:
        raise DecoderCrashed(f"decoding the series failed: its process {error}") from error
    if "error" in answer:
        raise error_from_json(answer["error"])


def _child_limits(limits: DecodeLimits) -> ChildLimits:
    return ChildLimits(
        memory_bytes=limits.memory_bytes,
        cpu_s=limits.cpu_s,
        wall_clock_s=limits.wall_clock_s,
        file_bytes=limits.volume_bytes_max + _NPY_HEADER_BYTES,
    )
