"""The page of destinations and its form in a browser."""

from __future__ import annotations

import pytest

from portal.context import Role
from tests.portal.browser_checks import Watched, check_page, sign_in, stands_everything
from tests.portal.portal_site import Site

pytestmark = pytest.mark.browser


def test_ways_out_that_are_no_pacs_are_added_and_shown(watched: Watched, site: Site) -> None:
    site.owner.execute(
        """INSERT INTO destination (tenant, name, kind, object_kinds, url, recipients, events, token_file) VALUES
             ('alpha', 'emr', 'fhir', '{FHIR}', 'https://emr.hospital.test/fhir', '{}', '{reviewed}', NULL),
             ('alpha', 'duty', 'email', '{EVENT}', NULL, '{duty@hospital.test}', '{critical,failed}', NULL)"""
    )
    sign_in(watched, site, Role.ADMIN)
    watched.goto("/destinations")
    check_page(watched, "destinations-ways-out")
    watched.goto("/destinations/edit?name=emr")
    check_page(watched, "destination-form-fhir")
    stands_everything(watched, "destination-form-fhir")
