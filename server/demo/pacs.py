"""Plays the PACS: sends a study by C-STORE and stores what comes back (pynetdicom, loopback only)."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.scu_association import Destination
from server.send import files_below

AE_TITLE = "DEMO_PACS"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--received", type=Path, required=True, help="folder for the results")
    parser.add_argument("--send", type=Path, help="file or folder to send")
    parser.add_argument("--to-port", type=int, required=True)
    parser.add_argument("--to-ae", default="RADMETER")
    arguments = parser.parse_args()
    arguments.received.mkdir(parents=True, exist_ok=True)
    _listen(arguments.port, arguments.received)
    if arguments.send is not None:
        _send(arguments.send, arguments.to_port, arguments.to_ae)
    while True:
        time.sleep(3600)


def _listen(port: int, folder: Path) -> None:
    entity = AE(ae_title=AE_TITLE)
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context(Verification)
    entity.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, lambda event: _store(event, folder))],
    )


def _store(event: Any, folder: Path) -> int:
    """Write the object as it came; the file's name tells the modality, never a UID."""
    head = DicomBytesIO()
    head.write(bytes(128) + b"DICM")
    write_file_meta_info(head, event.file_meta)
    modality = str(event.dataset.get("Modality", "OT"))
    kind = {"DOC": "PDF"}.get(modality, modality)
    path = received_path(folder, kind, str(event.request.AffectedSOPInstanceUID))
    path.write_bytes(head.getvalue() + event.encoded_dataset(include_meta=False))
    return 0x0000


def received_path(folder: Path, kind: str, sop_instance_uid: str) -> Path:
    """Where the PACS keeps an object: its kind and a digest, as a UID never becomes a path."""
    return folder / f"{kind}-{hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:12]}.dcm"


def _send(path: Path, port: int, called_ae_title: str) -> None:
    files = files_below([path])
    destination = Destination(
        host="127.0.0.1", port=port, called_ae_title=called_ae_title, calling_ae_title=AE_TITLE
    )
    outcomes = send_instances(files, destination)
    accepted = sum(outcome.acknowledged for outcome in outcomes)
    sys.stdout.write(f"sent {len(files)} accepted {accepted}\n")
    for outcome in outcomes:
        if not outcome.acknowledged:
            sys.stdout.write(f"not accepted: {outcome.error}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
