"""The page of the models' health: who sees it, what it shows and hides, pausing and resuming, and how it looks."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from pipeline import health_store, model_pause
from pipeline.health_figures import Key, latency_bucket
from pipeline.health_rules import find_alarms
from portal.context import Role
from tests.portal.portal_site import PASSWORD, Site
from tests.portal.test_browser import Watched, browser, portal_url, watched

__all__ = ["browser", "portal_url", "watched"]

KEY = Key("lung_nodule_ct", "0.2.0", "north")


def watch(site: Site, tenant: str = "alpha", *, days: int = 60, seed: int = 0) -> None:
    """Sixty days of a busy site, in the last week with another kernel; figures and alarms as the round leaves them."""
    rng = np.random.default_rng(seed)
    today = datetime.now(UTC).date()
    rows: list[tuple[Any, ...]] = []
    for back in range(days, -1, -1):
        kernels = {"B30f": 14, "B50f": 6} if back > 7 else {"B80s <new>": 18, "B50f": 2}
        completed, positive = sum(kernels.values()), int(rng.binomial(20, 0.3))
        counts: dict[tuple[str, str], int] = {
            ("status", "completed"): completed, ("status", "refused"): int(rng.poisson(1)),
            ("status", "failed"): int(rng.random() < 0.1), ("positive", "yes"): positive,
            ("positive", "no"): completed - positive, ("score", "none"): completed - positive,
            ("score", "0.5"): positive // 2, ("score", "0.8"): positive - positive // 2,
            ("latency:infer", latency_bucket(1.1)): 15, ("latency:infer", latency_bucket(2.4)): 5,
            ("thickness", "to 1 mm"): completed, ("slices", "150 to 399"): completed, ("vendor", "ACME"): completed,
            ("sex", "F"): 11, ("sex", "M"): 9, ("sex_positive", "F"): positive // 2, ("verdict", "accepted"): 7,
            ("verdict", "rejected"): 1, ("said_accepted", "0.8"): 4, ("said_rejected", "0.5"): 1,
            ("age", "65 and older"): completed - (back == 3), ("refusal", "LUNGS_NOT_FOUND"): 1,
            **{("kernel", kernel): count for kernel, count in kernels.items()},
        }  # fmt: skip
        if back == 3:
            counts["age", "under 18"] = 1
        day = today - timedelta(days=back)
        rows += [(tenant, day, *_place(), *what, count) for what, count in counts.items() if count]
    with site.owner.cursor() as cursor:
        cursor.executemany("INSERT INTO model_health_day VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", rows)
    with site.database.transaction(tenant) as conn:
        health = health_store.health_of(conn, tenant, KEY, last=today)
        health_store.save_figures(conn, tenant, [health], now=datetime.now(UTC))
        health_store.save_alarms(conn, tenant, KEY, find_alarms(health), now=datetime.now(UTC))


def _place() -> tuple[str, str, str]:
    return KEY.product, KEY.version, KEY.site


def test_the_figures_stand_beside_their_reference_with_their_alarm(site: Site) -> None:
    watch(site)
    text = site.signed_in("alpha", Role.OPERATOR).get("/models/health").text
    assert "lung_nodule_ct 0.2.0 · north" in text
    assert "Drift of input (PSI)" in text
    assert "what comes in (kernel) has changed" in text
    assert text.count("chip bad") == 1
    assert "B80s &lt;new&gt;" in text
    assert "LUNGS_NOT_FOUND" in text
    assert "style=" not in text.split("<main", 1)[1]  # the policy allows no inline styles


def test_a_small_group_is_hidden_with_its_number(site: Site) -> None:
    watch(site)
    text = site.signed_in("alpha").get("/models/health").text
    row = text.split("under 18", 1)[1].split("</tr>", 1)[0]
    assert "too few to show" in row
    assert not any(character.isdigit() for character in row.split("colspan", 1)[1].replace('="3"', ""))


def test_nothing_counted_says_when_there_will_be_something(site: Site) -> None:
    assert "within an hour" in site.signed_in("alpha").get("/models/health").text
    assert site.signed_in("alpha").get("/models/health?product=unknown").status_code == 404


@pytest.mark.parametrize("kind", ["volume", "positives", "scores", "calibration"])
def test_plots_are_drawn_on_a_light_and_on_a_dark_ground(site: Site, kind: str) -> None:
    watch(site)
    client = site.signed_in("alpha")
    path = f"/models/health/{KEY.product}/plot.png?version={KEY.version}&site={KEY.site}&kind={kind}"
    for dark, ground in ((False, (255, 255, 255)), (True, (24, 32, 39))):
        answer = client.get(f"{path}&dark={str(dark).lower()}")
        assert answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as image:
            corner = image.convert("RGB").getpixel((1, 1))
            assert isinstance(corner, tuple)
            assert np.abs(np.subtract(corner, ground)).max() <= 8
    assert client.get(path.replace("lung_nodule_ct", "other")).status_code == 404
    assert client.get(path.replace(f"kind={kind}", "kind=../x")).status_code == 422


def test_an_operator_pauses_a_model_and_lets_it_go_on(site: Site) -> None:
    watch(site)
    client = site.signed_in("alpha", Role.OPERATOR)
    values = {"product": KEY.product, "site": "north", "reason": "the new kernel misleads it"}
    assert client.post("/models/health/pause", data=values).status_code == 303
    assert client.post("/models/health/pause", data=values).status_code == 409
    assert "lung_nodule_ct is paused at north" in client.get("/models/health").text
    with site.database.transaction("alpha") as conn:
        assert (
            "the new kernel misleads it" in model_pause.paused_products(conn, "alpha", "north")[KEY.product]
        )
    assert client.post("/models/health/resume", data=values).status_code == 303
    assert client.post("/models/health/resume", data=values).status_code == 409
    trail = client.get("/audit").text
    assert "Model paused" in trail
    assert "Model resumed" in trail


@pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.FINANCE, Role.AUDITOR])
def test_nobody_else_sees_or_pauses(site: Site, role: Role) -> None:
    watch(site)
    client = site.signed_in("alpha", role)
    values = {"product": KEY.product, "site": "", "reason": "x"}
    assert client.get("/models/health").status_code == 403
    assert client.post("/models/health/pause", data=values).status_code == 403
    assert client.post("/models/health/resume", data=values).status_code == 403


def test_another_tenant_pauses_nothing_here(site: Site) -> None:
    watch(site)
    client = site.signed_in("beta")
    values = {"product": KEY.product, "site": "north", "reason": "x"}
    assert client.post("/models/health/pause", data=values).status_code == 404
    with site.database.transaction("alpha") as conn:
        model_pause.pause(conn, "alpha", KEY.product, "north", reason="x", by="anna", now=datetime.now(UTC))
    assert client.post("/models/health/resume", data=values).status_code == 409
    with site.database.transaction("alpha") as conn:
        assert model_pause.paused_products(conn, "alpha", "north")


def test_metrics_tell_figures_alarms_and_pauses(site: Site) -> None:
    watch(site)
    with site.database.transaction("alpha") as conn:
        model_pause.pause(
            conn, "alpha", KEY.product, "", reason="secret reason", by="anna", now=datetime.now(UTC)
        )
    text = site.client().get("/metrics").text
    labels = 'product="lung_nodule_ct",site="north",tenant="alpha",version="0.2.0"'
    assert f'radmeter_model_psi{{of="kernel",{labels}}}' in text
    assert f'radmeter_model_latency_p95_s{{of="infer",{labels}}}' in text
    assert f'radmeter_model_alarm{{of="input_drift:kernel",{labels}}} 1.0' in text
    assert (
        'radmeter_model_paused{of="",product="lung_nodule_ct",site="",tenant="alpha",version=""} 1.0' in text
    )
    assert "B80s" not in text
    assert "secret reason" not in text


@pytest.mark.browser
@pytest.mark.parametrize(
    ("tenant", "scheme", "width"), [("alpha", "light", 1280), ("beta", "dark", 1280), ("alpha", "dark", 390)]
)
def test_the_page_is_read_in_both_schemes_languages_and_on_a_telephone(
    site: Site, watched: Watched, tenant: str, scheme: Literal["light", "dark"], width: int
) -> None:
    watch(site, tenant)
    now = datetime.now(UTC)
    with site.database.transaction(tenant) as conn:
        model_pause.pause(conn, tenant, KEY.product, "south", reason="too many failures", by="anna", now=now)
    site.add_user(tenant, "olga", Role.OPERATOR)
    page = watched.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{watched.url}/sign-in")
    page.locator("input[name=name]").fill("olga")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.goto(f"{watched.url}/models/health")
    for image in page.locator(".drawn img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("one => one.naturalWidth") > 0
    page.evaluate("scrollTo(0, 0)")
    watched.screenshot(f"model-health-{tenant}-{scheme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert watched.errors == []
    assert watched.strangers() == []
