"""`radmeter query` and `radmeter fetch`: asking the archives of peers."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli import explained_errors
from server.cli_admin import TenantOption
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.serve import with_database
from server.settings import load_settings

PeerOption = Annotated[str, typer.Option(help="ask the archive that is set for this peer")]


def query(
    to: Annotated[str, typer.Argument(help="AE@host:port or https://…, unless --peer is given")] = "",
    peer: PeerOption = "",
    patient_id: Annotated[str, typer.Option(help="Patient ID")] = "",
    accession: Annotated[str, typer.Option(help="accession number")] = "",
    date: Annotated[str, typer.Option(help="study date, YYYYMMDD or a range with a hyphen")] = "",
    study_uid: Annotated[str, typer.Option(help="list the series of this study")] = "",
    series_uid: Annotated[str, typer.Option(help="list the instances of this series")] = "",
    calling: Annotated[str, typer.Option(help="our AE title, where no peer is named")] = "RADMETER",
    matches: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many")] = 500,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Ask an archive for studies, series or instances (C-FIND or QIDO-RS). Exit code 1 without a complete answer."""
    from server import places
    from server import query as work
    from study.identifiers import validate_uid

    with explained_errors():
        if bool(to) == bool(peer):
            raise CommandFailed("give either an address or --peer")
        if series_uid and not study_uid:
            raise CommandFailed("--series-uid needs --study-uid")
        keys = {
            "PatientID": patient_id,
            "AccessionNumber": accession,
            "StudyDate": date,
            "StudyInstanceUID": validate_uid(study_uid) if study_uid else "",
            "SeriesInstanceUID": validate_uid(series_uid) if series_uid else "",
        }
        if study_uid:
            keys = {keyword: keys[keyword] for keyword in ("StudyInstanceUID", "SeriesInstanceUID")}
        if to:
            archive = work.archive_at_address(to, calling)
        else:
            with with_database(load_settings()) as settings:
                database = places.database(settings, pool_size_max=1)
                try:
                    archive = work.archive_of_peer(database, tenant, peer)
                finally:
                    database.close()
        answered = work.query(archive, keys, matches)
    if not answered:
        raise typer.Exit(1)


def fetch(
    peer: PeerOption,
    study_uid: Annotated[str, typer.Option(help="Study Instance UID")],
    images: Annotated[int, typer.Option(min=1, max=100_000, help="at most so many")] = 5000,
    prior: Annotated[bool, typer.Option(help="keep it for comparison; not analysed, not billed")] = False,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Bring a study from a peer's archive into this server, as if the peer had sent it."""
    from server import query as work
    from study.identifiers import validate_uid

    with explained_errors(), with_database(load_settings()) as settings:
        outcome = work.fetch(settings, tenant, peer, validate_uid(study_uid), images, as_prior=prior)
    typer.echo(f"{outcome.completed} images fetched, {outcome.failed} not")
    if outcome.error is not None:
        typer.echo(f"radmeter: {outcome.error}", err=True)
        raise typer.Exit(1)
