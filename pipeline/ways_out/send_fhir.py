"""Send to a FHIR R4 server; what it says of a refusal becomes a sentence."""

from __future__ import annotations

import json
import ssl
from typing import Any

from pipeline.destinations import DestinationRecord
from pipeline.errors import NotReached
from pipeline.ways_out.guarded_http import HttpAnswer, request, require_success
from pipeline.ways_out.plain import plain

_JSON = "application/fhir+json"
_ANSWER_BYTES_MAX = 8 << 20
_SENTENCE_MAX = 300


def send_bundle(bundle: bytes, target: DestinationRecord, token: str, tls: ssl.SSLContext | None) -> None:
    """Send one transaction. Raises `NotReached` unless the server says of every entry that it is done."""
    answer = _ask("POST", (target.url or "").rstrip("/"), bundle, target, token, tls)
    body = _object(answer.body)
    require_success(answer, _outcome(body))
    wanted = len(json.loads(bundle)["entry"])
    entries = body.get("entry") if body.get("type") == "transaction-response" else None
    if not isinstance(entries, list) or len(entries) != wanted:
        raise NotReached("the server answers without saying what became of the transaction")
    for entry in entries:
        response = entry.get("response") if isinstance(entry, dict) else None
        status = str(response.get("status", "")) if isinstance(response, dict) else ""
        if not status.startswith("2"):
            outcome = response.get("outcome") if isinstance(response, dict) else None
            words = _outcome(outcome if isinstance(outcome, dict) else {})
            raise NotReached(f"the server did not take a resource ({plain(status, 60)}) {words}".strip())


def probe(target: DestinationRecord, token: str, tls: ssl.SSLContext | None) -> None:
    """Whether a FHIR R4 server answers there. Raises `NotReached`."""
    answer = _ask("GET", f"{(target.url or '').rstrip('/')}/metadata", b"", target, token, tls)
    body = _object(answer.body)
    require_success(answer, _outcome(body))
    if body.get("resourceType") != "CapabilityStatement":
        raise NotReached("there is no FHIR server at this address")
    version = str(body.get("fhirVersion", ""))
    if not version.startswith("4."):
        raise NotReached(f"the server speaks FHIR {plain(version, 20) or 'of an unknown version'}, not R4")


def _ask(
    method: str, url: str, content: bytes, target: DestinationRecord, token: str, tls: ssl.SSLContext | None
) -> HttpAnswer:
    headers = {"Accept": _JSON, "Accept-Encoding": "identity", "Content-Length": str(len(content))}
    headers |= {"Content-Type": _JSON} if content else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    return request(
        method,
        url,
        headers,
        content,
        private_hosts=target.private_hosts,
        tls=tls,
        timeout_s=target.response_timeout_s,
        answer_bytes_max=_ANSWER_BYTES_MAX,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _outcome(body: dict[str, Any]) -> str:
    """The first error of an OperationOutcome in the server's words; empty where there is none."""
    issues = body.get("issue") if body.get("resourceType") == "OperationOutcome" else None
    found = [one for one in issues if isinstance(one, dict)] if isinstance(issues, list) else []
    found.sort(key=lambda one: one.get("severity") not in ("fatal", "error"))
    for issue in found:
        details = issue.get("details")
        text = details.get("text") if isinstance(details, dict) else None
        words = next(
            (one for one in (issue.get("diagnostics"), text, issue.get("code")) if isinstance(one, str)), ""
        )
        if words:
            return plain(words, _SENTENCE_MAX)
    return ""
