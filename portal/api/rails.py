"""What rails tell: Stripe's messages. No sign-in; the signature over the bytes as they came proves them."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from fastapi import APIRouter, Request

from billing.cash.payment_errors import MessageRefused
from billing.rails import inbox
from portal.context import PortalContext
from portal.errors import InvalidInput, PageNotFound
from portal.requests import portal_context

router = APIRouter(prefix="/api/v1/rails", include_in_schema=False)
log = logging.getLogger("radmeter.portal")


@router.post("/stripe/webhook")
async def stripe_webhook(request: Request) -> dict[str, bool]:
    """Keep the message and answer; a worker looks into it. Stripe sends again what is not answered with 2xx."""
    context = portal_context(request)
    if not context.stripe_webhook_secrets:
        raise PageNotFound
    body = await request.body()
    signature = request.headers.get("stripe-signature", "")
    await asyncio.to_thread(_keep, context, body, signature)
    return {"received": True}


def _keep(context: PortalContext, body: bytes, signature: str) -> None:
    now = datetime.now(UTC)
    try:
        event = inbox.verify(body, signature, context.stripe_webhook_secrets, now=now)
    except MessageRefused as error:
        log.warning("stripe_message_refused", extra={"reason": str(error)})
        raise InvalidInput(str(error)) from None
    with context.database.transaction(inbox.INBOX_TENANT) as conn:
        inbox.keep(conn, event, now=now)
