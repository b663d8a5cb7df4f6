"""`radmeter query` and `radmeter fetch`: what an archive has, and a study of it into this server."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Column, Table

from dicom_gateway.archive_match import Level, QueryAnswer, QueryLimits
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.retrieved_instances import RetrieveOutcome
from pipeline import prior_studies
from pipeline.archives import Archive, archive_of
from pipeline.database import Database
from pipeline.fetch_prior import retrieve
from pipeline.queue import deferring_app
from pipeline.receive import DatabaseSink
from server import places
from server.errors import CommandFailed
from server.send import parse_address
from server.settings import Settings

_COLUMNS: dict[Level, tuple[tuple[str, str], ...]] = {
    "STUDY": (
        ("study", "StudyInstanceUID"),
        ("date", "StudyDate"),
        ("patient", "PatientID"),
        ("name", "PatientName"),
        ("modality", "ModalitiesInStudy"),
        ("description", "StudyDescription"),
        ("images", "NumberOfStudyRelatedInstances"),
    ),
    "SERIES": (
        ("series", "SeriesInstanceUID"),
        ("number", "SeriesNumber"),
        ("modality", "Modality"),
        ("body part", "BodyPartExamined"),
        ("description", "SeriesDescription"),
        ("images", "NumberOfSeriesRelatedInstances"),
    ),
    "IMAGE": (("instance", "SOPInstanceUID"), ("number", "InstanceNumber"), ("SOP class", "SOPClassUID")),
}
_FETCH_S = 1800.0


def archive_at_address(text: str, calling_ae_title: str) -> Archive:
    """`AE@host:port`, or the address of a DICOMweb server."""
    if text.startswith(("http://", "https://")):
        return Archive("", DicomWebServer(text))
    return Archive("", parse_address(text, calling_ae_title))


def archive_of_peer(database: Database, tenant: str, peer: str) -> Archive:
    with database.transaction(tenant) as conn:
        archive = archive_of(conn, tenant, peer, database.masters, database.secrets)
    if archive is None:
        raise CommandFailed(f"no archive is set for a peer {peer}: see `radmeter peer add --help`")
    return archive


def query(archive: Archive, keys: Mapping[str, str], matches_max: int) -> bool:
    """Ask and print a table: studies, the series of a study, or the instances of a series. False without an answer."""
    level: Level = "STUDY"
    if keys.get("StudyInstanceUID"):
        level = "IMAGE" if keys.get("SeriesInstanceUID") else "SERIES"
    wanted = {keyword: value for keyword, value in keys.items() if value}
    answer = archive.search(level, wanted, QueryLimits(matches_max=matches_max))
    _print(level, answer)
    return answer.error is None


def _print(level: Level, answer: QueryAnswer) -> None:
    first, *others = (heading for heading, _ in _COLUMNS[level])
    table = Table(Column(first, no_wrap=True), *others)  # UIDs are there to be copied
    for match in answer.matches:
        table.add_row(*(_plain(match.get(keyword)) for _, keyword in _COLUMNS[level]))
    console = Console()
    if answer.matches:
        console.print(table)
    console.print(f"{len(answer.matches)} matches", highlight=False)
    if answer.unusable:
        console.print(f"{answer.unusable} could not be read", highlight=False)
    if answer.error is not None:
        Console(stderr=True).print(f"radmeter: {answer.error}", markup=False, highlight=False)


def _plain(text: str) -> str:
    """No control characters of an archive reach the terminal, and no markup."""
    return "".join(one if one.isprintable() else "?" for one in text).replace("[", "\\[")


def fetch(
    settings: Settings, tenant: str, peer: str, study_uid: str, images_max: int, *, as_prior: bool
) -> RetrieveOutcome:
    """Bring a study of a peer's archive in, as if the peer had sent it, or as a prior that is only kept."""
    database = places.database(settings, pool_size_max=2)
    queue = deferring_app(settings.database_url)
    try:
        archive = archive_of_peer(database, tenant, peer)
        if as_prior:
            with database.transaction(tenant) as conn:
                prior_studies.expect(conn, tenant, study_uid, _FETCH_S)
        instances = places.folders(settings).instance_store()
        outcome = retrieve(archive, instances, DatabaseSink(database, queue), tenant, study_uid, images_max)
        if as_prior:
            with database.transaction(tenant) as conn:
                prior_studies.expect_no_more(conn, tenant, study_uid)
        return outcome
    finally:
        queue.close()
        database.close()
