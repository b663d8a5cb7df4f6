"""Text whose character set a sender did not declare (PS3.5 section 6.1.2.1 then allows ASCII only, and senders err).

Bytes that are valid UTF-8 beyond ASCII are read as UTF-8: another encoding gives such bytes by chance hardly ever. All
else is left to the standard's default, which shows each byte as one Latin character: GB18030 cannot be told from
Latin-1 by its bytes, and a name that is wrong but plausible would be worse than one that is plainly garbled.
"""

from __future__ import annotations

from pydicom.charset import convert_encodings, python_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

_TEXTS = tuple(
    tag_for_keyword(keyword)
    for keyword in (
        "PatientName", "PatientID", "OtherPatientNames", "PatientComments", "InstitutionName",
        "ReferringPhysicianName", "StudyDescription", "SeriesDescription", "StudyID", "AccessionNumber",
    )
)  # fmt: skip
_UNICODE = "ISO_IR 192"


def declare_unicode(dataset: Dataset) -> None:
    """Declare UTF-8 in a data set that was just read, where it declares nothing that exists and its text is that.

    Text within sequences is left as it is.
    """
    if _is_declared(dataset):
        return
    raw = [dataset.get_item(tag) for tag in _TEXTS if tag is not None and tag in dataset]
    text = b"\\".join(one.value for one in raw if one is not None and isinstance(one.value, bytes))
    if text.isascii():
        return
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return
    dataset.SpecificCharacterSet = _UNICODE
    dataset.set_original_encoding(*dataset.original_encoding, convert_encodings(_UNICODE))


def _is_declared(dataset: Dataset) -> bool:
    element = dataset.get_item(0x00080005) if 0x00080005 in dataset else None
    value = element.value if element is not None else None
    names = value if isinstance(value, bytes) else str(value or "").encode("ascii", "replace")
    return any(
        name.strip().decode("ascii", "replace") in python_encoding
        for name in names.split(b"\\")
        if name.strip()
    )
