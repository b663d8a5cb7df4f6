"""How often an API key may ask, over all portal processes, by a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.database import Database
from portal import auth, key_limits
from portal.key_errors import TooManyRequests
from portal.key_limits import HELD_AT_MOST, Admitted
from tests.portal.portal_site import Site

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def make_key(site: Site, requests_per_minute: int = 6, concurrent_max: int = 2) -> str:
    with site.database.transaction("alpha") as conn:
        return auth.create_api_key(
            conn, "alpha", "test", requests_per_minute=requests_per_minute, concurrent_max=concurrent_max
        )


def end(database: Database, admitted: Admitted, at: datetime = NOW) -> None:
    key_limits.end(database, admitted, None, "", now=at)


def test_requests_come_back_evenly_and_only_so_many_run_at_once(site: Site) -> None:
    database, key = site.database, make_key(site)
    running = [key_limits.admit(database, key, now=NOW) for _ in range(2)]
    with pytest.raises(TooManyRequests) as told:
        key_limits.admit(database, key, now=NOW)
    assert ("at once" in str(told.value), told.value.retry_after_s) == (True, 1)
    for one in running:
        end(database, one)
    for _ in range(4):
        end(database, key_limits.admit(database, key, now=NOW))
    with pytest.raises(TooManyRequests) as told:
        key_limits.admit(database, key, now=NOW)
    assert ("a minute" in str(told.value), told.value.retry_after_s) == (True, 10)
    later = NOW + timedelta(seconds=10)
    end(database, key_limits.admit(database, key, now=later))
    with pytest.raises(TooManyRequests):
        key_limits.admit(database, key, now=later)


def test_what_is_left_is_one_number_for_all_processes_whatever_their_clocks_say(site: Site) -> None:
    key = make_key(site, requests_per_minute=3)
    other = Database(site.database.url)  # as of another process
    try:
        end(other, key_limits.admit(other, key, now=NOW))
        end(site.database, key_limits.admit(site.database, key, now=NOW - timedelta(seconds=30)))
        end(other, key_limits.admit(other, key, now=NOW))
        with pytest.raises(TooManyRequests):
            key_limits.admit(site.database, key, now=NOW - timedelta(seconds=30))
    finally:
        other.close()


def test_a_process_that_dies_gives_its_place_back_in_time(site: Site) -> None:
    key = make_key(site, concurrent_max=1)
    key_limits.admit(site.database, key, now=NOW)
    with pytest.raises(TooManyRequests):
        key_limits.admit(site.database, key, now=NOW + HELD_AT_MOST - timedelta(seconds=1))
    late = NOW + HELD_AT_MOST
    end(site.database, key_limits.admit(site.database, key, now=late), late)
