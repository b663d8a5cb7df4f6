"""Send files to a destination by the protocol that it speaks, with the certificates and tokens that it names."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dicom_gateway.deliver_dimse import echo, send_instances
from dicom_gateway.deliver_stow import StowDestination, probe, stow_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.errors import GatewayError
from dicom_gateway.file_meta import read_file_meta
from dicom_gateway.scu_association import Destination
from dicom_gateway.tls import client_context
from pipeline.destinations import DestinationRecord
from pipeline.errors import NotReached, PipelineError
from pipeline.secret_files import secret_file
from pipeline.ways_out.send_mail import MailServer
from pipeline.ways_out.told import load_told
from pipeline.ways_out.way import Way

OnOutcome = Callable[[DeliveryOutcome], None]

_TOKEN_BYTES_MAX = 16 * 1024
_PIECE_TIMEOUT_S = 30.0


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Sender:
    """How we speak to destinations.

    secrets: the folder of files that they name, None without one. mail: who takes our mails, None where nobody does.
    """

    calling_ae_title: str
    secrets: Path | None
    mail: MailServer | None = None
    clock: Callable[[], datetime] = _now

    def send(self, paths: Sequence[Path], target: DestinationRecord, on_outcome: OnOutcome) -> None:
        """Send each file once and tell what became of it. What is wrong with the destination is an outcome."""
        if not target.is_pacs:
            for path in paths:
                on_outcome(self._tell(path, target))
            return
        if target.kind == "sink":
            for path in paths:
                on_outcome(_sink(path))
            return
        try:
            node = self.node(target)
        except (PipelineError, GatewayError, OSError, ValueError) as error:
            for path in paths:
                on_outcome(DeliveryOutcome("", None, False, _words(error), path))
            return
        if isinstance(node, Destination):
            send_instances(paths, node, on_outcome)
        elif target.objects_per_s is None:
            stow_instances(paths, StowDestination(node, target.response_timeout_s), on_outcome)
        else:
            for path in paths:  # a rate is kept between requests
                stow_instances([path], StowDestination(node, target.response_timeout_s), on_outcome)

    def test(self, target: DestinationRecord) -> str | None:
        """Ask whether it is there and speaks with us: None, or the reason as a sentence. Nothing is stored."""
        try:
            if not target.is_pacs:
                way = self._way(target)
                way.probe()
                return None
            node = self.node(target)
        except (PipelineError, GatewayError, OSError, ValueError) as error:
            return _words(error)
        return echo(node) if isinstance(node, Destination) else probe(node)

    def node(self, target: DestinationRecord) -> Destination | DicomWebServer:
        """The destination's address with what it takes to get in. Raises `SecretMissing`, `TLSFilesUnusable`, …"""
        tls = self._tls(target)
        if target.kind == "stow":
            token = self._token(target)
            return DicomWebServer(target.url or "", secret=token, timeout_s=_PIECE_TIMEOUT_S, tls=tls)
        return Destination(
            host=target.host or "",
            port=target.port or 104,
            called_ae_title=target.ae_title or "",
            calling_ae_title=self.calling_ae_title,
            dimse_timeout_s=target.response_timeout_s,
            tls=tls,
        )

    def _tell(self, path: Path, target: DestinationRecord) -> DeliveryOutcome:
        """Tell a destination that is no PACS what a file of ours says."""
        try:
            warning = self._way(target).tell(load_told(path), path.parent)
        except NotReached as error:
            words, after_s = str(error), error.retry_after_s
            return DeliveryOutcome("", None, False, words, path, error.is_refusal, retry_after_s=after_s)
        except (PipelineError, GatewayError, OSError, ValueError) as error:
            return DeliveryOutcome("", None, False, _words(error), path)
        return DeliveryOutcome("", None, True, None, path, warning=warning)

    def _way(self, target: DestinationRecord) -> Way:
        return Way(
            target,
            tls=self._tls(target),
            token=self._token(target),
            facility=self.calling_ae_title,
            mail=self.mail,
            now=self.clock(),
        )

    def _tls(self, target: DestinationRecord) -> ssl.SSLContext | None:
        if not (target.use_tls or (target.url or "").startswith("https://")):
            return None
        return client_context(
            authorities=secret_file(self.secrets, target.authority_file),
            certificate=secret_file(self.secrets, target.certificate_file),
        )

    def _token(self, target: DestinationRecord) -> str:
        path = secret_file(self.secrets, target.token_file)
        return path.read_bytes()[:_TOKEN_BYTES_MAX].decode("ascii").strip() if path else ""


def _sink(path: Path) -> DeliveryOutcome:
    """Read an object as a PACS would, and keep nothing: for made-up studies."""
    try:
        return DeliveryOutcome(read_file_meta(path).sop_instance_uid, None, True, None, path)
    except (GatewayError, OSError) as error:
        return DeliveryOutcome("", None, False, _words(error), path)


def _words(error: Exception) -> str:
    """Our own errors say what is wrong; another one could quote a token."""
    ours = isinstance(error, PipelineError | GatewayError)
    return str(error) if ours else f"not usable as it is set up: {type(error).__name__}"
