"""The routing page: errors by line, versions, the tester on a file and a stored study, the replay, who may what."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import rule_store, store
from pipeline.study_facts import save_facts, summarize
from portal.context import Role
from tests.ct_files import ramp, write
from tests.pipeline.rule_builders import ARRIVAL, ct_series, ct_study
from tests.portal.portal_site import Site
from tests.portal.seeds import add_contract
from tests.portal.test_delivery_page import FORM

RULES = "rules:\n  - {name: thin, series: SliceThickness <= 1, models: [lung_nodule_ct]}\n"


def stored_study(site: Site, tenant: str = "alpha") -> str:
    study_id = site.add_study(tenant)
    with site.database.transaction(tenant) as conn:
        facts = summarize(ct_study(ct_series(thickness_mm=2.5)), ARRIVAL)
        save_facts(conn, store.get_study(conn, tenant, study_id), facts)
    return study_id


def test_mistakes_are_shown_by_line_and_nothing_is_saved(site: Site) -> None:
    client = site.signed_in("alpha", Role.ADMIN)
    bad = RULES.replace("SliceThickness", "SliceThicknes").replace("lung_nodule_ct", "lung_nodul_ct")
    answer = client.post("/routing/edit", data={"action": "save", "document": bad})
    assert answer.status_code == 422
    assert "did you mean SliceThickness?" in answer.text
    assert "did you mean lung_nodule_ct?" in answer.text
    with site.database.transaction("alpha") as conn:
        assert rule_store.list_rule_sets(conn, "alpha") == []


def test_an_admin_saves_a_version_and_puts_it_in_force_after_seeing_what_changes(site: Site) -> None:
    client = site.signed_in("alpha", Role.ADMIN)
    saved = client.post("/routing/edit", data={"action": "save", "document": RULES, "note": "first"})
    assert saved.headers["location"] == "/routing"
    question = client.get("/routing/activate?version=1").text
    assert "SliceThickness &lt;= 1" in question
    assert client.post("/routing/activate", data={"version": "1"}).status_code == 303
    assert "Version 1 is in force." in client.get("/routing").text
    with site.database.transaction("alpha") as conn:
        (one,) = rule_store.list_rule_sets(conn, "alpha")
    assert (one.state, one.note, one.document) == ("active", "first", RULES)
    assert client.post("/routing/activate", data={"version": "0"}).status_code == 303
    assert "No rules are in force" in client.get("/routing").text


def test_a_destination_that_has_gone_stops_the_rules_that_name_it_and_one_in_use_does_not_go(
    site: Site,
) -> None:
    client = site.signed_in("alpha", Role.ADMIN)
    assert client.post("/destinations", data=FORM).status_code == 303
    rules = RULES.replace("models:", "destinations: [archive], models:")
    client.post("/routing/edit", data={"action": "save", "document": rules})
    assert client.post("/routing/activate", data={"version": "1"}).status_code == 303
    refused = client.post("/destinations/remove", data={"name": "archive"})
    assert (refused.status_code, "Put rules in force that do not name it" in refused.text) == (409, True)
    client.post("/routing/activate", data={"version": "0"})
    assert client.post("/destinations/remove", data={"name": "archive"}).status_code == 303
    gone = client.post("/routing/activate", data={"version": "1"})
    assert (gone.status_code, "there is no such destination" in gone.text) == (422, True)


def test_the_tester_says_why_a_stored_study_does_not_match(site: Site) -> None:
    client = site.signed_in("alpha", Role.OPERATOR)
    values = {"action": "test", "document": RULES, "study_id": stored_study(site)}
    text = client.post("/routing/edit", data=values).text
    assert "series: SliceThickness &lt;= 1 (SliceThickness is 2.5) in 1 Thorax lung" in text
    assert "NO_RULE_MATCHED" in text
    for nobodys in (stored_study(site, "beta"), "84d32912", ""):
        lost = client.post("/routing/edit", data=values | {"study_id": nobodys})
        assert lost.status_code == 404
        assert "Give the whole id of a study that was routed" in lost.text
        assert "SliceThickness &lt;= 1" in lost.text, "what was typed is not lost"


def test_the_tester_speaks_chinese(site: Site) -> None:
    site.owner.execute("UPDATE tenant SET language = 'zh' WHERE tenant = 'alpha'")
    client = site.signed_in("alpha", Role.OPERATOR)
    values = {"action": "test", "document": RULES, "study_id": stored_study(site)}
    assert "(SliceThickness 为 2.5)（序列 1 Thorax lung）" in client.post("/routing/edit", data=values).text
    values["document"] = RULES.replace("<= 1", "<= 5")
    text = client.post("/routing/edit", data=values).text
    assert "lung_nodule_ct：读取1 Thorax lung，" in text or "lung_nodule_ct: " in text
    values["document"] = RULES.replace("name: thin", "name: thin, enabled: false")
    assert "enabled: 该规则已停用" in client.post("/routing/edit", data=values).text


def test_the_tester_says_which_required_series_is_waited_for(site: Site) -> None:
    client = site.signed_in("alpha", Role.OPERATOR)
    document = RULES.replace("<= 1", "<= 5").replace(
        "name: thin", "name: thin, required_series: ['ConvolutionKernel == \"B60\"', 'Modality == \"CT\"']"
    )
    values = {"action": "test", "document": document, "study_id": stored_study(site)}
    text = client.post("/routing/edit", data=values).text
    assert "waits first for a series with ConvolutionKernel == &#34;B60&#34;" in text
    assert text.count("waits first for") == 1
    site.owner.execute("UPDATE tenant SET language = 'zh' WHERE tenant = 'alpha'")
    assert "先等待满足 ConvolutionKernel ==" in client.post("/routing/edit", data=values).text


def test_a_dropped_file_is_tested_and_a_file_that_is_no_dicom_is_refused(site: Site, tmp_path: Path) -> None:
    client = site.signed_in("alpha", Role.OPERATOR)
    path = write(tmp_path, ramp((1, 8, 8)), spacing_mm=(1.0, 1.0, 1.0))[0]
    values = {"action": "test", "document": RULES, "calling": "CT1"}
    answer = client.post("/routing/edit", data=values, files={"file": ("x.dcm", path.read_bytes())})
    assert "1 slice is fewer than the 25 it needs" in answer.text
    answer = client.post("/routing/edit", data=values, files={"file": ("x.dcm", b"no DICOM" * 100)})
    assert answer.status_code == 422
    assert "no file is a readable DICOM instance" in answer.text


def test_the_replay_shows_money_only_to_those_who_may_see_it(site: Site) -> None:
    add_contract(site, "alpha")
    stored_study(site)
    for role, sees in ((Role.ADMIN, True), (Role.OPERATOR, False)):
        text = (
            site.signed_in("alpha", role)
            .post("/routing/edit", data={"action": "replay", "document": RULES})
            .text
        )
        assert "Replay of 1 studies" in text
        assert ("Price under contract" in text) is sees


@pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.OPERATOR, Role.FINANCE])
def test_only_admins_change_routing(site: Site, role: Role) -> None:
    client = site.signed_in("alpha", role)
    assert client.post("/routing/edit", data={"action": "save", "document": RULES}).status_code == 403
    assert client.post("/routing/activate", data={"version": "0"}).status_code == 403
