"""The form of an upload page into the store while it arrives: single files, a folder, or ZIP archives."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dicom_gateway.acceptor_settings import GIB
from dicom_gateway.errors import FileUnreadable, InstanceRefused, TooManyInstances
from dicom_gateway.instance_sink import RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.multipart_related import Event, MultipartParser, PartBegins, PartEnds, parse_header_value
from dicom_gateway.receive_file import MEDIA_STORAGE_DIRECTORY
from dicom_gateway.receive_files import FileReceiver, FileVerdict
from dicom_gateway.receive_zip import SIGNATURES, receive_zip
from dicom_gateway.upload_errors import FormIncomplete, UploadTooLarge

ARCHIVE_BYTES_MAX = 16 * GIB
_FILES_MAX = 50_000
_FIELD_BYTES_MAX = 64
_SPACE_CHECKED_BYTES = 16 * 1024 * 1024


@dataclass
class UploadReport:
    """What became of an upload, in numbers; `add` takes the verdicts.

    outcomes: instances by outcome. directories: DICOMDIR files, of no further use. others: files that are not
    DICOM. refusals: class of the reason → files. studies: UIDs of what was stored or here already.
    """

    outcomes: Counter[RecordOutcome] = field(default_factory=Counter)
    directories: int = 0
    others: int = 0
    refusals: Counter[type[InstanceRefused]] = field(default_factory=Counter)
    studies: set[str] = field(default_factory=set)

    def add(self, verdict: FileVerdict) -> None:
        if verdict.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
            self.directories += 1
        elif isinstance(verdict.refusal, FileUnreadable):
            self.others += 1
        elif verdict.outcome is not None:
            self.outcomes[verdict.outcome] += 1
            self.studies.add(verdict.study_instance_uid)
        else:
            self.refusals[type(verdict.refusal)] += 1  # type: ignore[index]  # one of the two is there


class UploadForm:
    """A form whose field `source` comes before its files. `source`, then `take_files`."""

    def __init__(self, pieces: Iterable[bytes], boundary: str) -> None:
        self._events = _events(pieces, boundary)

    def source(self) -> str:
        """The value of the field `source`."""
        for event in self._events:
            if isinstance(event, PartBegins):
                name, filename = _names(event)
                if filename is not None:
                    break
                value = b"".join(bytes(piece[:_FIELD_BYTES_MAX]) for piece in _content(self._events))
                if name == "source":
                    return value[:_FIELD_BYTES_MAX].decode("utf-8", "replace")
        raise FormIncomplete("the form names no source before its files")

    def take_files(self, receiver: FileReceiver, store: InstanceStore) -> None:
        """Give every file to the receiver, and every file of every archive."""
        count = 0
        for event in self._events:
            if not isinstance(event, PartBegins):
                continue
            content = _content(self._events)
            if not _names(event)[1]:
                continue  # a field, or a file that was not chosen; what it holds is passed over
            count += 1
            if count > _FILES_MAX:
                raise TooManyInstances(f"more than {_FILES_MAX} files in one upload")
            _take(content, receiver, store)


def _take(content: Iterator[memoryview], receiver: FileReceiver, store: InstanceStore) -> None:
    start = b""
    for piece in content:
        start += piece
        if len(start) >= 4:
            break
    if start[:4] in SIGNATURES:
        with _spooled(start, content, store) as archive:
            receive_zip(archive, receiver)
        return
    receiver.begin()
    receiver.append(memoryview(start))
    for piece in content:
        receiver.append(piece)
    receiver.end()


def _spooled(start: bytes, content: Iterator[memoryview], store: InstanceStore) -> BinaryIO:
    """An archive in a file without a name: its directory stands at its end."""
    folder = Path(store.root)
    folder.mkdir(parents=True, exist_ok=True)
    file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    written, checked = file.write(start), -_SPACE_CHECKED_BYTES
    try:
        for piece in content:
            if written - checked >= _SPACE_CHECKED_BYTES:
                checked = written
                if not store.has_space():
                    raise UploadTooLarge("the disk has no room for the archive")
            written += file.write(piece)
            if written > ARCHIVE_BYTES_MAX:
                raise UploadTooLarge(f"an archive is larger than {ARCHIVE_BYTES_MAX} bytes")
        file.flush()
    except OSError as error:
        file.close()
        raise UploadTooLarge("the disk has no room for the archive") from error
    except BaseException:
        file.close()
        raise
    return file


def _events(pieces: Iterable[bytes], boundary: str) -> Iterator[Event]:
    parser = MultipartParser(boundary)
    for piece in pieces:
        yield from parser.feed(piece)
    parser.finish()


def _content(events: Iterator[Event]) -> Iterator[memoryview]:
    for event in events:
        if isinstance(event, PartEnds):
            return
        if isinstance(event, memoryview):
            yield event


def _names(part: PartBegins) -> tuple[str, str | None]:
    """(name of the field, name of the file: None for a plain field, "" where none was chosen)."""
    _, parameters = parse_header_value(part.headers.get("content-disposition", ""))
    return parameters.get("name", ""), parameters.get("filename")
