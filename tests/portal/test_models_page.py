"""The models page: versions, who uses what, and the forms that change it; each works without a script."""

from __future__ import annotations

import shutil

from models.registry import get_model
from pipeline import deployments
from portal.context import Role
from tests.portal.portal_site import Site
from tests.portal.seeds import lung_model

MODEL = "lung_nodule_ct"
BUILT_IN = get_model(MODEL).manifest.version
PRICE = 'licence = "CC-BY-4.0"\n[price_hint]\namount = "5.50"\ncurrency = "EUR"\n\n[input]'


def install(site: Site, version: str) -> None:
    folder = site.context.data_root / "models" / MODEL / version
    folder.mkdir(parents=True)
    lines = (lung_model().folder / "manifest.toml").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("licence"))
    text = text.replace(f'version = "{BUILT_IN}"', f'version = "{version}"').replace("[input]", PRICE, 1)
    (folder / "manifest.toml").write_text(text)
    shutil.copy(lung_model().weights_path, folder)
    (folder / "MODEL_CARD.md").write_text(f"# Card of {version}\n\nNot cleared.\n")


def test_an_operator_tries_a_version_activates_it_and_rolls_back(site: Site) -> None:
    install(site, "9.0")
    client = site.signed_in("alpha", Role.OPERATOR)
    text = client.get("/models").text
    assert "9.0" in text
    assert "comes with this software" in text

    def post(action: str, **values: str) -> str:
        answer = client.post("/models", data={"model": MODEL, "action": action, **values})
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"] == f"/models#model-{MODEL}"
        return client.get("/models").text

    assert "canary 10 %" in post("canary", version="9.0", percent="10")
    text = post("roll_back")
    assert "canary 10 %" not in text
    assert "rolled back" in text, "the history tells"
    assert ">shadow<" in post("shadow", version="9.0").replace("</svg>", ">")
    text = post("activate", version="9.0")
    assert "Card of 9.0" in text, "the card is that of the active version"
    assert "5.50 EUR" in text
    assert "Roll back to the software&#39;s version" in text
    assert "Card of 9.0" not in post("roll_back")
    assert "north" in post("threshold", version="9.0", threshold="0.35", site="north")
    others = text.count("not enabled")
    assert post("disable").count("not enabled") == others + 1
    assert post("enable").count("not enabled") == others
    with site.database.transaction("alpha") as conn:
        assert [one.threshold for one in deployments.list_thresholds(conn, "alpha")] == [0.35]
        assert {row["detail"]["by"] for row in deployments.history(conn, "alpha", MODEL)} != {""}
    with site.database.transaction("beta") as conn:
        assert deployments.list_deployments(conn, "beta") == {}


def test_one_version_can_be_looked_at_before_it_runs_and_another_cannot(site: Site) -> None:
    install(site, "9.0")
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    text = client.get(f"/models?model={MODEL}&version=9.0").text
    assert "Card of 9.0" in text
    assert "CC-BY-4.0" in text
    assert client.get(f"/models?model={MODEL}&version=8").status_code == 404
    assert client.get("/models?model=nobody&version=1").status_code == 404


def test_what_cannot_be_done_is_told_on_the_page_and_changes_nothing(site: Site) -> None:
    client = site.signed_in("alpha", Role.ADMIN)
    for values, sentence in (
        ({"action": "activate", "version": "7"}, "has no version &#39;7&#39;"),
        ({"action": "roll_back"}, "so there is no way back"),
        ({"action": "canary", "version": BUILT_IN, "percent": "0"}, "1 to 99 percent"),
        ({"action": "threshold", "version": BUILT_IN, "site": "a", "ae_title": "B"}, "not of both"),
    ):
        answer = client.post("/models", data={"model": MODEL, **values})
        assert answer.status_code == 422
        assert sentence in answer.text
    assert client.post("/models", data={"model": MODEL, "action": "explode"}).status_code == 404
    with site.database.transaction("alpha") as conn:
        assert deployments.list_deployments(conn, "alpha") == {}


def test_only_operators_and_admins_see_the_forms_and_may_use_them(site: Site) -> None:
    install(site, "9.0")
    for role in (Role.RADIOLOGIST, Role.FINANCE, Role.AUDITOR):
        client = site.signed_in("alpha", role)
        assert 'action="/models"' not in client.get("/models").text
        answer = client.post("/models", data={"model": MODEL, "action": "activate", "version": "9.0"})
        assert answer.status_code == 403
    admin = site.signed_in("alpha", Role.ADMIN)
    assert 'action="/models"' in admin.get("/models").text
    elsewhere = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    values = {"model": MODEL, "action": "activate", "version": "9.0"}
    assert admin.post("/models", data=values, headers=elsewhere).status_code == 403


def test_a_version_in_use_that_is_not_installed_is_told(site: Site) -> None:
    install(site, "9.0")
    client = site.signed_in("alpha", Role.ADMIN)
    client.post("/models", data={"model": MODEL, "action": "activate", "version": "9.0"})
    shutil.rmtree(site.context.data_root / "models" / MODEL)
    assert "A version that is in use is not installed: 9.0" in client.get("/models").text
