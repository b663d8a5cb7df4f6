"""`radmeter destination|delivery`: where results go, and what did not get there."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer
from rich.table import Column, Table

from pipeline import deliveries, store
from pipeline.deliver_study import send_again
from pipeline.destinations import (
    AIR_KINDS,
    EVENTS,
    OBJECT_KINDS,
    STAND_INS,
    DestinationRecord,
    find_destination,
    get_destination,
    kinds_of,
    list_destinations,
    remove_destination,
    save_destination,
)
from pipeline.fallbacks import refused_kinds
from pipeline.queue import deferring_app
from pipeline.send_objects import Sender
from server import tables
from server.cli_admin import TenantOption, administration, who
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.settings import load_settings

destination_commands = typer.Typer(no_args_is_help=True)
delivery_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"destination": destination_commands, "delivery": delivery_commands}

_DEFAULT = DestinationRecord("", "")


@destination_commands.command("add")
def add(
    name: Annotated[str, typer.Argument(help="what routing rules and peers call it")],
    address: Annotated[
        str, typer.Argument(help="AE@host:port, https://… of a service, host:port for hl7, mail addresses")
    ],
    tenant: TenantOption = FIRST_TENANT,
    kind: Annotated[
        str | None, typer.Option(help="dimse, stow, fhir, hl7, webhook or email; else told by the address")
    ] = None,
    kinds: Annotated[str, typer.Option(help="objects that it takes, with commas")] = ",".join(AIR_KINDS),
    fallbacks: Annotated[str, typer.Option(help="sent in this order where it refuses the SR")] = ",".join(
        STAND_INS
    ),
    tls: Annotated[bool, typer.Option(help="DICOM over TLS")] = False,
    authority: Annotated[str | None, typer.Option(help="PEM file in secrets: whom we trust")] = None,
    certificate: Annotated[str | None, typer.Option(help="PEM file in secrets: ours, with its key")] = None,
    token: Annotated[
        str | None, typer.Option(help="file in secrets: bearer token, or a webhook's whsec_…")
    ] = None,
    plain_http: Annotated[bool, typer.Option(help="allow http:// without TLS")] = False,
    required: Annotated[bool, typer.Option(help="a study is delivered only when it is here")] = True,
    objects_per_s: Annotated[float | None, typer.Option(help="not more than these a second")] = None,
    associations: Annotated[int, typer.Option(help="open at a time")] = _DEFAULT.associations_max,
    timeout_s: Annotated[float, typer.Option(help="for each answer")] = _DEFAULT.response_timeout_s,
    attempts: Annotated[int, typer.Option(help="then a person is asked")] = _DEFAULT.attempts_max,
    pause_min_s: Annotated[float, typer.Option(help="after the first failure")] = _DEFAULT.back_off_min_s,
    pause_max_s: Annotated[float, typer.Option(help="it doubles up to this")] = _DEFAULT.back_off_max_s,
    give_up_after_s: Annotated[float, typer.Option(help="then too")] = _DEFAULT.give_up_after_s,
    confirmation: Annotated[str, typer.Option(help="none, query or commitment")] = "none",
    enabled: Annotated[bool, typer.Option(help="off: what is for it waits")] = True,
    events: Annotated[str, typer.Option(help="of what it is told, with commas")] = ",".join(EVENTS),
    private_hosts: Annotated[str, typer.Option(help="hosts that may have private addresses")] = "",
    with_accession: Annotated[bool, typer.Option(help="webhook, email: the accession number too")] = False,
    with_pdf: Annotated[bool, typer.Option(help="fhir, hl7: the report itself")] = False,
    patient_system: Annotated[str | None, typer.Option(help="whose the patient id is")] = None,
    accession_system: Annotated[str | None, typer.Option(help="whose the accession number is")] = None,
    receiving_application: Annotated[str | None, typer.Option(help="hl7: MSH-5")] = None,
    receiving_facility: Annotated[str | None, typer.Option(help="hl7: MSH-6")] = None,
    character_set: Annotated[str, typer.Option(help="hl7: MSH-18")] = _DEFAULT.character_set,
) -> None:
    """Add a destination, or change the one of this name."""
    record = DestinationRecord(
        tenant=tenant,
        name=name,
        allow_plain_http=plain_http,
        use_tls=tls,
        authority_file=authority,
        certificate_file=certificate,
        token_file=token,
        object_kinds=kinds_of(kinds),
        fallbacks=kinds_of(fallbacks),
        required=required,
        objects_per_s=objects_per_s,
        associations_max=associations,
        response_timeout_s=timeout_s,
        attempts_max=attempts,
        back_off_min_s=pause_min_s,
        back_off_max_s=pause_max_s,
        give_up_after_s=give_up_after_s,
        confirmation=confirmation,
        enabled=enabled,
        events=_listed(events),
        private_hosts=_listed(private_hosts),
        with_accession=with_accession,
        with_pdf=with_pdf,
        patient_system=patient_system,
        accession_system=accession_system,
        receiving_application=receiving_application,
        receiving_facility=receiving_facility,
        character_set=character_set,
    )
    with administration(tenant) as conn:
        save_destination(conn, _at(record, kind, address), changed_by=who())
    typer.echo(f"destination {name} saved")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


def _at(record: DestinationRecord, kind: str | None, address: str) -> DestinationRecord:
    from server.send import parse_address

    kind = kind or ("stow" if "://" in address else "dimse")
    if kind == "email":
        return dataclasses.replace(record, kind=kind, recipients=_listed(address))
    if kind == "hl7":
        host, _, port = address.rpartition(":")
        return dataclasses.replace(
            record, kind=kind, host=host, port=int(port) if port.isdecimal() and len(port) < 6 else None
        )
    if kind != "dimse":
        return dataclasses.replace(record, kind=kind, url=address)
    node = parse_address(address, "RADMETER")
    return dataclasses.replace(record, ae_title=node.called_ae_title, host=node.host, port=node.port)


@destination_commands.command("list")
def show_all(tenant: TenantOption = FIRST_TENANT) -> None:
    """Show the destinations of a tenant. Every peer is one too, with the defaults."""
    table = Table("name", "address", "takes", "required", "confirmation", "enabled")
    with administration(tenant) as conn:
        for one in list_destinations(conn, tenant):
            kinds = (
                "everything" if set(one.object_kinds) == set(OBJECT_KINDS) else ", ".join(one.object_kinds)
            )
            table.add_row(
                one.name, one.address, kinds, _yes(one.required), one.confirmation, _yes(one.enabled)
            )
    tables.show(
        table, "There is no destination: `radmeter destination add` makes one, and every peer is one too."
    )


@destination_commands.command("show")
def show(name: str, tenant: TenantOption = FIRST_TENANT) -> None:
    """Show everything about one destination. Of its secrets only the names of their files are known here."""
    with administration(tenant) as conn:
        record = get_destination(conn, tenant, name)
        if record is None:
            raise CommandFailed(f"no destination {name}")
    for field, value in dataclasses.asdict(record).items():
        typer.echo(f"{field}: {', '.join(value) if isinstance(value, tuple) else value}")


@destination_commands.command("remove")
def remove(name: str, tenant: TenantOption = FIRST_TENANT) -> None:
    """Remove a destination. What still waits for it is given up in its time."""
    with administration(tenant) as conn:
        if not remove_destination(conn, tenant, name, changed_by=who()):
            raise CommandFailed(f"no destination {name}")
    typer.echo(f"destination {name} removed")


@destination_commands.command("test")
def ask(name: str, tenant: TenantOption = FIRST_TENANT) -> None:
    """Ask a destination or peer whether it is there (C-ECHO, or a request without objects). Nothing is stored."""
    with administration(tenant) as conn:
        record = find_destination(conn, tenant, name)
        calling = store.get_tenant(conn, tenant)["called_ae_title"]
        if record is None:
            raise CommandFailed(f"no destination or peer {name}")
        from server.common_wiring import mail_server

        settings = load_settings()
        problem = Sender(calling, settings.secrets_directory, mail_server(settings)).test(record)
        if problem is not None:
            raise CommandFailed(f"{name} ({record.address}): {problem}")
    typer.echo(f"{name} ({record.address}) answers")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@delivery_commands.command("list")
def given_up(tenant: TenantOption = FIRST_TENANT) -> None:
    """Show what needs a person: objects that their destination refused, or that were given up."""
    study = Column("study", no_wrap=True)  # whole: `retry` takes it
    table = Table(study, "object", "destination", "state", "attempts", "why")
    with administration(tenant) as conn:
        for one in deliveries.given_up(conn, tenant):
            table.add_row(
                str(one["study_id"]), one["kind"], one["destination"], one["state"], str(one["attempts"]),
                one["last_error"] or "",
            )  # fmt: skip
    tables.show(table, "Nothing needs a person: no object was refused or given up.")


@delivery_commands.command("replaced")
def replaced(tenant: TenantOption = FIRST_TENANT) -> None:
    """Show which kinds of objects destinations refuse, and what stands there instead. Nothing of it is lost."""
    table = Table("destination", "refuses", "has instead", "objects", "last", "why")
    with administration(tenant) as conn:
        for one in refused_kinds(conn, tenant):
            table.add_row(
                one["destination"], one["kind"], one["replaced_by"], str(one["objects"]),
                f"{one['last_at']:%Y-%m-%d %H:%M}", one["last_error"] or "",
            )  # fmt: skip
    tables.show(table, "No destination refuses a kind of object.")


@delivery_commands.command("retry")
def retry(
    study_id: Annotated[str, typer.Argument(help="our id of the study")],
    tenant: TenantOption = FIRST_TENANT,
    destination: Annotated[str | None, typer.Option(help="only to this one")] = None,
) -> None:
    """Send once more what was given up of a study."""
    with administration(tenant) as conn:
        queue = deferring_app(conn.info.dsn)
        try:
            names = send_again(queue, conn, tenant, study_id, destination)
        finally:
            queue.close()
    typer.echo(f"will be sent again to {', '.join(names)}" if names else "will be sent again")
