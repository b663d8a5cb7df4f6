"""The channel by which a subscriber hears of workitems: a WebSocket (PS3.18 sections 11.13 and 11.14)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

import psycopg
import psycopg_pool
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from dicom_gateway.workitem import event
from pipeline import workitem_store
from pipeline.database import Database
from portal.auth import identify_storing_key
from portal.context import PortalContext
from portal.errors import PortalError

router = APIRouter(prefix="/dicom-web", include_in_schema=False)
log = logging.getLogger("radmeter.workitems")

CHANNELS_MAX = 64
"""Open at a time in one process; each asks the database once in `LOOKED_EVERY_S`."""
LOOKED_EVERY_S = 0.5
_REFUSED, _BUSY = 1008, 1013  # RFC 6455: policy violation; IANA: try again later
_open: set[int] = set()


@router.websocket("/subscribers/{ae_title}")
async def open_channel(socket: WebSocket, ae_title: str) -> None:
    """Events that wait are sent at once, then each as it happens; what was not sent waits for the next channel."""
    context: PortalContext = socket.app.state.context
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    try:
        peer = await asyncio.to_thread(identify_storing_key, context.database, token.strip())
    except PortalError:
        peer = None
    if peer is None or scheme.lower() != "bearer" or peer.ae_title != ae_title:
        await socket.close(_REFUSED)  # before it is accepted: the answer is 403
        return
    if len(_open) >= CHANNELS_MAX:
        await socket.close(_BUSY)
        return
    _open.add(id(socket))
    try:
        await socket.accept()
        await _serve(socket, context.database, peer.tenant, ae_title)
    except WebSocketDisconnect:
        log.info("channel_closed")
    finally:
        _open.discard(id(socket))


async def _serve(socket: WebSocket, database: Database, tenant: str, ae_title: str) -> None:
    """Until the subscriber goes. It has nothing to say: what it sends is read and dropped."""
    listening = asyncio.create_task(_until_gone(socket))
    message_id = 0
    try:
        while not listening.done():
            waiting: list[dict[str, Any]] = []
            with contextlib.suppress(psycopg.OperationalError, psycopg_pool.PoolTimeout):
                waiting = await asyncio.to_thread(_waiting, database, tenant, ae_title)
            for notice in waiting:
                message_id = message_id % 65_535 + 1
                said = event(notice["uid"], notice["kind"], message_id, notice["said"])
                await socket.send_text(json.dumps(said))
                await asyncio.to_thread(_forget, database, tenant, notice["id"])
            if not waiting:
                await asyncio.wait({listening}, timeout=LOOKED_EVERY_S)
    finally:
        listening.cancel()


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _waiting(database: Database, tenant: str, ae_title: str) -> list[dict[str, Any]]:
    with database.transaction(tenant) as conn:
        return workitem_store.notices(conn, tenant, ae_title)


def _forget(database: Database, tenant: str, notice_id: int) -> None:
    with database.transaction(tenant) as conn:
        workitem_store.forget_notice(conn, tenant, notice_id)
