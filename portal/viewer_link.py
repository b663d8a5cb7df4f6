"""Links into the image viewer under `/ohif/`, where one is installed; see docs/viewer.md."""

from __future__ import annotations

from urllib.parse import urlencode

from portal.context import PortalContext

VIEWER_PATH = "/ohif"


def viewer_is_installed(context: PortalContext) -> bool:
    """Whether this installation has the optional viewer."""
    return (context.viewer_root / "index.html").is_file()


def viewer_url(
    context: PortalContext,
    study_instance_uid: str,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
) -> str | None:
    """The address that opens a study, a series of it, or one slice; None where no viewer is installed.

    series_instance_uid: that of a segmentation or structured report opens it over its images.
    """
    if not viewer_is_installed(context):
        return None
    values = {
        "StudyInstanceUIDs": study_instance_uid,
        "initialSeriesInstanceUID": series_instance_uid,
        "initialSOPInstanceUID": sop_instance_uid,
    }
    return f"{VIEWER_PATH}/viewer?{urlencode({name: value for name, value in values.items() if value})}"
