"""What DICOMweb does not answer, or not again: mistakes, other tenants, what is known already, what is gone."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.portal.dicomweb_archive import JLS, Archive

ANY_SYNTAX = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "accept", "status"),
        [
            ("/studies?Nonsense=1", "", 400),
            ("/studies?limit=-1", "", 400),
            ("/studies?includefield=" + "A" * 2000, "", 400),
            ("/studies?" + "&".join(f"PatientID={n}" for n in range(70)), "", 400),
            ("/studies?PatientID=%00", "", 400),
            ("/studies", "image/png", 406),
            ("/studies/1.2.3'--/series", "", 400),
            ("/studies/" + "1." * 40 + "1/metadata", "", 400),
            ("/studies/..%2f..%2fetc", "", 404),
            ("/studies/1.2.3.4.5/metadata", "", 404),
            ("{}/frames/0", "", 404),
            ("{}/frames/2", "", 404),
            ("{}/frames/1,a", "", 400),
            ("{}/frames/" + ",".join(["1"] * 3000), "", 400),
            ("{}/frames/1", "image/png", 406),
            ("{}/frames/1", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.90", 406),
            ("{}/frames/1", ",".join(["a/b"] * 3000), 406),
            ("{}/frames/1", 'multipart/related; type="', 406),
            ("{}/rendered?window=1", "", 400),
            ("{}/rendered?window=nan,1", "", 400),
            ("{}/rendered?viewport=99999,1", "", 400),
            ("{}/rendered", "video/mp4", 406),
            ("{}/bulkdata/..%2f..%2fx", "", 400),
            ("{}/bulkdata/00080018", "", 404),
        ],
    )
    def test_what_is_not_understood_has_its_status_and_a_sentence(
        self, archive: Archive, path: str, accept: str, status: int
    ) -> None:
        answer = archive.get(path.format(archive.address(JLS)), accept=accept or "*/*")
        assert answer.status_code == status, answer.text
        assert len(answer.json()["error"]["message"]) > 10

    def test_an_object_without_pixels_has_no_frames(self, archive: Archive) -> None:
        for end in ("/frames/1", "/rendered", "/thumbnail"):
            answer = archive.get(archive.address("sr/test-SR.dcm") + end)
            assert (answer.status_code, "no pixels" in answer.text) == (404, True)

    def test_another_tenant_finds_nothing_and_gets_nothing(self, archive: Archive) -> None:
        assert archive.client("beta").search_for_studies() == []
        assert archive.client("beta").search_for_series() == []
        one = archive.address(JLS)
        study, series = one.split("/series/")[0], one.split("/instances/")[0]
        for path in (
            study, f"{study}/metadata", f"{study}/series", f"{study}/instances", f"{study}/thumbnail",
            series, f"{series}/metadata", f"{series}/instances", f"{series}/thumbnail",
            one, f"{one}/metadata", f"{one}/frames/1", f"{one}/rendered", f"{one}/thumbnail",
            f"{one}/frames/1/rendered", f"{one}/frames/1/thumbnail", f"{one}/bulkdata/7FE00010",
        ):  # fmt: skip
            assert archive.get(path).status_code == 200, path
            assert archive.get(path, "beta").status_code == 404, path

    def test_who_has_not_signed_in_and_a_key_that_stores_read_nothing(self, archive: Archive) -> None:
        url = f"{archive.portal.url}/dicom-web/studies"
        assert httpx.get(url).status_code == 401
        storing = {"authorization": f"Bearer {archive.portal.key}"}
        assert httpx.get(url, headers=storing).status_code == 403


def test_what_has_not_changed_is_not_sent_again(archive: Archive) -> None:
    one = archive.address(JLS)
    for path in (one, f"{one}/metadata", f"{one}/frames/1", f"{one}/rendered"):
        first = archive.get(path)
        again = archive.get(path, if_none_match=f'"other", {first.headers["etag"]}')
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["etag"] == first.headers["etag"]
        other = archive.get(path, if_none_match='"other"')
        assert other.status_code == 200
    stored = archive.get(f"{one}/frames/1", accept=ANY_SYNTAX)
    assert stored.headers["etag"] != archive.get(f"{one}/frames/1").headers["etag"]


def test_head_and_options_tell_without_a_body(archive: Archive) -> None:
    headers = {"authorization": f"Bearer {archive.keys['alpha']}"}
    url = f"{archive.portal.url}/dicom-web{archive.address(JLS)}"
    for path in ("", "/metadata", "/frames/1", "/rendered"):
        answer = httpx.head(url + path, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
        assert "etag" in answer.headers
    assert "HEAD" in httpx.options(url).headers["allow"]
    assert httpx.options(url + "/nothing").status_code == 404


def test_a_file_that_is_gone_is_said_to_be_gone(archive: Archive) -> None:
    name = "basic/CT_small.dcm"
    row = archive.portal.site.owner.execute(
        "SELECT location FROM instance WHERE sop_instance_uid = %s", (archive.ids(name)[2],)
    ).fetchone()
    assert row is not None
    path = archive.portal.root / row["location"]
    shutil.move(path, path.with_suffix(".away"))
    assert archive.get(archive.address(name)).status_code == 410
    shutil.move(path.with_suffix(".away"), path)
    assert archive.get(archive.address(name)).status_code == 200


def test_too_many_at_a_time_are_told_to_come_back_and_pages_go_on(archive: Archive) -> None:
    def draw(number: int) -> httpx.Response:
        return archive.get(f"{archive.address(JLS)}/rendered?window={number + 1},1000", accept="image/png")

    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(draw, range(60)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert sum(answer.status_code == 200 for answer in answers) >= 15
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
    assert draw(1).status_code == 200
