"""`radmeter send`: push DICOM files as a PACS would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.scu_association import Destination
from server.errors import CommandFailed
from study.identifiers import AETitle

_ADDRESS = re.compile(r"(?P<ae>[^@]+)@(?P<host>[^:]+|\[[^]]+\]):(?P<port>[0-9]{1,5})")


def parse_address(text: str, calling_ae_title: str) -> Destination:
    """`AE@host:port` as a destination."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise CommandFailed(f"{text!r} is not AE@host:port")
    return Destination(
        host=match["host"].strip("[]"),
        port=int(match["port"]),
        called_ae_title=AETitle(match["ae"]),
        calling_ae_title=AETitle(calling_ae_title),
    )


def files_below(paths: Sequence[Path]) -> list[Path]:
    """The files that the paths name, folders with all that lies in them."""
    found: list[Path] = []
    for path in paths:
        found.extend(sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path])
    return found


def send(paths: Sequence[Path], to: str, calling_ae_title: str) -> int:
    """Send everything; returns how many files were not accepted, each named on the console."""
    destination = parse_address(to, calling_ae_title)
    files = files_below(paths)
    with Progress(transient=True) as progress:
        task = progress.add_task(f"Sending to {destination.called_ae_title}", total=len(files))
        outcomes = send_instances(files, destination, on_progress=lambda _: progress.advance(task))
        failed: list[DeliveryOutcome] = [outcome for outcome in outcomes if not outcome.acknowledged]
        for outcome in failed[:20]:
            text = f"not accepted: {outcome.path}: {outcome.error}"
            progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        progress.console.print(f"{len(outcomes) - len(failed)} of {len(files)} accepted")
    return len(failed)
