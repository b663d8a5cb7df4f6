"""The form that a person had sent when the session had ended, once more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from portal import kept_form
from portal.context import Identity
from portal.navigation import home_of
from portal.render import page
from portal.requests import signed_in

router = APIRouter(include_in_schema=False)


@router.get(kept_form.PATH)
def show(request: Request, identity: Annotated[Identity, Depends(signed_in())]) -> Response:
    """Filled as it was, to be looked at and sent by the person who has signed in."""
    form = kept_form.read(request, request.app.state.form_key)
    if form is None:
        return RedirectResponse(home_of(identity), 303)
    return page(request, "kept_form.html", form=form)
