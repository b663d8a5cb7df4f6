"""Calls of the API by key: found, limited, and recorded as usage where the contract prices them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from billing.metering import api_calls
from portal.auth import ApiKey, find_key
from portal.key_limits import KeyLimits
from portal.requests import bearer_token, portal_context

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class MeteredRoute(APIRoute):
    """Stands before and after every route of `/api/v1`. Only what was answered well is recorded as a call."""

    def get_route_handler(self) -> Handler:
        answer = super().get_route_handler()

        async def answer_metered(request: Request) -> Response:
            token = bearer_token(request)
            request.state.api_key = None
            if token is None:
                return await answer(request)
            database, limits = portal_context(request).database, request.app.state.key_limits
            assert isinstance(limits, KeyLimits)
            key = request.state.api_key = await asyncio.to_thread(find_key, database, token)
            with limits.admit(key):
                response = await answer(request)
                if response.status_code < 400:
                    await asyncio.to_thread(_record, request, key, self.path)
            return response

        return answer_metered


def _record(request: Request, key: ApiKey, route: str) -> None:
    call_id = request.headers.get("idempotency-key", "")
    with portal_context(request).database.transaction(key.tenant) as conn:
        api_calls.record_call(conn, key.tenant, key.prefix, route, call_id, now=datetime.now(UTC))
