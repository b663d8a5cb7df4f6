"""Independent validators read what we encode, on real sources (PS3.3, PS3.16, IHE AIR 1.3)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from study.nodule import PriorRead
from tests.result_builders import ball, characterised, grown, read_source, result_context

pytestmark = pytest.mark.peer

CASES = ("ct_chest_lidc0314_1mm", "ct_chest_4dlung_113", "ct_chest_lungdx_A0002")
OBJECTS = (
    "positive.sr", "positive.seg", "positive.pdf", "single.sr", "single.seg", "negative.sr", "negative.pdf",
)  # fmt: skip
PIXELMED_JARS = "pixelmed commons-codec commons-net jaxb-api javax.json slf4j-nop vecmath"


class Results(NamedTuple):
    source: Path
    folder: Path


@pytest.fixture(scope="module", params=CASES)
def results(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Results:
    """A positive result (segments, one finding without), one with a lone finding and a negative one, as files."""
    source, folder = shared_data / request.param / "dicom", tmp_path_factory.mktemp(request.param)
    headers, volume = read_source(source)
    middle = volume.to_lps_mm(np.asarray([volume.voxels.shape[0] / 2, 256.0, 200.0]))
    findings = (
        grown(ball(volume, middle, 15.0, id=1, score=0.97)),
        characterised(ball(volume, middle + np.array([60, 10, 5]), 8.0, id=2, score=0.7), state="new"),
        ball(volume, middle + np.array([-20, 30, -15]), 25.0, id=3, score=0.55, segment=False),
    )
    for name, found in (("positive", findings), ("single", findings[:1]), ("negative", ())):
        context = result_context(headers, volume, found, prior=PriorRead("20240901", 183, 0.97))
        objects = {
            "sr": encode_sr(context),
            "seg": encode_seg(context),
            "pdf": encode_pdf(context, b"%PDF-1.7"),
        }
        for kind, dataset in objects.items():
            if dataset is not None:
                dataset.save_as(folder / f"{name}.{kind}", enforce_file_format=True)
    return Results(source, folder)


def output_of(*command: str | Path) -> str:
    completed = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, errors="replace"
    )
    return completed.stdout + completed.stderr


def errors_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("name", OBJECTS)
def test_dciodvfy_finds_no_error(results: Results, name: str) -> None:
    output = output_of("dciodvfy", results.folder / name)
    assert {"sr": "Comprehensive3DSR", "seg": "Segmentation", "pdf": "EncapsulatedPDF"}[
        name[-3:].strip(".")
    ] in output
    assert errors_in(output) == []


def test_dcentvfy_finds_results_and_source_consistent(results: Results) -> None:
    source = sorted(results.source.glob("*.dcm"))
    output = output_of(
        "dcentvfy", *source, *(results.folder / name for name in OBJECTS if "positive" in name)
    )
    # The tool counts Accession Number to the series of an image and to the study of an SR; every SR
    # in an imaging study is told so.
    rest = [line for line in output.splitlines() if line.strip() and "Element=<AccessionNumber>" not in line]
    assert rest == []


def structured_report_errors(path: Path) -> list[str]:
    """What PixelMed's validator has against a report after TID 1500."""
    jars = ":".join(f"/usr/share/java/{jar}.jar" for jar in PIXELMED_JARS.split())
    output = output_of(
        "java", "-Xmx2g", "-Xss64m", "-Djdk.xml.xpathTotalOpLimit=0", "-Djdk.xml.xpathExprOpLimit=0",
        "-Djdk.xml.xpathExprGrpLimit=0", "-cp", jars, "com.pixelmed.validate.DicomSRValidator", path,
    )  # fmt: skip
    assert "Found Root Template TID_1500" in output
    # The validator exits with 0 whatever it finds, and stays silent when it never reaches the template.
    assert "Root Template Validation Complete" in output
    return errors_in(output)


@pytest.mark.parametrize("name", ["positive.sr", "single.sr", "negative.sr"])
def test_the_sr_follows_its_root_template(results: Results, name: str) -> None:
    assert structured_report_errors(results.folder / name) == []


def test_dsrdump_reads_the_findings(results: Results) -> None:
    output = output_of("dsrdump", results.folder / "positive.sr")
    assert not re.search(r"(?m)^[EF]: ", output)
    assert output.count('"Measurement Group"') == 5
    assert output.count('"Image Region"') == 3
    assert "UNVERIFIED" in output
