"""A rule starts with a series that is whole while the PACS still sends another one: one report, one charge."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pydicom

from tests.acceptance.conftest import MakeStudy
from tests.acceptance.test_completeness import dcmsend
from tests.acceptance.test_study_to_statement import command, pacs, usage
from tests.conftest import ROOT
from tests.server_process import RunningServer

__all__ = ["pacs"]  # a fixture

RULES = """rules:
  - name: chest CT
    series: SeriesNumber == 1
    models: [lung_nodule_ct]
    start: series
"""


def second_series(files: tuple[Path, ...], folder: Path) -> list[Path]:
    """As many images of the same study that no model reads."""
    folder.mkdir()
    paths = []
    for number, source in enumerate(files):
        dataset = pydicom.dcmread(source)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "2.25.4711", 2
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.4711{number:03d}"
        dataset.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
        paths.append(folder / f"{number}.dcm")
        dataset.save_as(paths[-1])
    return paths


def test_a_study_is_delivered_while_its_second_series_still_arrives_and_charged_once(
    start_server: Callable[..., RunningServer], make_study: MakeStudy, pacs: tuple[int, Path], tmp_path: Path
) -> None:
    server = start_server()
    server.add_peer("PACS", pacs[0], quiet_time_s=6.0)
    command(server, "contract", "add", ROOT / "examples/contract_per_case.yaml")
    (tmp_path / "rules.yaml").write_text(RULES)
    command(server, "route", "add", tmp_path / "rules.yaml")
    command(server, "route", "activate", "1")
    study = make_study("early")
    rest = second_series(study.files, tmp_path / "rest")

    dcmsend(server, list(study.files))
    # All but the last one, and again, for as long as it takes.
    going_on = itertools.cycle(rest[:-1])

    def is_delivered_while_the_rest_arrives() -> bool:
        dcmsend(server, [next(going_on)])
        return bool(server.study(study.study_instance_uid)["status"] == "delivered")

    server.wait(is_delivered_while_the_rest_arrives, 120, "delivered early")
    early = server.study(study.study_instance_uid)
    assert (early["revision"], early["started_with"] is None) == (1, False)
    assert server.rows("SELECT count(*) AS n FROM arrival WHERE closed_at IS NULL") == [{"n": 1}]
    with server.signed_in() as client:
        assert "started with series 1; 1 series still arriving" in client.get(f"/studies/{early['id']}").text
        dcmsend(server, rest)
        server.wait(lambda: server.study(study.study_instance_uid)["revision"] == 2, 60, "the rest is seen")
        last = server.wait_for_end(study.study_instance_uid)
        assert (last["status"], last["revision"], last["started_with"]) == ("delivered", 2, None)
        assert usage(client, last["id"]) == [("result_delivered", "billable", "first_delivery")]
    assert server.rows("SELECT outcome, new_count FROM arrival") == [
        {"outcome": "assembled", "new_count": 2 * len(study.files)}
    ]
    assert server.rows("SELECT count(*) AS n FROM result") == [{"n": 1}]
