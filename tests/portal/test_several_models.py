"""A study that several models read."""

from __future__ import annotations

from dataclasses import replace

from psycopg.types.json import Jsonb

from tests.portal.portal_site import Site
from tests.portal.report_seed import small_report
from tests.portal.seeds import add_usage, write_report


def test_each_model_has_its_report_and_what_ran_in_shadow_has_none_for_readers(site: Site) -> None:
    study_id = site.add_study("alpha")
    route = [{"product": "nodules"}, {"product": "lobes"}, {"product": "tried", "shadow": True}]
    site.owner.execute("UPDATE study SET route = %s", (Jsonb(route),))
    view = small_report(study_id)
    assert view.model is not None
    titles = {"": "Nodules", "lobes": "Lobes", "tried": "Not yet"}
    for product, title in titles.items():
        named = replace(view, model=replace(view.model, title=title))
        write_report(site, study_id, named, with_pdf=False, product=product)
    client = site.signed_in("alpha")
    first = client.get(f"/studies/{study_id}").text
    assert "Nodules ·" in first
    assert "Lobes ·" in first
    assert "Not yet" not in first
    second = client.get(f"/studies/{study_id}?product=lobes").text
    assert f"/studies/{study_id}/images/finding-1-overview.png?revision=1&amp;product=lobes" in second
    picture = f"/studies/{study_id}/images/finding-1-overview.png?revision=1&product="
    assert client.get(picture + "lobes").status_code == 200
    for hidden in ("tried", "..", "%2e%2e%2f", "nodules"):
        assert client.get(picture + hidden).status_code == 404
    assert client.get(f"/studies/{study_id}?product=tried").text.count("Not yet") == 0


def test_what_ran_in_shadow_is_nowhere_called_delivered(site: Site) -> None:
    study_id = site.add_study("alpha")
    add_usage(site, "alpha", study_id, purpose="shadow")
    client = site.signed_in("alpha")
    pages = [client.get(path).text for path in (f"/studies/{study_id}", "/usage", "/usage/1")]
    assert [("shadow result" in text, "result delivered" in text) for text in pages] == [(True, False)] * 3
