"""A PACS on loopback that answers what a test tells it to: statuses, stalls, aborts, refusals."""

from __future__ import annotations

import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

ABORT, STALL = -1, -2


@dataclass
class ScriptedPacs:
    """answers: SOP Class UID → what its next C-STOREs get, the last one for ever; 0000H without an entry.

    received: SOP Instance UID → contents of every C-STORE, whatever was answered.
    released: lets what stalls go on.
    """

    port: int = 0
    answers: dict[str, list[int]] = field(default_factory=dict)
    received: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    released: threading.Event = field(default_factory=threading.Event)
    associations: int = 0
    together_max: int = 0
    _open: int = 0

    @classmethod
    @contextmanager
    def listening(
        cls,
        *,
        syntaxes: Sequence[str] = (),
        without: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> Iterator[ScriptedPacs]:
        """syntaxes: transfer syntaxes that it takes, all when empty. without: SOP classes that it does not know."""
        made = cls()
        entity = AE(ae_title="PACS")
        entity.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax not in without:
                entity.add_supported_context(
                    context.abstract_syntax, list(syntaxes) or context.transfer_syntax
                )
        handlers = [
            (evt.EVT_C_STORE, made._store),
            (evt.EVT_CONN_OPEN, made._opened),
            (evt.EVT_CONN_CLOSE, made._closed),
        ]
        listener = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls
        )
        made.port = listener.socket.getsockname()[1]
        yield made
        made.released.set()
        # It notices within half a second; the test need not wait for that.
        threading.Thread(target=listener.shutdown, daemon=True).start()

    def _opened(self, event: Any) -> None:
        self.associations += 1
        self._open += 1
        self.together_max = max(self.together_max, self._open)

    def _closed(self, event: Any) -> None:
        self._open -= 1

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.received[uid].append(event.encoded_dataset(include_meta=False))
        script = self.answers.get(str(event.request.AffectedSOPClassUID), [0])
        answer = script.pop(0) if len(script) > 1 else script[0]
        if answer == ABORT:
            event.assoc.abort()
            return 0xC000
        if answer == STALL:
            self.released.wait(60)
            return 0
        return answer
