"""Independent validators read every kind of object of every model, on real sources (PS3.3, PS3.16, IHE AIR 1.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.result_context import GuidelineWords, ResultContext
from dicom_gateway.source_headers import read_headers
from pipeline.check_results import check_result_set
from pipeline.result_set import RESULT_KINDS, ResultObject, encode_result
from study.nodule import PriorRead
from tests.dicom_gateway.test_encode_structures import lobes
from tests.dicom_validators import errors_in, inconsistencies, output_of, report_errors
from tests.radiograph_files import radiograph_context, statement
from tests.result_builders import ball, characterised, grown, read_source, result_context

pytestmark = pytest.mark.peer

SERIES = ("ct_chest_lidc0314_1mm", "ct_chest_4dlung_113", "ct_chest_lungdx_A0002")
RADIOGRAPHS = ("gdcm-CR-MONO1-10-chest.dcm", "RG1_J2KI")
GUIDELINE = GuidelineWords(
    "Lung-RADS v2022", "ACR 2022", "4A", ((1, "4A: solid, 8 to < 15 mm, at baseline."),)
)
IOD = {
    "sr": "Comprehensive3DSR", "seg": "Segmentation", "pm": "ParametricMap", "pdf": "EncapsulatedPDF",
    "gsps": "GrayscaleSoftcopyPresentationState", "keys": "KeyObjectSelectionDocument", "sc": "SCImage",
    "kos": "KeyObjectSelectionDocument", "sr2d": "ComprehensiveSR", "text": "BasicTextSR",
}  # fmt: skip
NONE = {"sr", "sr2d", "text", "pdf", "sc"}
ALL = NONE | {"seg", "pm", "gsps", "keys"}
KINDS = {
    "nodules": ALL, "superseding": ALL | {"kos"}, "single": ALL, "none": NONE, "lobes": ALL - {"pm"},
    "positive": ALL - {"seg"}, "negative": NONE,
}  # fmt: skip
DRAWN = {"nodules": 3, "superseding": 3, "single": 1, "positive": 1}


@dataclass(frozen=True)
class Made:
    """One result on one real source, as files named `kind.number`."""

    name: str
    source: tuple[Path, ...]
    folder: Path
    context: ResultContext

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())


@pytest.fixture(scope="module")
def results(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Made]:
    made = []
    for source, name, context in [*of_series(shared_data), *of_radiographs(shared_data)]:
        folder = tmp_path_factory.mktemp(name)
        for kind, dataset in encode_result(replace(context, kinds=RESULT_KINDS), b"%PDF-1.7"):
            dataset.save_as(folder / f"{kind.lower()}.{dataset.InstanceNumber}", enforce_file_format=True)
        made.append(Made(name, source, folder, context))
    return made


def of_series(data: Path) -> Iterator[tuple[tuple[Path, ...], str, ResultContext]]:
    """Nodules and none on each series; a lone one, the lobes and a second revision on one of them."""
    for number, series in enumerate(SERIES):
        folder = data / series / "dicom"
        files = tuple(sorted(folder.glob("*.dcm")))
        headers, volume = read_source(folder)
        middle = volume.to_lps_mm(np.asarray([volume.voxels.shape[0] / 2, 256.0, 200.0]))
        findings = (
            grown(ball(volume, middle, 15.0, id=1, score=0.97)),
            characterised(ball(volume, middle + np.array([60, 10, 5]), 8.0, id=2, score=0.7), state="new"),
            ball(volume, middle + np.array([-20, 30, -15]), 25.0, id=3, score=0.55, segment=False),
        )
        nodules = result_context(
            headers,
            volume,
            findings,
            prior=PriorRead("20240901", 183, 0.97),
            guideline=GUIDELINE,
            finding_mm=(4, 80),
        )
        yield files, "nodules", replace(nodules, language="zh" if number == 1 else "en")
        if number != 1:
            continue
        yield files, "none", replace(nodules, findings=(), guideline=None, language="zh")
        yield files, "single", replace(nodules, findings=findings[:1])
        lobar = replace(nodules, findings=(), prior=None, guideline=None, structures=lobes(volume))
        yield (
            files,
            "lobes",
            replace(lobar, model_name="lung_ct_segmentation", operating_threshold=None, language="zh"),
        )
        earlier = [one for _, one in encode_result(replace(nodules, kinds=RESULT_KINDS), b"%PDF-1.7")]
        yield files, "superseding", replace(nodules, revision=2, predecessors=earlier)


def of_radiographs(data: Path) -> Iterator[tuple[tuple[Path, ...], str, ResultContext]]:
    for name, language in zip(RADIOGRAPHS, ("en", "zh"), strict=True):
        path = data / "cxr" / name
        (header,) = read_headers([path])
        statements = [statement(), statement("cardiomegaly", 0.1)]
        context = radiograph_context(header, statements, language=language)
        yield (path,), "positive", context
        yield (path,), "negative", replace(context, classifications=tuple(statements[1:]))


def test_every_model_gives_the_kinds_that_it_can(results: list[Made]) -> None:
    for one in results:
        assert {path.stem for path in one.files} == KINDS[one.name], one.name


def test_our_own_gate_lets_every_set_pass(results: list[Made]) -> None:
    for one in results:
        objects = [ResultObject(path.stem.upper(), "", "", "", path.read_bytes()) for path in one.files]
        verdict = check_result_set(
            objects,
            one.context.source_headers,
            model_name=one.context.model_name,
            model_version=one.context.model_version,
            image=one.context.image,
            predecessors=one.context.predecessors,
        )
        assert verdict.problems == (), one.name


def test_dciodvfy_finds_no_error_in_any_kind(results: list[Made]) -> None:
    for one in results:
        for path in one.files:
            output = output_of("dciodvfy", path)
            assert IOD[path.stem] in output, path
            assert errors_in(output) == [], path


def test_dcentvfy_finds_results_and_source_consistent(results: list[Made]) -> None:
    for one in results:
        # One of the radiographs lacks attributes of type 2, which results must have.
        lacks = "Attribute present in one instance but not the other"
        found = inconsistencies(*one.source, *one.files)
        assert [line for line in found if lacks not in line or len(one.source) > 1] == [], one.name


def test_the_sr_of_every_model_follows_its_root_template(results: list[Made]) -> None:
    folders = [one.folder for one in results if one.name != "superseding"]
    assert report_errors([folder / f"{kind}.1" for folder in folders for kind in ("sr", "sr2d")]) == []
    assert report_errors([folder / "text.1" for folder in folders], root="TID_2000") == []


def test_the_text_report_says_what_the_sr_says(results: list[Made]) -> None:
    """Each measurement as a sentence, the conclusion and the notice as they are, and no coordinate."""
    for one in results:
        report = output_of("dsrdump", one.folder / "text.1")
        assert "SCOORD" not in report
        assert "NUM:" not in report
        said = [str(item.TextValue) for item in texts(pydicom.dcmread(one.folder / "text.1"))]
        groups = len(one.context.findings) + len(one.context.structures)
        assert len([text for text in said if "lung_" in text and ": " in text]) >= groups
        words = one.context.words
        for sentence in (words.conclusion(one.context), words.notice(one.context)):
            assert any(text.endswith(sentence) for text in said), one.name
        for finding in one.context.findings:
            assert any(f"{round(finding.long_axis_mm, 2):g}" in text for text in said)


def texts(item: Dataset) -> Iterator[Dataset]:
    for nested in item.get("ContentSequence") or ():
        if nested.ValueType == "TEXT":
            yield nested
        yield from texts(nested)


def test_dsrdump_reads_every_document(results: list[Made]) -> None:
    for one in results:
        for kind in {"sr", "sr2d", "text", "keys", "kos"} & KINDS[one.name]:
            output = output_of("dsrdump", one.folder / f"{kind}.1")
            assert not re.search(r"(?m)^[EF]: ", output), (one.name, kind)
            if kind in ("sr", "sr2d"):
                assert "UNVERIFIED" in output
                assert output.count("SCOORD:") == DRAWN.get(one.name, 0)


def test_the_pictures_open_in_dcmtk(results: list[Made]) -> None:
    for one in results:
        picture = one.folder / "sc.1"
        image = pydicom.dcmread(picture)
        assert (image.BurnedInAnnotation, image.Rows > 200) == ("YES", True)
        assert "E:" not in output_of("dcm2pnm", "--write-png", picture, one.folder.parent / "sc.png")
