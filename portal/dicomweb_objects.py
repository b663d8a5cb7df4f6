"""The instances that a request by DICOMweb is about, and how its answer begins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from dicom_gateway.json_model import INSTANCE_MARK
from dicom_gateway.web_decode import NotDecodable, TooBusy
from dicom_gateway.web_index import Identity as InstanceIdentity
from dicom_gateway.web_index import IndexedFile
from pipeline.retention import removals_of
from pipeline.study_objects import StoredObject, objects_of_study, study_of_uid
from portal.auth import find_key, reader_identity
from portal.context import SEES_STUDIES, Identity, PortalContext
from portal.errors import (
    InstanceGone,
    NotAcceptable,
    PageNotFound,
    PortalError,
    QueryNotUnderstood,
    TooManyImages,
)
from portal.multipart_answer import pieces_of
from portal.requests import Context, bearer_token, signed_in
from storage.objects import Objects
from study.errors import InvalidUID
from study.identifiers import validate_uid

ROOT = "/dicom-web"
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?", re.ASCII)
_by_session = signed_in(SEES_STUDIES)

GET = ["GET", "HEAD"]
STUDY = "/studies/{study_instance_uid}"
SERIES = STUDY + "/series/{series_instance_uid}"
INSTANCE = SERIES + "/instances/{sop_instance_uid}"
"""Paths of PS3.18 table 10.4.1-1, below the root of the service."""


def _reader(request: Request, context: Context) -> Identity:
    """A person by the session cookie, or a program by an API key that reads."""
    token = bearer_token(request)
    if token is None:
        return _by_session(request, context)
    identity = reader_identity(context.database, find_key(context.database, token))
    request.state.identity = identity
    return identity


Reader = Annotated[Identity, Depends(_reader)]


class ImageRoute(APIRoute):
    """A route that may have to wait for a place to decode, and says so where there is none."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_or_not_now(request: Request) -> Response:
            try:
                return await answer(request)
            except TooBusy as error:
                raise TooManyImages from error

        return answer_or_not_now


@dataclass(frozen=True)
class WebObject:
    """One instance that can be served. identity: its series, class and modality."""

    study_id: UUID
    study_instance_uid: str
    stored: StoredObject
    file: IndexedFile
    identity: InstanceIdentity
    objects: Objects

    @property
    def path(self) -> Path:
        return self.file.path

    def pieces(self) -> Iterator[bytes]:
        """The stored file."""
        with at_hand([self]):
            yield from pieces_of(self.path)

    @property
    def sop_instance_uid(self) -> str:
        return self.stored.sop_instance_uid

    @property
    def address(self) -> str:
        """Below the root of the service."""
        series, instance = self.identity.series_instance_uid, self.sop_instance_uid
        return f"/studies/{self.study_instance_uid}/series/{series}/instances/{instance}"


@contextmanager
def at_hand(objects: Sequence[WebObject]) -> Iterator[None]:
    """The files of these instances are on this machine while this lasts."""
    with ExitStack() as stack:
        if objects:
            paths = [one.path for one in objects]
            stack.enter_context(objects[0].objects.at_hand(objects[0].file.tenant, paths))
        yield


class StudyReader:
    """Reads studies of one tenant for one request."""

    def __init__(self, context: PortalContext, identity: Identity) -> None:
        self._context = context
        self._tenant = identity.tenant

    @cached_property
    def index(self) -> Any:
        return self._context.web_index

    def of_study(self, study_uid: str, series_uid: str | None = None) -> list[WebObject]:
        """What is current of a study or a series; raises `PageNotFound` where there is nothing."""
        series = None if series_uid is None else _uid(series_uid)
        found = [one for one in self._objects(_uid(study_uid), series, None) if one.stored.is_current]
        if series is not None:
            found = [one for one in found if one.identity.series_instance_uid == series]
        if not found:
            raise self._absent(_uid(study_uid), PageNotFound)
        return found

    def instance(self, study_uid: str, series_uid: str, sop_uid: str) -> WebObject:
        """Raises `PageNotFound`, and `InstanceGone` for what a later revision has replaced."""
        series = _uid(series_uid)
        for one in self._objects(_uid(study_uid), series, _uid(sop_uid)):
            if one.identity.series_instance_uid == series:
                if not one.stored.is_current:
                    raise InstanceGone
                return one
        raise self._absent(_uid(study_uid), PageNotFound)

    def of_id(self, study_id: UUID, study_uid: str) -> list[WebObject]:
        """What is current of a study that was found before."""
        with self._context.database.transaction(self._tenant) as conn:
            stored = objects_of_study(conn, self._tenant, study_id)
        return self._web_objects(study_id, study_uid, [one for one in stored if one.is_current])

    def _objects(self, study_uid: str, series: str | None, sop: str | None) -> list[WebObject]:
        with self._context.database.transaction(self._tenant) as conn:
            study_id = study_of_uid(conn, self._tenant, study_uid)
            if study_id is None:
                raise PageNotFound
            stored = objects_of_study(conn, self._tenant, study_id, series=series, sop=sop)
        found = self._web_objects(study_id, study_uid, stored)
        if sop is not None and stored and not found:
            raise self._absent(study_uid, InstanceGone)
        return found

    def _absent(self, study_uid: str, otherwise: type[PortalError]) -> PortalError:
        """What is said of what is not there: that the policy removed it, where it did."""
        with self._context.database.transaction(self._tenant) as conn:
            study_id = study_of_uid(conn, self._tenant, study_uid)
            removal = removals_of(conn, self._tenant, study_id).get("images") if study_id else None
        if removal is None:
            return otherwise()
        return InstanceGone(
            f"The images were removed on {removal.at:%Y-%m-%d} by policy, {removal.days} days after delivery."
        )

    def _web_objects(self, study_id: UUID, study_uid: str, stored: Sequence[StoredObject]) -> list[WebObject]:
        files = [(one, self._file(study_uid, one)) for one in stored]
        # A file that is gone is not listed, and is not kept in mind as unreadable either.
        present = self._context.objects.present(file.path for _, file in files)
        here = [(one, file) for one, file in files if file.path in present]
        results = [file for one, file in here if one.is_result]
        identities = dict(zip((file.digest for file in results), self.index.identities(results), strict=True))
        return [
            WebObject(
                study_id,
                study_uid,
                one,
                file,
                identities[file.digest]
                if one.is_result
                else InstanceIdentity(one.series_instance_uid, one.sop_class_uid, one.modality),
                self._context.objects,
            )
            for one, file in here
        ]

    def _file(self, study_uid: str, one: StoredObject) -> IndexedFile:
        root = self._context.results_root if one.is_result else self._context.instances_root
        known = {"0020000D": study_uid, "00080018": one.sop_instance_uid}
        if not one.is_result:
            known |= {"0020000E": one.series_instance_uid, "00080016": one.sop_class_uid}
        facts: dict[str, Any] = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in known.items()}
        if one.modality and not one.is_result:
            facts["00080060"] = {"vr": "CS", "Value": [one.modality]}
        return IndexedFile(root / one.location, one.digest, facts, self._tenant)


def _study_objects(
    request: Request, context: Context, identity: Reader, study_instance_uid: str
) -> list[WebObject]:
    return _noted(request, StudyReader(context, identity).of_study(study_instance_uid))


def _series_objects(
    request: Request, context: Context, identity: Reader, study_instance_uid: str, series_instance_uid: str
) -> list[WebObject]:
    return _noted(request, StudyReader(context, identity).of_study(study_instance_uid, series_instance_uid))


def _one_instance(
    request: Request,
    context: Context,
    identity: Reader,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uid: str,
) -> WebObject:
    reader = StudyReader(context, identity)
    (one,) = _noted(request, [reader.instance(study_instance_uid, series_instance_uid, sop_instance_uid)])
    return one


def _noted(request: Request, objects: list[WebObject]) -> list[WebObject]:
    """For the audit trail: whose images the answer shows."""
    request.state.study_id = objects[0].study_id
    return objects


# What the path of a route names, of the reader's tenant.
OfStudy = Annotated[list[WebObject], Depends(_study_objects)]
OfSeries = Annotated[list[WebObject], Depends(_series_objects)]
OneInstance = Annotated[WebObject, Depends(_one_instance)]


def _uid(text: str) -> str:
    try:
        return validate_uid(text)
    except InvalidUID:
        raise QueryNotUnderstood("a part of the address is not a UID") from None


def service_root(request: Request, context: PortalContext) -> str:
    """The address of the service as the client sees it; without the host where the client's is no host."""
    host = request.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        return ROOT
    return f"{'https' if context.cookie_secure else request.url.scheme}://{host}{ROOT}"


def metadata_of(objects: Sequence[WebObject], texts: Iterable[bytes], root: str) -> Iterator[bytes]:
    """A JSON array of data sets, piece by piece."""
    opening = b"["
    for one, text in zip(objects, texts, strict=True):
        yield opening + text.replace(INSTANCE_MARK.encode(), f"{root}{one.address}".encode())
        opening = b","
    yield b"]"


def etag_of(objects: Iterable[WebObject], *form: str) -> str:
    """Changes with what is served and with the form in which it is."""
    digest = hashlib.sha256("\n".join([*form, *(one.file.digest for one in objects)]).encode())
    return f'"{digest.hexdigest()[:32]}"'


def not_modified(request: Request, etag: str) -> Response | None:
    """304 for who has this already."""
    known = request.headers.get("if-none-match", "")[:4096]
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    if etag in tags or "*" in tags:
        return Response(status_code=304, headers={"ETag": etag})
    return None


def accept_of(request: Request) -> str:
    """The query parameter of this name goes before the header (PS3.18 section 8.3.3.1)."""
    return request.query_params.get("accept") or request.headers.get("accept", "")


@contextmanager
def explained(other: type[PortalError] = NotAcceptable) -> Iterator[None]:
    """What cannot be decoded as an answer, and a file that has just gone away."""
    try:
        yield
    except NotDecodable as error:
        raise other(f"It cannot be given in this form: {error}.") from error
    except FileNotFoundError as error:
        raise InstanceGone from error
