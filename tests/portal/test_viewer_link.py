"""Links into the image viewer."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from pipeline.database import Database
from portal.context import PortalContext
from portal.viewer_link import viewer_url


@pytest.fixture
def context(tmp_path: Path) -> PortalContext:
    return PortalContext(cast(Database, None), tmp_path)


def test_without_a_viewer_there_is_no_link(context: PortalContext) -> None:
    assert viewer_url(context, "1.2") is None


def test_a_link_names_what_is_known_and_carries_nothing_else_into_the_address(context: PortalContext) -> None:
    context.viewer_root.mkdir()
    (context.viewer_root / "index.html").touch()
    assert viewer_url(context, "1.2") == "/ohif/viewer?StudyInstanceUIDs=1.2"
    assert viewer_url(context, "1.2", "1.3", "1.4&x=<") == (
        "/ohif/viewer?StudyInstanceUIDs=1.2&initialSeriesInstanceUID=1.3&initialSOPInstanceUID=1.4%26x%3D%3C"
    )
