"""Reading by DICOMweb over loopback: radmeter's portal as `radmeter serve` runs it beside Orthanc's DICOMweb plugin.

300 CT slices of 0.5 MiB are stored in both. Then each is asked for the metadata of the study, first and again, for
every frame as it is stored by 1 and 4 clients that keep their connections, and for the whole study in one request.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np

from benchmarks.stow import PLUGIN, Receiver, orthanc, post_files, radmeter
from dicom_gateway.write_ct import write_ct_series

IMAGE_COUNT = 300
CLIENT_COUNTS = (1, 4)
ROUNDS = 3
_ANY = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
_WHOLE = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians of the rounds, and ours as multiples of Orthanc's speed."""
    starters = {"radmeter": radmeter} | ({"orthanc": orthanc} if PLUGIN.is_file() else {})
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in starters}
    with TemporaryDirectory(prefix="radmeter-bench-") as folder:
        noise = np.random.default_rng(1).integers(-1000, 400, (IMAGE_COUNT, 512, 512), np.int16)
        paths = write_ct_series(noise, (1.0, 0.7, 0.7), Path(folder))
        files = [path.read_bytes() for path in paths]
    for _ in range(rounds):
        for name, start in starters.items():
            with TemporaryDirectory(prefix="radmeter-bench-") as folder, start(Path(folder)) as receiver:
                post_files(receiver, files)
                measured[name].append(_read(receiver))
    figures: dict[str, Any] = {
        name: {key: statistics.median(one[key] for one in each) for key in each[0]}
        for name, each in measured.items()
    }
    if "orthanc" in figures:
        figures["times_orthanc"] = {
            key: figures["radmeter"][key] / value if "per_s" in key else value / figures["radmeter"][key]
            for key, value in figures["orthanc"].items()
        }
    return {"image_count": IMAGE_COUNT, "rounds": rounds, **figures}


def _read(receiver: Receiver) -> dict[str, float]:
    headers = {"Authorization": f"Bearer {receiver.reading_key}"} if receiver.reading_key else {}
    service = f"http://127.0.0.1:{receiver.port}/dicom-web"
    with httpx.Client(headers=headers, timeout=600) as client:
        (study,) = _get(client, f"{service}/studies", "application/dicom+json").json()
        root = f"{service}/studies/{study['0020000D']['Value'][0]}"
        figures = {}
        found = []
        for when in ("first", "again"):
            began = time.perf_counter()
            found = _get(client, f"{root}/metadata", "application/dicom+json").json()
            figures[f"metadata_{when}_s"] = time.perf_counter() - began
        series = found[0]["0020000E"]["Value"][0]
        addresses = [
            f"{root}/series/{series}/instances/{one['00080018']['Value'][0]}/frames/1" for one in found
        ]
        assert len(addresses) == IMAGE_COUNT
        began = time.perf_counter()
        size = len(_get(client, root, _WHOLE).content)
        figures["study_mib_per_s"] = size / (1 << 20) / (time.perf_counter() - began)
    for count in CLIENT_COUNTS:
        clients = [httpx.Client(headers=headers, timeout=600) for _ in range(count)]
        with ThreadPoolExecutor(count) as pool:
            began = time.perf_counter()
            list(pool.map(_fetch, clients, (addresses[number::count] for number in range(count))))
            figures[f"frames_per_s_{count}"] = IMAGE_COUNT / (time.perf_counter() - began)
        for client in clients:
            client.close()
    return figures


def _fetch(client: httpx.Client, addresses: list[str]) -> None:
    for address in addresses:
        _get(client, address, _ANY)


def _get(client: httpx.Client, address: str, accept: str) -> httpx.Response:
    return client.get(address, headers={"Accept": accept}).raise_for_status()


if __name__ == "__main__":
    print(json.dumps(run(rounds=int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS), indent=2))
