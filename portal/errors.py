"""What can be wrong with a request, each with the HTTP status it is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class PortalError(Exception):
    """A request cannot be answered as asked."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    @property
    def detail(self) -> Mapping[str, object]:
        """What a program is told beside code and message."""
        return {}


class NotSignedIn(PortalError):
    """Sign in first."""

    status = 401
    code = "not_signed_in"


class StepNeeded(NotSignedIn):
    """The sign-in is not finished."""

    path: ClassVar[str] = "/sign-in"


class SecondFactorNeeded(StepNeeded):
    """A second factor is asked for."""

    path = "/sign-in/second-factor"


class PasswordChangeNeeded(StepNeeded):
    """The first password must be changed."""

    path = "/account/password"


class EnrolmentNeeded(StepNeeded):
    """Your role signs in with a second factor: set one up."""

    path = "/account/second-factor"


class WrongNameOrPassword(PortalError):
    """The name or the password is wrong."""

    status = 401
    code = "wrong_name_or_password"


class TooManyAttempts(PortalError):
    """Too many failed attempts to sign in. Wait and try again."""

    status = 429
    code = "too_many_attempts"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class RoleNotAllowed(PortalError):
    """Your role does not include this page."""

    status = 403
    code = "role_not_allowed"


class CrossSiteRequest(PortalError):
    """The request came from another site and was not carried out."""

    status = 403
    code = "cross_site_request"


class RequestTooLarge(PortalError):
    """The request is larger than this server reads."""

    status = 413
    code = "request_too_large"


class PageNotFound(PortalError):
    """There is nothing here."""

    status = 404
    code = "not_found"


class StudyGone(PageNotFound):
    """This study is not here: it was removed, or the address is not whole."""

    code = "study_not_found"


class PrinterBusy(PortalError):
    """The report could not be printed just now. Try again in a moment; the one that was sent is in the PACS."""

    status = 503
    code = "printer_busy"
    retry_after_s = 10


class SearchTooLong(PortalError):
    """A search has at most 100 characters. Give a part of the name, or the number."""

    status = 422
    code = "search_too_long"


class InvalidInput(PortalError):
    """A value in the form or the query is not valid."""

    status = 422
    code = "invalid_input"


class ActionConflict(PortalError):
    """What was asked does not fit the present state."""

    status = 409
    code = "conflict"


class UserExists(PortalError):
    """A user of this name exists already."""

    status = 409
    code = "user_exists"


class PasswordTooShort(PortalError):
    """A password needs at least twelve characters."""

    status = 422
    code = "password_too_short"


class PasswordCommon(PortalError):
    """This password is easy to guess: it is made of common words, names or runs. Take several words of your own."""

    status = 422
    code = "password_common"


class UserNameInvalid(PortalError):
    """A name has 1 to 100 visible characters and neither begins nor ends with a space."""

    status = 422
    code = "user_name_invalid"


class OpenIdRefused(PortalError):
    """The provider's word was not taken."""

    status = 403
    code = "openid_refused"


class OpenIdUnavailable(PortalError):
    """The provider cannot be asked, or its settings cannot be right."""

    status = 502
    code = "openid_unavailable"


class LinkNotGood(PortalError):
    """This link does not lead to a report, or not any more. Ask whoever sent it for a new one."""

    status = 404
    code = "link_not_good"


class PinWrong(PortalError):
    """The PIN is wrong."""

    status = 403
    code = "pin_wrong"


class LastAdmin(PortalError):
    """Somebody must be able to administer: this is the last admin."""

    status = 409
    code = "last_admin"


class WrongCode(PortalError):
    """The code is wrong, or it was used already."""

    status = 401
    code = "wrong_code"


class PartyNeeded(PortalError):
    """A hospital's or a vendor's user sees what belongs to a party: say which, as the contracts name it."""

    status = 422
    code = "party_needed"


class PartyUnknown(PortalError):
    """No contract names this party."""

    status = 422
    code = "party_unknown"


class PeerSwitchedOff(PortalError):
    """The peer that this would count for is switched off."""

    status = 403
    code = "peer_switched_off"


class TooManyUploads(PortalError):
    """Too many uploads are in progress. Try again in a moment."""

    status = 503
    code = "too_many_uploads"
    retry_after_s = 5


class MediaTypeNotSupported(PortalError):
    """The body is of a media type that is not taken here."""

    status = 415
    code = "media_type_not_supported"


class NotAcceptable(PortalError):
    """The answer comes as application/dicom+json or application/dicom+xml, and the client accepts neither."""

    status = 406
    code = "not_acceptable"


class QueryNotUnderstood(PortalError):
    """A part of the address or the query is not understood."""

    code = "query_not_understood"


class InstanceGone(PortalError):
    """The instance was here and is no more: another revision took its place, or its file is gone."""

    status = 410
    code = "gone"


class TooManyImages(PortalError):
    """Too many images are being decoded. Try again in a moment."""

    status = 503
    code = "too_many_images"
    retry_after_s = 3
