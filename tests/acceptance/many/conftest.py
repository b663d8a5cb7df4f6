"""One cluster for all tests of the folder: starting ten processes takes longer than what most of them do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.many.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three gateways, six workers and a portal."""
    with Cluster.running(gateways=3, workers=6) as running:
        yield running
