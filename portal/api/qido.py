"""QIDO-RS: studies, series and instances found by DICOMweb (PS3.18 section 10.6)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from fastapi import APIRouter, Request, Response

from dicom_gateway.qido_query import Query, QueryInvalid, date_range, parse_query
from dicom_gateway.stow_response import JSON
from dicom_gateway.web_accept import choose_plain
from pipeline.study_objects import StudyFilter, find_studies
from portal.context import Identity, PortalContext
from portal.dicomweb_objects import (
    GET,
    SERIES,
    STUDY,
    ImageRoute,
    OfSeries,
    OfStudy,
    Reader,
    StudyReader,
    WebObject,
    accept_of,
    service_root,
)
from portal.errors import NotAcceptable, QueryNotUnderstood
from portal.requests import Context

router = APIRouter(prefix="/dicom-web", include_in_schema=False, route_class=ImageRoute)

_PAGE = 50
_STUDIES_READ_MAX = 500
_STUDY_TAGS = (
    "00080005", "00080020", "00080030", "00080050", "00080056", "00080061", "00080062", "00080090", "00080201",
    "00081030", "00081190", "00100010", "00100020", "00100030", "00100040", "0020000D", "00200010", "00201206",
    "00201208",
)  # fmt: skip
_SERIES_TAGS = (
    "00080005", "00080021", "00080031", "00080060", "0008103E", "00080201", "00081190", "0020000D", "0020000E",
    "00200011", "00201209", "00400244", "00400245", "00400275",
)  # fmt: skip
_INSTANCE_TAGS = (
    "00080005", "00080016", "00080018", "00080056", "00080201", "00081190", "0020000D", "0020000E", "00200013",
    "00280008", "00280010", "00280011", "00280100", "00083002",
)  # fmt: skip
# What the database leaves out so well that nothing is left to compare.
_OF_DATABASE = frozenset({("0020000D",)})
Found = dict[str, Any]


@router.api_route("/studies", methods=GET)
def studies(request: Request, context: Context, identity: Reader) -> Response:
    """The tenant's studies, newest first."""
    search = _search(request, context, identity)
    return _answer(request, search, search.studies(), _STUDY_TAGS)


@router.api_route(STUDY + "/series", methods=GET)
def series_of_study(request: Request, context: Context, identity: Reader, objects: OfStudy) -> Response:
    """The series of a study, ours among them."""
    search = _search(request, context, identity)
    return _answer(request, search, search.series(objects), _SERIES_TAGS)


@router.api_route(STUDY + "/instances", methods=GET)
def instances_of_study(request: Request, context: Context, identity: Reader, objects: OfStudy) -> Response:
    """The instances of a study."""
    search = _search(request, context, identity)
    return _answer(request, search, search.instances(objects), _INSTANCE_TAGS)


@router.api_route(SERIES + "/instances", methods=GET)
def instances_of_series(request: Request, context: Context, identity: Reader, objects: OfSeries) -> Response:
    """The instances of a series."""
    search = _search(request, context, identity)
    return _answer(request, search, search.instances(objects), _INSTANCE_TAGS)


@router.api_route("/series", methods=GET)
def all_series(request: Request, context: Context, identity: Reader) -> Response:
    """Series of all studies, with the attributes of their study."""
    search = _search(request, context, identity)
    found = (one for objects in search.pages() for one in search.series(objects))
    return _answer(request, search, found, [*_STUDY_TAGS, *_SERIES_TAGS])


@router.api_route("/instances", methods=GET)
def all_instances(request: Request, context: Context, identity: Reader) -> Response:
    """Instances of all studies, with the attributes of their study and series."""
    search = _search(request, context, identity)
    found = (one for objects in search.pages() for one in search.instances(objects))
    return _answer(request, search, found, [*_STUDY_TAGS, *_SERIES_TAGS, *_INSTANCE_TAGS])


def _search(request: Request, context: PortalContext, identity: Identity) -> _Search:
    try:
        query = parse_query(request.query_params.multi_items())
    except QueryInvalid as error:
        raise QueryNotUnderstood(str(error)) from error
    return _Search(context, identity, query, service_root(request, context))


def _answer(request: Request, search: _Search, found: Iterator[Found], returned: Sequence[str]) -> Response:
    query = search.query
    media_type = choose_plain(accept_of(request), [JSON, "application/json"])
    if media_type is None:
        raise NotAcceptable("The answer comes as application/dicom+json, and the client does not accept it.")
    skipped, has_more = 0, False
    matches: list[Found] = []
    for model in found:
        if not query.matches(model):
            continue
        if skipped < query.offset - search.skipped:
            skipped += 1
        elif len(matches) < query.limit:
            matches.append(query.shown(model, returned))
        else:
            has_more = True
            break
    response = Response(status_code=204)
    if matches:
        body = json.dumps(matches, ensure_ascii=False, separators=(",", ":")).encode()
        response = Response(body, 200, media_type=media_type)
    if query.is_fuzzy:
        text = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
        response.headers.append("Warning", f'299 radmeter "{text}"')
    if has_more or search.is_cut:
        text = "There are more results than were returned: ask again with a larger offset, or for less."
        response.headers.append("Warning", f'299 radmeter "{text}"')
    return response


@dataclass
class _Search:
    """What is found, as data sets in the DICOM JSON model, before it is compared with the query.

    skipped: studies that the database has counted off already. is_cut: not every study was looked at.
    """

    context: PortalContext
    identity: Identity
    query: Query
    root: str
    skipped: int = 0
    is_cut: bool = False

    def pages(self) -> Iterator[list[WebObject]]:
        """The instances of studies that may match, newest first, a study at a time."""
        wanted = _study_filter(self.query)
        if self.query.filters.keys() <= _OF_DATABASE:
            self.skipped = self.query.offset
        reader = StudyReader(self.context, self.identity)
        for start in range(self.skipped, self.skipped + _STUDIES_READ_MAX, _PAGE):
            with self.context.database.transaction(self.identity.tenant) as conn:
                found = find_studies(conn, self.identity.tenant, wanted, limit=_PAGE, offset=start)
            for study_id, study_uid in found:
                yield reader.of_id(study_id, study_uid)
            if len(found) < _PAGE:
                return
        self.is_cut = True

    def studies(self) -> Iterator[Found]:
        for objects in self.pages():
            if objects:
                yield self._study(objects)

    def series(self, objects: list[WebObject]) -> Iterator[Found]:
        ordered = sorted(objects, key=lambda one: one.identity.series_instance_uid)
        groups = [list(group) for _, group in groupby(ordered, lambda one: one.identity.series_instance_uid)]
        models = self.context.web_index.models([group[0].file for group in groups])
        study = self._study(objects) if groups else {}
        for group, model in zip(groups, models, strict=True):
            first = group[0]
            address = f"/studies/{first.study_instance_uid}/series/{first.identity.series_instance_uid}"
            own = {
                "0020000E": _values("UI", first.identity.series_instance_uid),
                "00081190": _values("UR", self.root + address),
                "00201209": _values("IS", len(group)),
            }
            yield _without_bulk(study | model | own)

    def instances(self, objects: list[WebObject]) -> Iterator[Found]:
        study = self._study(objects) if objects else {}
        for start in range(0, len(objects), _PAGE):
            part = objects[start : start + _PAGE]
            models = self.context.web_index.models([one.file for one in part])
            for one, model in zip(part, models, strict=True):
                own = {
                    "00080056": _values("CS", "ONLINE"),
                    "00081190": _values("UR", self.root + one.address),
                }
                yield _without_bulk(study | model | own)

    def _study(self, objects: list[WebObject]) -> Found:
        (model,) = self.context.web_index.models([objects[0].file])
        modalities = sorted({one.identity.modality for one in objects} - {""})
        classes = sorted({one.identity.sop_class_uid for one in objects} - {""})
        found = {tag: model[tag] for tag in _STUDY_TAGS if tag in model}
        return found | {
            "00080056": _values("CS", "ONLINE"),
            "00080061": _values("CS", *modalities),
            "00080062": _values("UI", *classes),
            "00081190": _values("UR", f"{self.root}/studies/{objects[0].study_instance_uid}"),
            "00201206": _values("IS", len({one.identity.series_instance_uid for one in objects})),
            "00201208": _values("IS", len(objects)),
        }


def _study_filter(query: Query) -> StudyFilter:
    """What of the query the database can leave out by; the data sets are compared afterwards."""
    date_from, date_to = date_range(query.value("00080020"))
    study_uids = query.value("0020000D")
    name = query.value("00100010")
    return StudyFilter(
        study_instance_uids=study_uids.replace("\\", ",").split(",") if study_uids else None,
        patient_id=_pattern(query.value("00100020")),
        # A name may be asked for by one of its groups.
        patient_name=f"%{_pattern(name)}%" if name else None,
        accession_number=_pattern(query.value("00080050")),
        date_from=date_from if date_from.isdecimal() else None,
        date_to=f"{date_to}~" if date_to.isdecimal() else None,
        modality=_pattern(query.value("00080061")),
    )


def _pattern(wanted: str) -> str | None:
    """A pattern of LIKE; None where several values are asked for, or none."""
    if not wanted or "\\" in wanted:
        return None
    return wanted.replace("%", "\\%").replace("_", "\\_").replace("*", "%").replace("?", "_")


def _values(vr: str, *values: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def _without_bulk(model: Found) -> Found:
    return {tag: element for tag, element in model.items() if "BulkDataURI" not in element}
