"""Independent validators of result objects: dicom3tools and PixelMed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

_JARS = "pixelmed commons-codec commons-net jaxb-api javax.json slf4j-nop vecmath"
_OVER_MANY_FILES = Path(__file__).parent / "ValidateReports.java"


def output_of(*command: str | Path) -> str:
    completed = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, errors="replace", check=False
    )
    return completed.stdout + completed.stderr


def errors_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("Error")]


def inconsistencies(*paths: Path) -> list[str]:
    """What dcentvfy finds between instances of one patient and study.

    The tool counts Accession Number to the series of an image and to the study of an SR; every SR in an imaging study
    is told so.
    """
    lines = [line for line in output_of("dcentvfy", *paths).splitlines() if line.strip()]
    return [line for line in lines if "Element=<AccessionNumber>" not in line]


def report_errors(paths: Sequence[Path], root: str = "TID_1500") -> list[str]:
    """What PixelMed's validator has against reports after their template, all in one process, for it starts slowly."""
    jars = ":".join(f"/usr/share/java/{jar}.jar" for jar in _JARS.split())
    output = output_of(
        "java", "-XX:+UseSerialGC", "-Xmx2g", "-Xss64m", "-Djdk.xml.xpathTotalOpLimit=0",
        "-Djdk.xml.xpathExprOpLimit=0", "-Djdk.xml.xpathExprGrpLimit=0", "-cp", jars, _OVER_MANY_FILES, *paths,
    )  # fmt: skip
    parts = re.split(r"(?m)^== ", output)[1:]
    assert [part.splitlines()[0] for part in parts] == [str(path) for path in paths], output
    found = []
    for path, part in zip(paths, parts, strict=True):
        # It stays silent when it never reaches the template.
        if "Root Template Validation Complete" not in part or f"Found Root Template {root}" not in part:
            found.append(f"{path.name}: the root template was not validated")
        found += [f"{path.name}: {line}" for line in errors_in(part)]
    return found
