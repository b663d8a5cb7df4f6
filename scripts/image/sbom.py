"""Completes the bill of materials that cyclonedx-py made of an environment, and checks the whole against its schema.

Added is what no Python package says of itself: the packages of Debian, the Python and the PostgreSQL that came as
programs, and the weights of models with their digests.

    sbom.py --environment /opt/radmeter --dpkg-status status --output radmeter.cdx.json python.cdx.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

Component = dict[str, Any]


def debian_packages(status: str) -> Iterator[Component]:
    """status: the text of dpkg's own list, paragraphs of `Field: value`."""
    for paragraph in status.strip().split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if not line.startswith(" ") and ": " in line
        )
        if fields["Status"] != "install ok installed":
            continue
        name, version, architecture = (fields[key] for key in ("Package", "Version", "Architecture"))
        purl = f"pkg:deb/debian/{name}@{quote(version, safe='~')}?arch={architecture}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def programs(environment: Path) -> Iterator[Component]:
    """Python and the embedded PostgreSQL, by what they answer."""
    commands = [("python", "python:python", environment / "bin/python")]
    commands += [
        ("postgresql", "postgresql:postgresql", path)
        for path in sorted(environment.glob("lib/**/bin/postgres"))
    ]
    for name, vendor, program in commands:
        answer = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
        version = answer.split()[-1].rstrip(")")
        purl = f"pkg:generic/{name}@{version}"
        yield {
            "type": "application", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "cpe": f"cpe:2.3:a:{vendor}:{version}:*:*:*:*:*:*:*",
        }  # fmt: skip


def weights(environment: Path) -> Iterator[Component]:
    """Each model's graph, named by its place in the package."""
    (packages,) = environment.glob("lib/python3.*/site-packages")
    for path in sorted((packages / "models").glob("**/*.onnx")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name = path.relative_to(packages).as_posix()
        yield {
            "type": "machine-learning-model", "bom-ref": f"weights:{digest}:{name}", "name": name,
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument("--dpkg-status", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("python_bom", type=Path)
    arguments = parser.parse_args()
    bom = json.loads(arguments.python_bom.read_text(encoding="utf-8"))
    bom["components"] += [
        *debian_packages(arguments.dpkg_status.read_text(encoding="utf-8")),
        *programs(arguments.environment),
        *weights(arguments.environment),
    ]
    written = json.dumps(bom, indent=1, ensure_ascii=False)
    problem = JsonStrictValidator(SchemaVersion.from_version(bom["specVersion"])).validate_str(written)
    if problem is not None:
        raise SystemExit(f"sbom.py: not a valid CycloneDX document: {problem}")
    arguments.output.write_text(written + "\n", encoding="utf-8")
    kinds = [component["type"] for component in bom["components"]]
    sys.stdout.write(f"{len(kinds)} components, {kinds.count('machine-learning-model')} of them weights\n")


if __name__ == "__main__":
    main()
