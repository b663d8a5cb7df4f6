"""Calls of the API by key: found, limited, and recorded as usage where the contract prices them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from portal import key_limits
from portal.api.shapes import LIMITED
from portal.key_limits import Admitted
from portal.requests import bearer_token, portal_context

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class MeteredRoute(APIRoute):
    """Stands before and after every route of `/api/v1`. Only what was answered well is recorded as a call."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(
            *arguments, **{**options, "responses": {**LIMITED, **(options.get("responses") or {})}}
        )

    def get_route_handler(self) -> Handler:
        answer = super().get_route_handler()

        async def answer_metered(request: Request) -> Response:
            token = bearer_token(request)
            request.state.api_key = None
            if token is None:
                return await answer(request)
            admitted = await asyncio.to_thread(_admit, request, token)
            request.state.api_key = admitted.key
            answered_well = False
            try:
                response = await answer(request)
                answered_well = response.status_code < 400
            finally:
                await asyncio.to_thread(_end, request, admitted, self.path if answered_well else None)
            return response

        return answer_metered


def _admit(request: Request, token: str) -> Admitted:
    database = portal_context(request).database
    return key_limits.admit(database, token, _call_id(request), now=datetime.now(UTC))


def _end(request: Request, admitted: Admitted, route: str | None) -> None:
    database = portal_context(request).database
    key_limits.end(database, admitted, route, _call_id(request), now=datetime.now(UTC))


def _call_id(request: Request) -> str:
    return request.headers.get("idempotency-key", "")
