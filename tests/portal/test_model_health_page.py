"""The page of the models' health: who sees it, what it shows and hides, pausing and resuming, and how it looks."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from pipeline import heartbeat, model_pause
from portal.context import Role
from tests.portal.health_seeds import KEY, watch_model
from tests.portal.portal_site import Site


def test_the_figures_stand_beside_their_reference_with_their_alarm(site: Site) -> None:
    watch_model(site)
    text = site.signed_in("alpha", Role.OPERATOR).get("/models/health").text
    assert "lung_nodule_ct 0.2.0 · north" in text
    assert "Drift of input (PSI)" in text
    assert "what comes in (kernel) has changed" in text
    assert text.count("chip bad") == 1
    assert "B80s &lt;new&gt;" in text
    assert "LUNGS_NOT_FOUND" in text
    assert "style=" not in text.split("<main", 1)[1]  # the policy allows no inline styles


def test_a_small_group_is_hidden_with_its_number(site: Site) -> None:
    watch_model(site)
    text = site.signed_in("alpha").get("/models/health").text
    row = text.split("under 18", 1)[1].split("</tr>", 1)[0]
    assert "too few to show" in row
    assert not any(character.isdigit() for character in row.split("colspan", 1)[1].replace('="3"', ""))


def test_nothing_counted_says_when_there_will_be_something(site: Site) -> None:
    assert "within an hour" in site.signed_in("alpha").get("/models/health").text
    assert site.signed_in("alpha").get("/models/health?product=unknown").status_code == 404


@pytest.mark.parametrize("kind", ["volume", "positives", "scores", "calibration"])
def test_plots_are_drawn_on_a_light_and_on_a_dark_ground(site: Site, kind: str) -> None:
    watch_model(site)
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
    watch_model(site)
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
    watch_model(site)
    client = site.signed_in("alpha", role)
    values = {"product": KEY.product, "site": "", "reason": "x"}
    assert client.get("/models/health").status_code == 403
    assert client.post("/models/health/pause", data=values).status_code == 403
    assert client.post("/models/health/resume", data=values).status_code == 403


def test_another_tenant_pauses_nothing_here(site: Site) -> None:
    watch_model(site)
    client = site.signed_in("beta")
    values = {"product": KEY.product, "site": "north", "reason": "x"}
    assert client.post("/models/health/pause", data=values).status_code == 404
    with site.database.transaction("alpha") as conn:
        model_pause.pause(conn, "alpha", KEY.product, "north", reason="x", by="anna", now=datetime.now(UTC))
    assert client.post("/models/health/resume", data=values).status_code == 409
    with site.database.transaction("alpha") as conn:
        assert model_pause.paused_products(conn, "alpha", "north")


def test_metrics_tell_figures_alarms_and_pauses(site: Site) -> None:
    watch_model(site)
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


def test_the_heartbeat_tells_an_operator_where_the_path_is_broken(site: Site) -> None:
    assert "Heartbeat" not in site.signed_in("alpha").get("/models/health").text
    heartbeat.install(site.owner, port=11112)
    with site.database.transaction(heartbeat.TENANT) as conn:
        beat = heartbeat.begin(conn, "2.25.7", every=timedelta(0))
        assert beat is not None
        heartbeat.end(conn, beat, heartbeat.Ending(stage="answer", problem="no nodule"))
    text = site.signed_in("alpha").get("/models/health").text
    assert "The last made-up study failed at answer: the model&#39;s answer is wrong" in text
    with site.database.transaction(heartbeat.TENANT) as conn:
        beat = heartbeat.begin(conn, "2.25.8", every=timedelta(0))
        assert beat is not None
        heartbeat.end(conn, beat, heartbeat.Ending(seconds=6.5))
    text = site.signed_in("alpha").get("/models/health").text
    assert "failed at" not in text
    assert "came through with the right answer" in text
    assert "6.5 s" in text
