"""A PACS that receives results in a thread of the test's own process, which is never killed."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt


@dataclass
class Pacs:
    """received: for each study, (SOP Instance UID, SHA-256 of the data set) of every C-STORE, in order.

    hold: of this study the second object is not answered until `release` is set.
    """

    received: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    hold: str = ""
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @classmethod
    @contextmanager
    def listening(cls, host: str = "127.0.0.1") -> Iterator[Pacs]:
        made = cls()
        entity = AE(ae_title="PACS")
        entity.supported_contexts = AllStoragePresentationContexts
        handlers = [(evt.EVT_C_STORE, made.store)]
        listener = entity.start_server((host, 0), block=False, evt_handlers=handlers)
        made.port = listener.socket.getsockname()[1]
        yield made
        made.release.set()
        listener.shutdown()

    def store(self, event: Any) -> int:
        data_set = event.encoded_dataset(include_meta=False)
        study = str(event.dataset.StudyInstanceUID)
        if study == self.hold and self.received[study] and not self.release.is_set():
            self.held.set()
            self.release.wait(120)
        uid = str(event.request.AffectedSOPInstanceUID)
        self.received[study].append((uid, hashlib.sha256(data_set).hexdigest()))
        return 0x0000
