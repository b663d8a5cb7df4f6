"""The child's side of `child_process`: take limits, run one named function, write the answer."""

from __future__ import annotations

import errno
import importlib
import json
import logging
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

from dicom_gateway.child_process import EXIT_OUT_OF_MEMORY

# Name of a function -> module whose `run(arguments) -> answer` it is. Nothing else can be called.
FUNCTIONS = {
    "inspect": "dicom_gateway.inspect_child",
    "probe": "dicom_gateway.child_probe",
    "decode": "dicom_gateway.decode_child",
    "decode_radiograph": "dicom_gateway.radiograph_child",
    "source_headers": "dicom_gateway.source_headers_child",
    "web_index": "dicom_gateway.web_index_child",
    "web_frames": "dicom_gateway.web_frames_child",
    "web_render": "dicom_gateway.web_render_child",
    "bulk_data": "dicom_gateway.bulk_data_child",
}


def main(functions: dict[str, str] = FUNCTIONS) -> int:
    """functions: as `FUNCTIONS`, of a package that runs children of its own."""
    request = json.load(sys.stdin)
    try:
        _take_limits(request["limits"])
        _write_answer(Path(request["answer_path"]), _run(functions, request))
    except MemoryError:
        return EXIT_OUT_OF_MEMORY
    except OSError as error:
        # What a memory map raises where an allocation raises MemoryError.
        if error.errno != errno.ENOMEM:
            raise
        return EXIT_OUT_OF_MEMORY
    return 0


def _run(functions: dict[str, str], request: dict[str, Any]) -> dict[str, Any]:
    # Warnings and log records of the parsers quote values of the data set.
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    module = importlib.import_module(functions[request["function"]])
    answer: dict[str, Any] = module.run(request["arguments"])
    return answer


def _take_limits(limits: dict[str, Any]) -> None:
    """A limit already lower than asked for stays."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_CPU: limits["cpu_s"],
    }
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # One second between SIGXCPU, which tells the parent why, and SIGKILL.
        roof = soft + 1 if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else soft
        resource.setrlimit(kind, (soft, roof))


def _write_answer(path: Path, answer: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(answer, allow_nan=False), encoding="utf-8")
    partial.rename(path)


if __name__ == "__main__":
    sys.exit(main())
