"""OHIF shows a real CT, its segmentation and its structured report from our own DICOMweb: pixels, words, pictures."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from portal.context import Role
from portal.viewer_link import viewer_url
from server.demo.phantom import phantom_study
from server.viewer_install import install_viewer
from tests.portal.browser_checks import CHROMIUM, CHROMIUM_ARGUMENTS, SCREENSHOTS, Watched, sign_in, watch
from tests.portal.dicomweb_archive import encoded
from tests.portal.live_portal import LivePortal, live_portal
from tests.portal.portal_site import Site
from tests.portal.viewer_case import ViewerCase, slices_around_the_nodule, store_case, viewer_package

pytestmark = pytest.mark.browser
SLICES = 550
# The viewer draws by WebGL; without a graphics card in software.
WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def portal(shared_site: Site, pytestconfig: pytest.Config) -> Iterator[LivePortal]:
    """A portal with the viewer."""
    cache = pytestconfig.rootpath / ".pytest_cache/viewer"
    install_viewer(shared_site.context.viewer_root, viewer_package(cache))
    with live_portal(shared_site) as made:
        yield made


@pytest.fixture(scope="module")
def case(portal: LivePortal, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ViewerCase:
    paths = slices_around_the_nodule(shared_data / "ct_chest_lidc0314_1mm/dicom")
    return store_case(portal, paths, tmp_path_factory.mktemp("volume"))


@pytest.fixture(scope="module")
def reader(
    chromium: tuple[Browser, asyncio.AbstractEventLoop], portal: LivePortal, case: ViewerCase
) -> Iterator[Watched]:
    """A radiologist who has signed in and has read that the viewer is for investigational use, which it says once."""
    browser, loop = chromium
    asyncio._set_running_loop(loop)
    arguments = [one for one in CHROMIUM_ARGUMENTS if one != "--disable-gpu"]
    drawing = browser.browser_type.launch(executable_path=CHROMIUM, args=[*arguments, *WEBGL])
    watched = watch(drawing, portal.url)
    sign_in(watched, portal.site, Role.RADIOLOGIST)
    open_viewer(portal, watched, case, case.series)
    watched.page.get_by_text("Confirm and hide").click()
    yield watched
    drawing.close()
    asyncio._set_running_loop(None)


def open_viewer(portal: LivePortal, watched: Watched, case: ViewerCase, series: str, sop: str = "") -> None:
    address = viewer_url(portal.site.context, case.study, series, sop or None)
    assert address is not None
    watched.requests.clear()
    watched.goto(address)


def viewport(watched: Watched, name: str, until: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The pixels in the middle of the viewport, (row, column, colour), once `until` holds; a picture is kept."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for _ in range(240):
        watched.page.wait_for_timeout(250)
        canvas = watched.page.locator(".viewport-element canvas").first
        box = canvas.bounding_box() if canvas.count() else None
        if box is not None:
            # Words and buttons stand at its edges.
            clip = {
                "x": box["x"] + 130,
                "y": box["y"] + 60,
                "width": box["width"] - 260,
                "height": box["height"] - 160,
            }
            png = watched.page.screenshot(clip=clip)  # type: ignore[arg-type]
            pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
            if until(pixels):
                watched.page.screenshot(path=SCREENSHOTS / f"{name}.png")
                return pixels
    watched.page.screenshot(path=SCREENSHOTS / f"{name}.png")
    raise AssertionError(f"{name}: what is to be seen has not come; {watched.errors[-5:]}")


def is_ct(pixels: np.ndarray) -> bool:
    """Many shades of grey, lung and tissue among them."""
    grey = pixels.mean(axis=2)
    return len(np.unique(grey.round())) > 60 and 0.05 < (grey > 90).mean() < 0.9


RED, GREEN = 0, 1


def painted(pixels: np.ndarray, channel: int) -> np.ndarray:
    """(n, 2): rows and columns of this colour; the viewer's own messages are blue."""
    others = np.delete(pixels, channel, axis=2).max(axis=2)
    return np.argwhere(pixels[:, :, channel] - others > 60)


def test_ct_segmentation_and_report_are_seen_where_the_nodule_is(
    portal: LivePortal, case: ViewerCase, reader: Watched
) -> None:
    open_viewer(portal, reader, case, case.series, case.sop)
    plain = viewport(reader, "viewer-ct", is_ct)
    assert len(painted(plain, RED)) == len(painted(plain, GREEN)) == 0
    frames = [url for url in reader.requests if "/frames/" in url]
    assert len(frames) >= 1
    expect(reader.page.get_by_text("lung_nodule_ct").first).to_be_visible()

    open_viewer(portal, reader, case, case.results["SEG"])
    segmented = viewport(reader, "viewer-seg", lambda pixels: is_ct(pixels) and len(painted(pixels, RED)) > 9)

    open_viewer(portal, reader, case, case.results["SR"])
    reported = viewport(
        reader, "viewer-sr", lambda pixels: is_ct(pixels) and len(painted(pixels, GREEN)) > 50
    )
    words = reader.page.locator(".viewport-element svg").all_text_contents()
    assert "Long axis: 15.50 mm" in " ".join(words)
    # The outline of the report goes around what is segmented; its words stand beside it.
    inside = painted(segmented, RED).mean(axis=0)
    assert np.linalg.norm(painted(reported, GREEN) - inside, axis=1).min() < 40

    assert reader.errors == []
    assert reader.strangers() == []


def test_every_compression_that_the_store_takes_is_decoded_in_the_browser(
    portal: LivePortal, shared_data: Path, reader: Watched
) -> None:
    """The browser asks for frames as they are stored; JPEG-LS is that of the real case."""
    for name in ("CT1_J2KR", "CT1_JPLL", "CT1_RLE"):
        source = pydicom.dcmread(shared_data / "ts_ct" / name)
        number = zlib.crc32(name.encode())
        source.StudyInstanceUID, source.SeriesInstanceUID = f"2.25.{number}", f"2.25.{number}.1"
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = f"2.25.{number}.1.1"
        assert portal.stow([encoded(source)]).status_code == 200
        case = ViewerCase(source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID, {})
        open_viewer(portal, reader, case, case.series)
        viewport(reader, f"viewer-{name}", is_ct)
    assert reader.errors == []


@pytest.mark.soak
def test_a_study_of_over_500_slices_is_loaded_to_its_end(
    portal: LivePortal,
    shared_data: Path,
    reader: Watched,
) -> None:
    paths = sorted((shared_data / "ct_chest_lidc0314_1mm/dicom").glob("*.dcm"))
    slices = []
    for number in range(SLICES):
        source = pydicom.dcmread(paths[number % len(paths)])
        source.StudyInstanceUID, source.SeriesInstanceUID = "2.25.77", "2.25.77.1"
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = f"2.25.77.1.{number + 1}"
        source.InstanceNumber = number + 1
        column, row, _ = source.ImagePositionPatient
        source.ImagePositionPatient = [column, row, float(number)]
        slices.append(encoded(source))
    assert portal.stow(slices).status_code == 200
    large = ViewerCase("2.25.77", "2.25.77.1", "", {})
    open_viewer(portal, reader, large, large.series)
    viewport(reader, "viewer-550-slices", is_ct)
    reader.page.wait_for_timeout(60_000)
    frames = {url for url in reader.requests if "/frames/" in url}
    assert len(frames) >= 500, len(frames)
    open_viewer(portal, reader, large, large.series, f"2.25.77.1.{SLICES}")
    viewport(reader, "viewer-550-slices-last", is_ct)
    assert reader.errors == []


@pytest.mark.soak
def test_a_synthetic_chest_with_its_report_is_shown(
    portal: LivePortal,
    tmp_path: Path,
    reader: Watched,
) -> None:
    folder, truth = phantom_study(tmp_path)
    nodule = max(truth, key=lambda one: one.diameter_mm)
    synthetic = store_case(
        portal, sorted(folder.glob("*.dcm")), tmp_path / "volume", nodule.center_lps_mm, nodule.diameter_mm
    )
    open_viewer(portal, reader, synthetic, synthetic.results["SEG"])
    viewport(reader, "viewer-phantom-seg", lambda pixels: is_ct(pixels) and len(painted(pixels, RED)) > 9)
    open_viewer(portal, reader, synthetic, synthetic.results["SR"])
    viewport(reader, "viewer-phantom", lambda pixels: is_ct(pixels) and len(painted(pixels, GREEN)) > 50)
