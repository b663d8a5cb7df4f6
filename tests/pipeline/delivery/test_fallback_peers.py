"""Real archives and the whole set: one that takes everything, and DCMTK's, which takes only some SOP classes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pydicom
import pytest

from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.encode_text_sr import encode_text_sr
from pipeline.destinations import OBJECT_KINDS, STAND_INS
from tests.archive_peers import orthanc, wait_for_port
from tests.dicom_validators import errors_in, output_of
from tests.pipeline.delivery.conftest import PDF, Post
from tests.pipeline.delivery.test_fallbacks import SC, replaced
from tests.pipeline.test_check_results import encoded
from tests.ports import free_port
from tests.result_builders import synthetic_result

pytestmark = pytest.mark.peer

CT = "1.2.840.10008.5.1.4.1.1.2"
SR2D, TEXT = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.11"


@pytest.fixture
def whole(post: Post) -> Post:
    """The objects of the study are a whole set as it is encoded."""
    post.clinic.owner.execute("DELETE FROM result_object")
    folder = post.clinic.services.folders.results
    context = synthetic_result()
    made = encoded(context)
    made |= {"SR2D": encode_sr(context, "SR2D"), "TEXT": encode_text_sr(context, made["SR"])}
    for kind, dataset in made.items():
        dataset.save_as(folder / f"{kind}.dcm", enforce_file_format=True)
        post.clinic.add_result_object(
            post.study, str(dataset.SOPInstanceUID), is_delivered=False, kind=kind, location=f"{kind}.dcm"
        )
    return post


@contextmanager
def storescp(folder: Path, sop_classes: Sequence[str]) -> Iterator[int]:
    """DCMTK's storage provider, which accepts presentation contexts of these SOP classes only."""
    contexts = "\n".join(
        f"PresentationContext{number} = {sop_class}\\Plain" for number, sop_class in enumerate(sop_classes, 1)
    )
    path, port = folder / "profile.cfg", free_port()
    path.write_text(
        "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1 = LittleEndianExplicit\n"
        f"TransferSyntax2 = LittleEndianImplicit\n[[PresentationContexts]]\n[Some]\n{contexts}\n"
        "[[Profiles]]\n[Default]\nPresentationContexts = Some\n"
    )
    command = ["storescp", "-xf", str(path), "Default", "-od", str(folder), "-aet", "PACS", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def deliver(post: Post, runs: int = 12) -> None:
    post.route_to("pacs")
    post.start()
    for _ in range(runs):
        post.run("pacs")


def kept(folder: Path) -> set[str]:
    return {
        str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID)
        for path in folder.iterdir()
        if path.suffix != ".cfg"
    }


@pytest.mark.parametrize(
    ("takes", "stands_in"), [((CT, SC), "SC"), ((CT, PDF), "PDF"), ((CT, SC, PDF), "SC")], ids=str
)
def test_an_archive_without_sr_has_the_result_in_the_next_best_form(
    whole: Post, tmp_path: Path, takes: tuple[str, ...], stands_in: str
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    with storescp(folder, takes) as port:
        whole.add("pacs", port, object_kinds=("SR", "SEG", "PM", "KEYS"), fallbacks=("GSPS", "SC", "PDF"))
        deliver(whole)
    assert whole.row().status == "delivered"
    refused = ["SR", "SEG", "PM", "KEYS", "GSPS", *(["SC"] if stands_in == "PDF" else [])]
    assert replaced(whole) == dict.fromkeys(refused, stands_in)
    assert kept(folder) == {SC if stands_in == "SC" else PDF}
    assert whole.usage() == [("result_delivered", "first_delivery")]


@pytest.mark.parametrize(("takes", "stands_in"), [(SR2D, "SR2D"), (TEXT, "TEXT")], ids=["2D", "text"])
def test_an_archive_that_knows_an_older_report_has_that(
    whole: Post, tmp_path: Path, takes: str, stands_in: str
) -> None:
    """It is booked as what it is."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with storescp(folder, (CT, takes, SC)) as port:
        whole.add("pacs", port, fallbacks=STAND_INS)
        deliver(whole)
    assert whole.row().status == "delivered"
    assert whole.states()["pacs", stands_in] == "acknowledged"
    assert set(replaced(whole).values()) == {stands_in}
    assert {"SR", "SEG", "PDF"} <= replaced(whole).keys()
    assert kept(folder) == {takes}
    (path,) = (path for path in folder.iterdir() if path.suffix != ".cfg")
    iod = {"SR2D": "ComprehensiveSR", "TEXT": "BasicTextSR"}[stands_in]
    output = output_of("dciodvfy", path)
    assert iod in output
    assert errors_in(output) == []
    assert whole.usage() == [("result_delivered", "first_delivery")]


def test_an_archive_that_takes_nothing_of_a_result_is_a_visible_failure(whole: Post, tmp_path: Path) -> None:
    with storescp(tmp_path, (CT,)) as port:
        whole.add("pacs", port, fallbacks=("GSPS", "SC", "PDF"))
        deliver(whole)
    failed = whole.row()
    assert (failed.status, failed.reason_code) == ("failed", "DELIVERY_REFUSED")
    assert whole.usage() == [("failed", "failed")]


@pytest.mark.parametrize("protocol", ["dimse", "stow"])
def test_an_archive_that_takes_everything_is_sent_no_fall_back(
    whole: Post, tmp_path: Path, protocol: str
) -> None:
    with orthanc(tmp_path) as archive:
        where = {"ae_title": archive.ae_title} if protocol == "dimse" else {
            "kind": "stow", "url": archive.url, "allow_plain_http": True, "ae_title": None, "host": None,
        }  # fmt: skip
        whole.add(
            "pacs", archive.port if protocol == "dimse" else None, object_kinds=OBJECT_KINDS[:5],
            fallbacks=STAND_INS[:4], **where,
        )  # fmt: skip
        deliver(whole, runs=2)
        count = httpx.get(f"http://127.0.0.1:{archive.http_port}/statistics").json()["CountInstances"]
    states = whole.states()
    assert states == {("pacs", kind): "acknowledged" for kind in OBJECT_KINDS[:5]} | {
        (None, kind): None for kind in STAND_INS[:4]
    }
    assert count == 5
    assert whole.row().status == "delivered"
