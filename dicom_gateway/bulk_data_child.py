"""Write the value of one element in the child of `web_decode`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dicom_gateway.part10 import FileUnreadable, read_header


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: path, out_path, element (tags and numbers of items from 1 on). Answer: {} or {"problem": reason}."""
    try:
        dataset = read_header(Path(arguments["path"])).dataset
    except FileUnreadable as error:
        return {"problem": str(error)}
    *way, last = arguments["element"]
    try:
        for tag, number in zip(way[::2], way[1::2], strict=True):
            if number < 1:
                raise IndexError(number)
            dataset = dataset[tag].value[number - 1]
        value = dataset[last].value
    except MemoryError:
        raise
    except Exception:  # no such element, or one that cannot be converted
        return {"problem": "there is no such element"}
    if not isinstance(value, bytes):
        return {"problem": "the element is not bulk data"}
    Path(arguments["out_path"]).write_bytes(value)
    return {}
