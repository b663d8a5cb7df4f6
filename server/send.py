"""`radmeter send`: push DICOM files as a PACS would, by C-STORE or STOW-RS."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import Progress

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.deliver_stow import StowDestination, stow_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.errors import GatewayError
from dicom_gateway.scu_association import Destination
from dicom_gateway.tls import client_context
from server.errors import CommandFailed
from study.identifiers import AETitle

_ADDRESS = re.compile(r"(?P<ae>[^@]+)@(?P<host>[^:]+|\[[^]]+\]):(?P<port>[0-9]{1,5})")
_TIMEOUT_S = 30.0
# Files in one STOW-RS request: the bar moves with each, and a break costs no more than these.
_REQUEST_FILES = 32
_SHOWN_MAX = 20


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


def is_url(text: str) -> bool:
    """Whether the address is one of STOW-RS."""
    return text.lower().startswith(("https://", "http://"))


def parse_url(
    url: str, key: str = "", authority: Path | None = None, *, allows_clear_text: bool = False
) -> StowDestination:
    """`https://host/dicom-web` as a destination. authority: PEM file of who signed its certificate."""
    try:
        tls = client_context(authorities=authority) if url.lower().startswith("https://") else None
        server = DicomWebServer(
            url, secret=key, timeout_s=_TIMEOUT_S, tls=tls, allows_clear_text=allows_clear_text
        )
    except GatewayError as error:
        raise CommandFailed(str(error)) from None
    if not server.may_hear_secrets:
        raise CommandFailed("patient data and the key would go in clear: use https://, or --clear-text")
    return StowDestination(server)


def files_below(paths: Sequence[Path]) -> list[Path]:
    """The files that the paths name, folders with all that lies in them."""
    found: list[Path] = []
    for path in paths:
        found.extend(sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path])
    return found


def send(paths: Sequence[Path], destination: Destination | StowDestination) -> int:
    """Send everything; returns how many files were not accepted, each named on the console."""
    files = files_below(paths)
    name = destination.server.url if isinstance(destination, StowDestination) else destination.called_ae_title
    with Progress(transient=True) as progress:
        task = progress.add_task(f"Sending to {name}", total=len(files))

        def on_progress(_: DeliveryOutcome) -> None:
            progress.advance(task)

        if isinstance(destination, StowDestination):
            outcomes = _stow(files, destination, on_progress)
        else:
            outcomes = send_instances(files, destination, on_progress=on_progress)
        failed = [outcome for outcome in outcomes if not outcome.acknowledged]
        warned = [outcome for outcome in outcomes if outcome.warning]
        lines = [f"not accepted: {outcome.path}: {outcome.error}" for outcome in failed]
        lines += [f"accepted with a warning: {outcome.path}: {outcome.warning}" for outcome in warned]
        for line in lines[:_SHOWN_MAX]:
            progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        if len(lines) > _SHOWN_MAX:
            progress.console.print(f"and {len(lines) - _SHOWN_MAX} more")
        progress.console.print(f"{len(outcomes) - len(failed)} of {len(files)} accepted")
    return len(failed)


def _stow(
    files: Sequence[Path], destination: StowDestination, on_progress: Callable[[DeliveryOutcome], None]
) -> list[DeliveryOutcome]:
    """One request after the other, until one of them is not answered instance by instance."""
    outcomes: list[DeliveryOutcome] = []
    for start in range(0, len(files), _REQUEST_FILES):
        answered = stow_instances(files[start : start + _REQUEST_FILES], destination, on_progress)
        outcomes += answered
        unanswered = next((each for each in answered if each.sop_instance_uid and each.status is None), None)
        if unanswered is not None:
            error = f"not sent: {unanswered.error}"
            outcomes += [DeliveryOutcome("", None, False, error, path) for path in files[len(outcomes) :]]
            break
    return outcomes
