"""The viewer's files and page: who gets them, under which policy, and what is not installed."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest

from portal.context import Role
from server.errors import CommandFailed
from server.viewer_install import install_viewer
from tests.portal.owned import fill
from tests.portal.portal_site import PASSWORD, Site

VIEWER = "/ohif/viewer?StudyInstanceUIDs=1.2&initialSeriesInstanceUID=1.3"


@pytest.fixture
def installed(site: Site) -> Site:
    root = site.context.viewer_root
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<html>viewer</html>")
    (root / "app.0123456789abcdef.js").write_text("1")
    (root / "app.0123456789abcdef.js.gz").write_bytes(gzip.compress(b"1"))
    (root / "assets/icon.png").write_bytes(b"png")
    return site


def test_without_the_viewer_the_page_says_how_to_get_it(site: Site) -> None:
    answer = site.signed_in("alpha").get(VIEWER)
    assert (answer.status_code, "radmeter viewer install" in answer.text) == (404, True)
    assert site.client().get("/ohif/app-config.js").status_code == 404


def test_only_who_sees_images_opens_it_and_comes_back_after_signing_in(installed: Site) -> None:
    assert installed.signed_in("alpha", Role.RADIOLOGIST).get(VIEWER).status_code == 200
    assert installed.signed_in("alpha", Role.FINANCE).get(VIEWER).status_code == 403
    assert installed.signed_in("alpha", Role.REFERRER).get(VIEWER).status_code == 403
    stranger = installed.client()
    sent = stranger.get(VIEWER)
    assert sent.status_code == 303
    assert "StudyInstanceUIDs%3D1.2%26initialSeriesInstanceUID%3D1.3" in sent.headers["location"]
    installed.add_user("alpha", "anna", Role.RADIOLOGIST)
    back = stranger.post("/sign-in", data={"name": "anna", "password": PASSWORD, "next": VIEWER})
    assert back.headers["location"] == VIEWER


def test_the_page_of_a_study_leads_to_its_images(installed: Site) -> None:
    study = installed.add_study("alpha", study_instance_uid="1.2.3")
    page = installed.signed_in("alpha").get(f"/studies/{study}").text
    assert 'href="/ohif/viewer?StudyInstanceUIDs=1.2.3"' in page


def test_generated_code_is_allowed_here_and_nowhere_else(installed: Site) -> None:
    client = installed.signed_in("alpha")
    assert "'unsafe-eval'" in client.get(VIEWER).headers["content-security-policy"]
    for path in ("/", "/dicom-web/studies", "/ohif/nothing.js", "/static/style.css"):
        assert "unsafe" not in client.get(path).headers["content-security-policy"], path


def test_files_are_packed_and_kept_by_their_names(installed: Site) -> None:
    client = installed.client()
    packed = client.get("/ohif/app.0123456789abcdef.js")
    assert (packed.text, packed.headers["content-encoding"]) == ("1", "gzip")
    assert "immutable" in packed.headers["cache-control"]
    plain = client.get("/ohif/app.0123456789abcdef.js", headers={"accept-encoding": "identity"})
    assert (plain.text, "content-encoding" in plain.headers) == ("1", False)
    assert client.get("/ohif/assets/icon.png").headers["content-type"] == "image/png"
    assert "/dicom-web" in client.get("/ohif/app-config.js").text


@pytest.mark.parametrize(
    "path",
    [
        "index.html",
        "..%2f..%2fsecrets",
        "assets/../../x.js",
        "a%00b.js",
        "app.js%0a",
        "x" * 5000 + ".js",
        ".",
    ],
)
def test_nothing_else_is_given_out(installed: Site, path: str) -> None:
    (installed.context.data_root / "x.js").write_text("secret")
    assert installed.client().get(f"/ohif/{path}").status_code in {303, 307, 404}


def test_a_package_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.tgz"
    with tarfile.open(other, "w:gz"):
        pass
    folder = tmp_path / "data/viewer"
    with pytest.raises(CommandFailed, match="SHA-512"):
        install_viewer(folder, other)
    with pytest.raises(CommandFailed, match="cannot be read"):
        install_viewer(folder, tmp_path / "nothing.tgz")
    assert list(folder.parent.iterdir()) == []


def test_a_referrer_who_sees_no_images_is_not_led_to_them(installed: Site) -> None:
    own = fill(installed, "alpha")
    address = f"/reports/{own.study_id}"
    assert "/ohif/" in installed.signed_in("alpha", Role.RADIOLOGIST).get(address).text
    assert "/ohif/" not in installed.signed_in("alpha", Role.REFERRER).get(address).text
