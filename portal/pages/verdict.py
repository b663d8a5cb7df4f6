"""Verdicts on a report: accept, reject, change, add what was missed, take back, finish.

Each form works without JavaScript and is answered with 303; htmx gets the parts of the page that have changed. Who
comes second, or too late, sees why, with all that was typed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import reviews
from pipeline.database import Connection
from pipeline.review_errors import PlaceUnknown, ReviewError, VerdictUnfit
from pipeline.review_images import SeriesImage, find_image, series_images
from pipeline.reviews import ReviewedResult
from portal.context import GIVES_VERDICTS, Identity, PortalContext
from portal.errors import PageNotFound, RoleNotAllowed
from portal.render import page
from portal.requests import Context, is_htmx, parse_id, signed_in
from portal.verdict_desk import VerdictDesk, page_values, token_of
from study.errors import InvalidReview
from study.review import NOTE_LENGTH_MAX, Verdict, VerdictKind

router = APIRouter(include_in_schema=False)

Reader = Annotated[Identity, Depends(signed_in(GIVES_VERDICTS))]
Text = Annotated[str, Form(max_length=100)]
Note = Annotated[str, Form(max_length=4 * NOTE_LENGTH_MAX)]
Number = Annotated[int, Form(ge=0, le=2**63 - 1)]
Revision = Annotated[int, Form(ge=1, le=2**31 - 1)]
AskedRevision = Annotated[int, Query(ge=1, le=2**31 - 1)]
Act = Callable[[Connection, ReviewedResult], object]


@router.post("/studies/{study_id}/verdicts")
def give(
    request: Request,
    context: Context,
    identity: Reader,
    study_id: str,
    say: Text,
    revision: Revision,
    product: Text = "",
    seen: Number = 0,
    note: Note = "",
    size_mm: Text = "",
    nodule_kind: Text = "",
) -> Response:
    """say: `accept 3`, `reject 3`, `unsure 3`, `edit 3`, `undo 3`, `complete`, `undo complete`, `finish`."""
    word, _, about = say.partition(" ")
    form = {"say": say, "note": note, "size_mm": size_mm, "nodule_kind": nodule_kind}
    now = datetime.now(UTC)

    def act(conn: Connection, result: ReviewedResult) -> object:
        by = identity.user_name
        if word == "finish":
            return reviews.finish(
                context.queue, conn, result, by=by, at=now, seen=seen, party_id=identity.party_id
            )
        if word == "complete":
            return reviews.say_complete(conn, result, by=by, at=now, seen=seen)
        uid = "" if about == "complete" else token_of(result.items, about)
        if word == "undo":
            return reviews.take_back(conn, result, uid, by=by, at=now, seen=seen)
        return reviews.say(conn, result, _verdict(word, uid, by, now, form), seen=seen)

    return _act(request, context, identity, study_id, revision, product, form, act, about)


@router.get("/studies/{study_id}/verdicts/{token}/edit")
def edit(
    request: Request,
    context: Context,
    identity: Reader,
    study_id: str,
    token: Annotated[str, Path(max_length=64)],
    revision: AskedRevision,
    product: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """The form by which the size and the type of a finding are changed, or a note is added to a verdict."""
    with context.database.transaction(identity.tenant) as conn:
        desk = _desk(conn, identity, study_id, revision, product)
        item = desk.result.item(_known_token(desk, token))
    said = desk.said(item)
    form = {
        "size_mm": f"{said.size_mm:g}" if said and said.size_mm else "",
        "nodule_kind": said.nodule_kind.value if said and said.nodule_kind else "",
        "note": said.note if said else "",
    }
    return page(request, "verdict_edit.html", item=item, form=form, problem="", **page_values(desk))


@router.get("/studies/{study_id}/missed")
def missed(
    request: Request,
    context: Context,
    identity: Reader,
    study_id: str,
    revision: AskedRevision,
    product: Annotated[str, Query(max_length=100)] = "",
    image: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Response:
    """The form for a finding that the model did not make: an image of the series, and a place on it."""
    with context.database.transaction(identity.tenant) as conn:
        desk = _desk(conn, identity, study_id, revision, product)
        return _missed_page(request, context, conn, desk, {"image": str(image or "")})


@router.post("/studies/{study_id}/missed")
async def add_missed(request: Request, context: Context, identity: Reader, study_id: str) -> Response:
    """`at.x`, `at.y`: where the picture was clicked, which browsers send by themselves; else `column` and `row`."""
    sent = await request.form()
    names = ("finding", "revision", "product", "seen", "image", "at.x", "at.y", "column", "row", "label")
    limits = dict.fromkeys(names, 100) | {"size_mm": 100, "nodule_kind": 100, "note": 4 * NOTE_LENGTH_MAX}
    form = {name: str(sent.get(name, ""))[:limit] for name, limit in limits.items()}
    return _add_missed(request, context, identity, study_id, form)


def _add_missed(
    request: Request, context: PortalContext, identity: Identity, study_id: str, form: dict[str, str]
) -> Response:
    now = datetime.now(UTC)

    def act(conn: Connection, result: ReviewedResult) -> object:
        image = find_image(series_images(conn, result, context.folders), _whole(form["image"]))
        column, row = (
            _decimal(form[at] or form[typed]) for at, typed in (("at.x", "column"), ("at.y", "row"))
        )
        if column is None or row is None:
            raise PlaceUnknown(PlaceUnknown.__doc__)
        verdict = _verdict(
            VerdictKind.MISSED, form["finding"], identity.user_name, now, form,
            place=image.place(column, row), frame_number=image.frame_number,
            label=form["label"] or result.labels[0],
        )  # fmt: skip
        return reviews.say(conn, result, verdict, seen=_whole(form["seen"]))

    product, revision = form["product"], max(1, _whole(form["revision"]))

    def again(conn: Connection, desk: VerdictDesk, problem: str) -> Response:
        return _missed_page(request, context, conn, desk, form, problem)

    return _act(request, context, identity, study_id, revision, product, form, act, "", again)


def _act(
    request: Request,
    context: PortalContext,
    identity: Identity,
    study_id: str,
    revision: int,
    product: str,
    form: dict[str, str],
    act: Act,
    about: str,
    again: Callable[[Connection, VerdictDesk, str], Response] | None = None,
) -> Response:
    """Do it as a whole and show what has changed, or nothing of it and say why, with what was typed.

    again: shows the form that was sent once more; without it a page of its own says what is wrong.
    """
    with context.database.transaction(identity.tenant) as conn:
        result = reviews.open_result(conn, identity.tenant, parse_id(study_id), revision, product, lock=True)
        try:
            with conn.transaction():
                act(conn, result)
        except (ReviewError, InvalidReview) as error:
            desk = VerdictDesk(result, product, may=True)
            can_mend = isinstance(error, VerdictUnfit | PlaceUnknown | InvalidReview)
            if again is not None and can_mend:
                return again(conn, desk, str(error))
            return _problem(request, desk, form, error)
        desk = _desk(conn, identity, study_id, revision, product)
    if is_htmx(request):
        item = next((one for one in desk.result.items if str(one.number) == about), None)
        return page(request, "verdict_fragment.html", item=item, **page_values(desk))
    place = f"#verdict-{about}" if about.isdecimal() else "#review-bar"
    return RedirectResponse(desk.page_address + place, 303)


def _problem(
    request: Request, desk: VerdictDesk, form: dict[str, str], error: ReviewError | InvalidReview
) -> Response:
    """Why it was not taken, what others have said of it, and the form once more."""
    _, _, about = form.get("say", "").partition(" ")
    item = next((one for one in desk.result.items if str(one.number) == about), None)
    values: dict[str, Any] = {"form": form, "item": item, "problem": str(error), "code": type(error).__name__}
    if not is_htmx(request):
        return page(request, "verdict_problem.html", status_code=409, **values, **page_values(desk))
    # htmx shows what is answered with 200 alone.
    response = page(request, "verdict_problem_part.html", **values, **page_values(desk))
    response.headers.update({"HX-Retarget": "#review-problem", "HX-Reswap": "outerHTML"})
    return response


def _missed_page(
    request: Request,
    context: PortalContext,
    conn: Connection,
    desk: VerdictDesk,
    form: dict[str, str],
    problem: str = "",
) -> Response:
    images = series_images(conn, desk.result, context.folders)
    wanted = _whole(form.get("image", ""))
    shown = next((index for index, one in enumerate(images) if one.number == wanted), None)
    if shown is None and images:
        shown = len(images) // 2
    values: dict[str, Any] = {
        # A form that is sent twice adds one finding.
        "finding": form.get("finding") or f"2.25.{uuid.uuid4().int}",
        "images": images,
        "image": images[shown] if shown is not None else None,
        "before": images[shown - 1] if shown else None,
        "after": images[shown + 1] if shown is not None and shown + 1 < len(images) else None,
        "form": {"size_mm": "", "nodule_kind": "", "note": "", "column": "", "row": "", "label": "", **form},
        "problem": problem,
        "picture": _picture(desk, images[shown]) if shown is not None else "",
    }
    return page(
        request, "verdict_missed.html", status_code=422 if problem else 200, **values, **page_values(desk)
    )


def _picture(desk: VerdictDesk, image: SeriesImage) -> str:
    """The image in its own pixels, by our DICOMweb: CT in the lung window, a radiograph as its sender wants it."""
    study, series = desk.result.study.study_instance_uid, desk.result.series_instance_uid
    frame = f"/frames/{image.frame_number}" if image.frame_number is not None else ""
    window = "" if desk.result.is_of_whole_image else "?window=-600,1500,linear"
    return f"/dicom-web/studies/{study}/series/{series}/instances/{image.sop_instance_uid}{frame}/rendered{window}"


def _desk(conn: Connection, identity: Identity, study_id: str, revision: int, product: str) -> VerdictDesk:
    if identity.role is None:  # a program gives no verdicts
        raise RoleNotAllowed
    result = reviews.open_result(conn, identity.tenant, parse_id(study_id), revision, product)
    return VerdictDesk(result, product, may=True)


def _known_token(desk: VerdictDesk, token: str) -> str:
    try:
        return token_of(desk.result.items, token)
    except ReviewError:
        raise PageNotFound from None


def _verdict(
    kind: str, finding_uid: str, by: str, at: datetime, form: dict[str, str], **values: Any
) -> Verdict:
    """Raises `VerdictUnfit`, `InvalidReview`."""
    if kind not in {one.value for one in VerdictKind}:
        raise VerdictUnfit(VerdictUnfit.__doc__)
    size_text, nodule_kind = form["size_mm"].strip(), form["nodule_kind"].strip()
    size_mm = _decimal(size_text)
    if size_text and size_mm is None:
        raise VerdictUnfit("Give the size as a number of millimetres.")
    try:
        return Verdict(
            finding_uid, VerdictKind(kind), by, at, form["note"].strip(), size_mm,
            nodule_kind or None, **values,  # type: ignore[arg-type]  # the record reads the text
        )  # fmt: skip
    except InvalidReview:
        raise
    except ValueError:
        raise VerdictUnfit("There is no such type of nodule.") from None


def _decimal(text: str) -> float | None:
    """A number as people of either language write it; None for what is none."""
    try:
        return float(text.strip().replace(",", ".")) if len(text) <= 20 else None
    except ValueError:
        return None


def _whole(text: str) -> int:
    """0 for what is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
