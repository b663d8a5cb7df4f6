"""Patient and study attributes of any source: nothing lost, nothing invented, always readable."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.encode_gsps import encode_gsps
from dicom_gateway.encode_keys import encode_keys
from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_pm import encode_pm
from dicom_gateway.encode_sc import encode_captures
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import ResultContext
from pipeline.capture_pictures import draw_captures
from tests.result_builders import ball, result_context, synthetic_headers, volume_of

ENCODERS: dict[str, Callable[[ResultContext], Dataset | None]] = {
    "SR": encode_sr,
    "SEG": encode_seg,
    "PDF": lambda context: encode_pdf(context, b"%PDF-1.7"),
    "PM": encode_pm,
    "GSPS": encode_gsps,
    "KEYS": lambda context: encode_keys(context, []),
    "SC": lambda context: encode_captures(context, draw_captures(context))[0],
}
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName")


def through_bytes(headers: list[Dataset]) -> list[Dataset]:
    """Headers as they come from files, text still in the character set of its source."""
    reread = []
    for header in headers:
        buffer = io.BytesIO()
        header.save_as(buffer, implicit_vr=False, little_endian=True)
        reread.append(pydicom.dcmread(io.BytesIO(buffer.getvalue()), force=True))
    return reread


def result_of(headers: list[Dataset], kind: str) -> Dataset:
    volume = volume_of(headers)
    dataset = ENCODERS[kind](result_context(headers, volume, [ball(volume, (0, 0, 10), 6.0)]))
    assert dataset is not None
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("GBK", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 192", "Żółć^Łucja"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 100", "Äneas^Rüdiger"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else None,
)
def test_a_name_in_any_character_set_arrives_in_unicode(
    kind: str, character_set: str | list[str], name: str
) -> None:
    headers = synthetic_headers(
        SpecificCharacterSet=character_set,
        PatientName=name,
        ReferringPhysicianName=name,
        StudyDescription=name[:20],
    )
    result = result_of(through_bytes(headers), kind)
    assert result.SpecificCharacterSet == "ISO_IR 192"
    assert str(result.PatientName) == name
    assert str(result.ReferringPhysicianName) == name
    assert result.StudyDescription == name[:20]


@pytest.mark.parametrize("kind", ENCODERS)
def test_empty_attributes_stay_empty(kind: str) -> None:
    result = result_of(synthetic_headers(**dict.fromkeys((*PATIENT, *STUDY), "")), kind)
    assert [
        keyword for keyword in (*PATIENT, *STUDY) if str(result.get(keyword) or "") or keyword not in result
    ] == []


@pytest.mark.parametrize("kind", ENCODERS)
def test_missing_attributes_are_written_empty_and_no_other_is_added(kind: str) -> None:
    headers = synthetic_headers()
    for header in headers:
        for keyword in (*PATIENT, *STUDY):
            del header[keyword]
    result = result_of(headers, kind)
    assert [
        keyword for keyword in (*PATIENT, *STUDY) if str(result.get(keyword) or "") or keyword not in result
    ] == []
    for keyword in ("PatientAge", "PatientWeight", "StudyDescription", "InstitutionName", "PatientComments"):
        assert keyword not in result


@pytest.mark.parametrize("kind", ENCODERS)
def test_values_that_the_standard_forbids_do_not_stop_the_result(kind: str) -> None:
    headers = synthetic_headers()
    with pydicom.config.disable_value_validation():
        for header in headers:
            header.PatientSex, header.PatientBirthDate, header.StudyTime = "X", "1960-01-02?", "25:61"
            header.PatientName, header.PatientAge = "a" * 200, "old"
    result = result_of(headers, kind)
    assert result.PatientSex == "X"
    assert str(result.PatientName) == "a" * 200


@pytest.mark.parametrize("kind", ENCODERS)
def test_names_inside_sequences_are_unicode_too(kind: str) -> None:
    headers = synthetic_headers(SpecificCharacterSet="GB18030")
    for header in headers:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99LOCAL", "胸部平扫"
        header.ProcedureCodeSequence = [code]
    result = result_of(through_bytes(headers), kind)
    assert result.ProcedureCodeSequence[0].CodeMeaning == "胸部平扫"


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_name_with_the_escape_sequences_of_gb2312_arrives_without_them(kind: str) -> None:
    """The example of PS3.5 K.2, byte for byte."""
    raw = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="
    headers = synthetic_headers(SpecificCharacterSet=["", "ISO 2022 IR 58"], PatientName="@" * len(raw))
    reread = []
    for header in headers:
        buffer = io.BytesIO()
        header.save_as(buffer, implicit_vr=False, little_endian=True)
        data = buffer.getvalue().replace(b"@" * len(raw), raw)
        reread.append(pydicom.dcmread(io.BytesIO(data), force=True))
    assert str(result_of(reread, kind).PatientName).rstrip("=") == "Zhang^XiaoDong=张^小东"


def test_patient_values_do_not_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    headers = synthetic_headers()
    with pydicom.config.disable_value_validation():
        for header in headers:
            header.PatientBirthDate, header.PatientName = "1960-01-02?", "b" * 200
    volume = volume_of(headers)
    caplog.clear()
    with caplog.at_level("DEBUG"), warnings.catch_warnings():
        warnings.simplefilter("error")
        encode_sr(result_context(headers, volume))
    assert "1960" not in caplog.text
    assert "1.2.3.4" not in caplog.text
    assert "bbb" not in caplog.text
