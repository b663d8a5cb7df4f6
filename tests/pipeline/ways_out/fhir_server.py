"""A small FHIR R4 server: takes transactions strictly, keeps resources by identifier, answers as the standard says."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.bundle import Bundle

from tests.pipeline.ways_out.http_receiver import Handler

JSON = "application/fhir+json"


@dataclass
class FhirServer:
    """resources: type → id → resource. Use as the script of an `http_receiver`."""

    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: str = "4.0.1"

    def __call__(self, handler: Handler, body: bytes) -> None:
        if handler.command == "GET" and handler.path.endswith("/metadata"):
            self._answer(handler, 200, {"resourceType": "CapabilityStatement", "fhirVersion": self.version})
            return
        try:
            assert handler.headers["Content-Type"] == JSON
            result = self.transact(json.loads(body))
        except (AssertionError, LookupError, ValueError) as error:
            issue = {"severity": "error", "code": "invalid", "diagnostics": f"not taken: {error}"}
            self._answer(handler, 400, {"resourceType": "OperationOutcome", "issue": [issue]})
            return
        self._answer(handler, 200, result)

    def transact(self, record: dict[str, Any]) -> dict[str, Any]:
        """All or nothing (FHIR R4 3.1.0.11.2); a reference must lead somewhere."""
        bundle = Bundle.model_validate(record)
        assert bundle.type == "transaction"
        ids: dict[str, tuple[str, str, str]] = {}
        urls = [entry["fullUrl"] for entry in record["entry"]]
        assert len(urls) == len(set(urls))
        for entry in record["entry"]:
            ids[entry["fullUrl"]] = self._place(entry)
        text = json.dumps([entry["resource"] for entry in record["entry"]])
        for url, (kind, number, _) in ids.items():
            text = text.replace(json.dumps(url), json.dumps(f"{kind}/{number}"))
        assert '"reference": "urn:' not in text, "a reference leads nowhere"
        for resource, (kind, number, status) in zip(json.loads(text), ids.values(), strict=True):
            get_fhir_model_class(kind).model_validate(resource)
            if status != "200 exists":
                self.resources.setdefault(kind, {})[number] = resource
        return {
            "resourceType": "Bundle",
            "type": "transaction-response",
            "entry": [{"response": {"status": status}} for _, _, status in ids.values()],
        }

    def _place(self, entry: dict[str, Any]) -> tuple[str, str, str]:
        request, kind = entry["request"], entry["resource"]["resourceType"]
        where, _, query = request["url"].partition("?")
        assert where == kind
        if request["method"] == "POST":
            query = request["ifNoneExist"]
        ((name, token),) = parse_qsl(query, strict_parsing=True)
        assert name == "identifier"
        found = [
            number
            for number, one in self.resources.get(kind, {}).items()
            if any(self._is(token, identifier) for identifier in one["identifier"])
        ]
        assert len(found) <= 1, f"several match {unquote(query)}"
        if not found:
            assert any(self._is(token, identifier) for identifier in entry["resource"]["identifier"])
            return kind, uuid.uuid4().hex, "201 Created"
        return kind, found[0], "200 OK" if request["method"] == "PUT" else "200 exists"

    def _is(self, token: str, identifier: dict[str, str]) -> bool:
        wanted = [identifier.get("system"), identifier["value"]]
        escaped = ["".join(f"\\{one}" if one in "\\,$|" else one for one in part or "") for part in wanted]
        return token in ("|".join(escaped), escaped[1])

    def _answer(self, handler: Handler, status: int, record: dict[str, Any]) -> None:
        body = json.dumps(record).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", JSON)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
