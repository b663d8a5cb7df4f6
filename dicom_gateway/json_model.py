"""A data set from outside in the DICOM JSON model (PS3.18 annex F). Runs in a child process.

What cannot be converted costs only itself: a damaged element is left out, the others stay.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr_element

# Stands in a BulkDataURI for the address of the instance, which depends on who asks.
INSTANCE_MARK = "radmeter-instance:"
INLINE_BYTES_MAX = 1024
_DEPTH_MAX = 32
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
JsonModel = dict[str, dict[str, Any]]


def json_model(dataset: Dataset) -> JsonModel:
    """The elements by tag, text in UTF-8; large binary values by the path of tags and item numbers that finds them."""
    model = _of_dataset(dataset, "", 0)
    model["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return dict(sorted(model.items()))


def _of_dataset(dataset: Dataset, path: str, depth: int) -> JsonModel:
    if depth > _DEPTH_MAX:
        raise ValueError("nested too deeply")
    model: JsonModel = {}
    for tag in sorted(dataset.keys()):
        if tag.element == 0:  # group lengths
            continue
        try:
            element = correct_ambiguous_vr_element(dataset[tag], dataset, True)
            model[f"{tag:08X}"] = _of_element(element, f"{path}{tag:08X}", depth)
        except MemoryError:
            raise
        except Exception:  # noqa: S112 - conversion of a hostile value raises whatever it likes
            continue
    return model


def _of_element(element: DataElement, path: str, depth: int) -> dict[str, Any]:
    vr = str(element.VR)
    if " or " in vr:
        raise ValueError("no value representation")
    if vr == "SQ":
        items = [_of_dataset(item, f"{path}/{n}/", depth + 1) for n, item in enumerate(element.value, 1)]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if vr in _BINARY_VRS:
        return _of_binary(vr, element.value or b"", path)
    found: dict[str, Any] = element.to_json_dict(None, 0)
    json.dumps(found, allow_nan=False)
    return found


def _of_binary(vr: str, value: bytes, path: str) -> dict[str, Any]:
    if not value:
        return {"vr": vr}
    if len(value) > INLINE_BYTES_MAX:
        return {"vr": vr, "BulkDataURI": f"{INSTANCE_MARK}/bulkdata/{path}"}
    return {"vr": vr, "InlineBinary": base64.b64encode(value).decode()}
