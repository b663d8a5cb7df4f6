"""The API's description: OpenAPI for programs, one plain page for people, nothing loaded from elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from portal.render import page

router = APIRouter(include_in_schema=False)


@router.get("/api/openapi.json")
def openapi(request: Request) -> Response:
    return JSONResponse(request.app.openapi())


@router.get("/api/docs")
def show(request: Request) -> Response:
    schema: dict[str, Any] = request.app.openapi()
    operations = [
        {"method": method.upper(), "path": path, **_described(operation)}
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    shapes = {
        name: shape
        for name, shape in schema["components"]["schemas"].items()
        if name not in {"HTTPValidationError", "ValidationError"}
    }
    return page(
        request,
        "api_docs.html",
        operations=operations,
        shapes=shapes,
        type_of=_type_of,
        version=schema["info"],
    )


def _described(operation: dict[str, Any]) -> dict[str, Any]:
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return {
        "summary": operation.get("description") or operation["summary"],
        "parameters": operation.get("parameters", []),
        "body": _type_of(body) if body else "",
        "answer": _type_of(answer),
    }


def _type_of(schema: dict[str, Any]) -> str:
    """A JSON schema's type in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if "anyOf" in schema:
        return " or ".join(_type_of(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type_of(schema.get('items', {}))}"
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    kind = str(schema.get("format") or schema.get("type") or "any")
    return {"date-time": "date and time, ISO 8601", "object": "object", "null": "null"}.get(kind, kind)
