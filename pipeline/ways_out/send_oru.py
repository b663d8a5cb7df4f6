"""Send an HL7 v2 message over MLLP and read its acknowledgement (original mode: AA, AE, AR)."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from hl7.mllp import InvalidBlockError, open_hl7_connection

from pipeline.destinations import CHARACTER_SETS, DestinationRecord
from pipeline.errors import NotReached
from pipeline.ways_out.plain import plain

if TYPE_CHECKING:
    from pipeline.ways_out.oru_message import OruMessage

_ANSWER_BYTES_MAX = 64 * 1024
_CONNECT_S_MAX = 10.0
_UNESCAPES = {"\\F\\": "|", "\\S\\": "^", "\\T\\": "&", "\\R\\": "~", "\\E\\": "\\"}


def send_oru(message: OruMessage, target: DestinationRecord, tls: ssl.SSLContext | None) -> None:
    """Send one message. Raises `NotReached` unless the receiver has accepted it (AA)."""
    block = _run(message.content, target, tls)
    text = block.decode(CHARACTER_SETS[target.character_set], errors="replace")
    _read_acknowledgement(text, message.control_id)


def probe(target: DestinationRecord, tls: ssl.SSLContext | None) -> None:
    """Whether something listens there. MLLP has no way to ask more without a message. Raises `NotReached`."""
    _run(None, target, tls)


def _run(content: bytes | None, target: DestinationRecord, tls: ssl.SSLContext | None) -> bytes:
    try:
        return asyncio.run(asyncio.wait_for(_exchange(content, target, tls), target.response_timeout_s))
    except TimeoutError:
        raise NotReached("the receiver did not answer in time") from None
    except ssl.SSLCertVerificationError:
        raise NotReached("the receiver's certificate is not trusted") from None
    except asyncio.IncompleteReadError:
        raise NotReached("the receiver closed the connection without an acknowledgement") from None
    except InvalidBlockError:
        raise NotReached("the receiver does not answer with an MLLP block") from None
    except ValueError:  # of the reader, when its limit is reached
        raise NotReached("the receiver sends more than we take") from None
    except OSError as error:
        raise NotReached(
            f"no connection to the receiver ({error.strerror or type(error).__name__})"
        ) from None


async def _exchange(content: bytes | None, target: DestinationRecord, tls: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.wait_for(
        open_hl7_connection(
            target.host,
            target.port,
            limit=_ANSWER_BYTES_MAX,
            ssl=tls,
            server_hostname=target.host if tls is not None else None,
        ),
        _CONNECT_S_MAX,
    )
    try:
        if content is None:
            return b""
        writer.writeblock(content)
        await writer.drain()
        return bytes(await reader.readblock())
    finally:
        writer.transport.abort()  # nothing more is said, and a receiver that hangs is not waited for


def _read_acknowledgement(text: str, control_id: str) -> None:
    """Raise `NotReached` unless it is AA for this message. What the receiver says is told, cut and on one line."""
    segments = [line.strip("\n").split("|") for line in text.split("\r")]
    found = next((one for one in segments if one[0] == "MSA" and len(one) > 2), None)
    if segments[0][0] != "MSH" or found is None:
        raise NotReached("the receiver's answer is no acknowledgement")
    code, about = found[1].strip(), found[2].strip()
    if about != control_id:
        raise NotReached("the receiver acknowledged another message")
    if code in ("AA", "CA"):
        return
    errors = [one for one in segments if one[0] == "ERR"]
    said = [
        found[3] if len(found) > 3 else "",
        *(one[number] for one in errors for number in (8, 7) if len(one) > number),
    ]
    words = plain(_unescape(next(filter(None, said), "")), 200)
    if code not in ("AE", "AR", "CE", "CR"):
        raise NotReached("the receiver's answer is no acknowledgement")
    verb = "found an error in" if code in ("AE", "CE") else "rejects"
    raise NotReached(
        f"the receiver {verb} the message ({code}){': ' + words if words else ''}", is_refusal=True
    )


def _unescape(text: str) -> str:
    for sequence, sign in _UNESCAPES.items():
        text = text.replace(sequence, sign)
    return text
