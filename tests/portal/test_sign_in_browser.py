"""Signing in, own account, people, keys and shared reports in a browser, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator

import oidc_provider_mock
import pyotp
import pytest
from playwright.sync_api import Browser

from portal.context import Role
from portal.openid_store import ProviderSettings, save_provider
from tests.portal.browser_checks import Watched, check_page, sign_in, stands_everything, watch
from tests.portal.live_portal import live_portal
from tests.portal.owned import fill
from tests.portal.portal_site import PASSWORD, Site


@pytest.fixture
def without_script(browser: Browser, watched: Watched) -> Iterator[Watched]:
    """The same portal for a browser that runs no script."""
    page = watch(browser, watched.url, has_javascript=False)
    yield page
    page.page.context.close()


def enter(watched: Watched, name: str) -> None:
    watched.page.goto(f"{watched.url}/sign-in")
    watched.page.locator("#name").fill(name)
    watched.page.locator("#password").fill(PASSWORD)
    watched.page.locator("main button.primary").click()


def test_a_second_factor_is_set_up_and_asked_for_without_a_script(
    watched: Watched, without_script: Watched, site: Site
) -> None:
    name = sign_in(watched, site, Role.RADIOLOGIST)
    watched.goto("/account/second-factor")
    check_page(watched, "sign-in-enrolment")
    page = without_script.page
    enter(without_script, name)
    page.goto(f"{watched.url}/account/second-factor")
    secret = page.locator("input[name=secret]").get_attribute("value")
    assert secret
    page.locator("#code").fill(pyotp.TOTP(secret).now())
    page.locator("#password").fill(PASSWORD)
    page.locator("main button.primary").click()
    codes = page.locator("ul.codes code").all_inner_texts()
    assert len(codes) == 10
    page.screenshot(path="test-artifacts/portal/sign-in-recovery-codes.png")
    watched.page.goto(f"{watched.url}/")
    assert watched.page.url.startswith(f"{watched.url}/sign-in/second-factor"), (
        "the other session is asked at once"
    )
    check_page(watched, "sign-in-second-factor")
    watched.page.locator("#code").fill(codes[0])
    watched.page.locator("main button.primary").click()
    watched.page.wait_for_url(lambda url: "/sign-in" not in url)
    watched.goto("/account")
    check_page(watched, "sign-in-account")
    stands_everything(watched, "sign-in-account")
    watched.goto("/account/password")
    check_page(watched, "sign-in-password")


def test_people_and_keys_are_kept_on_pages(watched: Watched, site: Site) -> None:
    for name, role in (("王伟", Role.RADIOLOGIST), ("b.jones", Role.REFERRER)):
        site.add_user("alpha", name, role)
    site.owner.execute("UPDATE portal_user SET disabled_at = now() WHERE name = 'b.jones'")
    sign_in(watched, site, Role.ADMIN)
    watched.goto("/users")
    check_page(watched, "sign-in-users")
    stands_everything(watched, "sign-in-users")
    page = watched.page
    page.locator("#name").fill("c.wu")
    page.get_by_role("button", name="Add a user").click()
    assert page.locator("code.key").inner_text()
    watched.goto("/keys")
    page.locator("#label").fill("RIS")
    page.get_by_role("button", name="Make an API key").click()
    assert page.locator("code.key").inner_text().startswith("rm_")
    check_page(watched, "sign-in-keys")
    stands_everything(watched, "sign-in-keys")


def test_a_report_is_shared_with_somebody_without_an_account(
    watched: Watched, without_script: Watched, site: Site
) -> None:
    own = fill(site, "alpha")
    sign_in(watched, site, Role.RADIOLOGIST)
    watched.goto(f"/studies/{own.study_id}/links")
    page = watched.page
    page.locator("#label").fill("Dr Li")
    page.get_by_role("button", name="Make a link").click()
    link, pin = page.locator("code.key").all_inner_texts()
    check_page(watched, "sign-in-links")
    stands_everything(watched, "sign-in-links")
    reader = without_script.page
    reader.goto(link)
    reader.screenshot(path="test-artifacts/portal/sign-in-shared-ask.png")
    reader.locator("#pin").fill(pin)
    reader.locator("main button.primary").click()
    assert own.mark in reader.locator("article.report").inner_text()
    assert reader.locator("header.bar").count() == 0
    reader.screenshot(path="test-artifacts/portal/sign-in-shared-report.png", full_page=True)
    watched.page.context.clear_cookies()
    page.goto(link)
    check_page(watched, "sign-in-shared-ask")


def test_sign_in_by_a_provider_on_another_site_ends_signed_in(browser: Browser, site: Site) -> None:
    """The portal is 127.0.0.1, the provider localhost: to a browser two sites, and our cookie is for one alone."""
    user = oidc_provider_mock.User(sub="s-1", claims={"preferred_username": "王伟", "groups": ["doctors"]})
    with oidc_provider_mock.run_server_in_thread(user_claims=[user]) as provider, live_portal(site) as live:
        settings = ProviderSettings(
            issuer=f"http://localhost:{provider.server_port}", client_id="radmeter", public_url=live.url,
            label="Sign in at the hospital", secret_file="openid.txt", roles=(("doctors", "radiologist"),),
        )  # fmt: skip
        secrets = site.context.secrets_directory
        secrets.mkdir(exist_ok=True)
        (secrets / "openid.txt").write_text("the secret")
        save_provider(site.owner, "alpha", settings, by="test")
        for has_javascript in (True, False):
            watched = watch(browser, live.url, has_javascript=has_javascript)
            page = watched.page
            page.goto(f"{live.url}/models")
            if has_javascript:
                check_page(watched, "sign-in-provider")
            page.get_by_role("link", name="Sign in at the hospital").click()
            page.get_by_role("button", name="s-1").click()
            page.wait_for_url(f"{live.url}/models")
            assert page.locator(".who-user").inner_text() == "王伟"
            page.context.close()


def test_each_page_is_there_in_chinese(watched: Watched, site: Site) -> None:
    sign_in(watched, site, Role.ADMIN, "beta")
    for path, word in (
        ("/account", "我的账户"),
        ("/users", "用户"),
        ("/keys", "API 密钥"),
        ("/account/second-factor", "设置第二因素"),
        ("/account/password", "修改密码"),
    ):
        watched.goto(path)
        assert word in watched.page.locator("h1").inner_text()
        watched.page.screenshot(
            path=f"test-artifacts/portal/sign-in-zh{path.replace('/', '-')}.png", full_page=True
        )
