"""Decoders of compressed CT slices on two cores: libraries, threads against processes, four transfer syntaxes.

radmeter decodes with imagecodecs. To measure the others too, run this in a throw-away environment that has them:

    python -m venv /tmp/decoders
    /tmp/decoders/bin/pip install numpy pydicom imagecodecs pyjpegls pylibjpeg-libjpeg pylibjpeg-openjpeg \\
        pylibjpeg-rle python-gdcm dicomsdl
    /tmp/decoders/bin/python -m benchmarks.decoders

A library that is absent, or that cannot read a syntax, is left out and named. Slices are those of the reference CT, or
synthetic ones of the same size where it is absent, encoded anew in each syntax by imagecodecs and pydicom.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless, generate_uid

ROOT = Path(__file__).resolve().parent.parent
REAL_CT = ROOT.parent / "shared" / "data" / "ct_chest_lidc0314_1mm" / "dicom"
SLICES = 24
_REPEATS = 3
_ROWS = 512

SYNTAXES = {
    "JPEG-LS": str(JPEGLSLossless),
    "JPEG lossless": str(JPEGLosslessSV1),
    "JPEG 2000": str(JPEG2000Lossless),
    "RLE": str(RLELossless),
}


def run(folder: Path = REAL_CT) -> dict[str, Any]:
    """Milliseconds of wall-clock time for a slice: in one thread, on all cores by threads, and by processes."""
    slices = _slices(folder)
    cores = len(os.sched_getaffinity(0))
    table: dict[str, Any] = {"cores": cores, "source": "real CT" if folder.is_dir() else "synthetic"}
    with tempfile.TemporaryDirectory(prefix="radmeter-bench-") as scratch:
        for name, syntax in SYNTAXES.items():
            paths = [_write(Path(scratch), syntax, number, image) for number, image in enumerate(slices)]
            table[name] = {library: _measured(library, paths, slices, cores) for library in LIBRARIES}
    return table


def _slices(folder: Path) -> list[np.ndarray]:
    """Stored values, uint16 with 12 bits used."""
    if folder.is_dir():
        paths = sorted(path for path in folder.glob("*.dcm"))
        middle = paths[len(paths) // 2 - SLICES // 2 :][:SLICES]
        return [imagecodecs.jpegls_decode(_frame(pydicom.dcmread(path))) for path in middle]
    generator = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(_ROWS), np.arange(_ROWS))
    return [(ramp + generator.normal(0, 12, ramp.shape) + 100).clip(0, 4095).astype(np.uint16)] * SLICES


def _frame(dataset: pydicom.Dataset) -> bytes:
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def _write(folder: Path, syntax: str, number: int, image: np.ndarray) -> Path:
    encoded = {
        str(JPEGLSLossless): lambda: imagecodecs.jpegls_encode(image),
        str(JPEGLosslessSV1): lambda: imagecodecs.ljpeg_encode(image, bitspersample=16),
        str(JPEG2000Lossless): lambda: imagecodecs.jpeg2k_encode(image, codecformat="j2k", reversible=True),
        str(RLELossless): lambda: RLELosslessEncoder.encode(
            image, rows=_ROWS, columns=_ROWS, samples_per_pixel=1, number_of_frames=1, bits_allocated=16,
            bits_stored=16, pixel_representation=0, photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom",
        ),
    }[syntax]()  # fmt: skip
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.2",
        generate_uid(),
    )
    meta.TransferSyntaxUID = syntax
    path = folder / f"{syntax}-{number}.dcm"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    dataset.Rows = dataset.Columns = _ROWS
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = encapsulate([bytes(encoded)])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def _imagecodecs(path: Path) -> np.ndarray:
    dataset = pydicom.dcmread(path)
    decode = {
        str(JPEGLSLossless): imagecodecs.jpegls_decode,
        str(JPEGLosslessSV1): imagecodecs.jpeg8_decode,
        str(JPEG2000Lossless): imagecodecs.jpeg2k_decode,
        str(RLELossless): lambda data: np.frombuffer(imagecodecs.dicomrle_decode(data, "<u2"), "<u2"),
    }[str(dataset.file_meta.TransferSyntaxUID)]
    return decode(_frame(dataset))


def _with_pydicom(plugin: str) -> Callable[[Path], np.ndarray]:
    def decode(path: Path) -> np.ndarray:
        from pydicom.pixels import get_decoder

        dataset = pydicom.dcmread(path)
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        return decoder.as_array(dataset, decoding_plugin=plugin, raw=True)[0]

    return decode


def _dicomsdl(path: Path) -> np.ndarray:
    import dicomsdl

    return dicomsdl.open(str(path)).pixelData(storedvalue=True)


def _decode(library: str, path: str) -> np.ndarray:
    return LIBRARIES[library](Path(path))


LIBRARIES: dict[str, Callable[[Path], np.ndarray]] = {
    "imagecodecs": _imagecodecs,
    "pyjpegls": _with_pydicom("pyjpegls"),
    "pylibjpeg": _with_pydicom("pylibjpeg"),
    "gdcm": _with_pydicom("gdcm"),
    "dicomsdl": _dicomsdl,
}
_MODULES = {"pyjpegls": "jpeg_ls", "pylibjpeg": "pylibjpeg", "gdcm": "gdcm", "dicomsdl": "dicomsdl"}


def _measured(library: str, paths: list[Path], slices: list[np.ndarray], cores: int) -> Any:
    if library in _MODULES and importlib.util.find_spec(_MODULES[library]) is None:
        return "not installed"
    try:
        wrong = sum(
            not np.array_equal(np.asarray(LIBRARIES[library](path)).reshape(_ROWS, _ROWS), image)
            for path, image in zip(paths, slices, strict=True)
        )
    except Exception as error:  # each library has its own way to say that it does not know a syntax
        return f"cannot: {type(error).__name__}"
    if wrong:
        return f"{wrong} of {len(slices)} slices are wrong"
    with ThreadPoolExecutor(cores) as threads, ProcessPoolExecutor(cores) as processes:
        return {
            "one_thread_ms": _ms(library, paths, None),
            "threads_ms": _ms(library, paths, threads),
            "processes_ms": _ms(library, paths, processes),
        }


def _ms(library: str, paths: list[Path], pool: Executor | None) -> float:
    """Of a slice, the best of three. Processes give back an array as a decoding worker would have to."""
    names, best = [str(path) for path in paths], float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        if pool is None:
            for name in names:
                _decode(library, name)
        else:
            list(pool.map(_decode, [library] * len(names), names, chunksize=4))
        best = min(best, time.perf_counter() - began)
    return round(best / len(paths) * 1000, 2)


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
