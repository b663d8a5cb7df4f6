"""`radmeter peer`: who may send what from where, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from pipeline import destinations, peers
from pipeline.database import Connection
from pipeline.peer_table import read_table, write_table
from pipeline.protection.master_keys import load_master_keys
from server.cli_admin import TenantOption, administration, who
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.settings import load_settings
from server.tables import show

peer_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"peer": peer_commands}

Title = Annotated[str, typer.Argument(help="AE title of the peer")]


@peer_commands.command("add")
def add_peer(
    address: Annotated[str, typer.Argument(help="AE@host:port")],
    tenant: TenantOption = FIRST_TENANT,
    quiet_time_s: Annotated[
        float | None, typer.Option(help="a study is complete after this silence; 10 unless set")
    ] = None,
    results_to: Annotated[
        str | None, typer.Option(help="destination or peer that gets the results; '' is the sender")
    ] = None,
    check_host: Annotated[bool | None, typer.Option(help="accept it from its own address only")] = None,
    hosts: Annotated[
        str | None, typer.Option(help="accept it from these addresses, networks, names, divided by |")
    ] = None,
    certificates: Annotated[
        str | None,
        typer.Option(help="accept it with these only: fingerprints, cn:…, dns:…, ip:…, divided by |"),
    ] = None,
    modalities: Annotated[str | None, typer.Option(help="it may send these only, as CT|MR")] = None,
    sop_classes: Annotated[str | None, typer.Option(help="it may send these UIDs only, divided by |")] = None,
    duplicates: Annotated[
        str | None, typer.Option(help="answer to other bytes under a known UID: failure or warning")
    ] = None,
    archive: Annotated[
        str | None,
        typer.Option(
            help="its archive, asked for counts and earlier studies: AE@host:port, https://…, or none"
        ),
    ] = None,
    fetch_by: Annotated[
        str | None, typer.Option(help="move or get: how studies come from a DIMSE archive")
    ] = None,
    archive_user: Annotated[
        str | None,
        typer.Option(help="user of its DICOMweb archive (password: peer secret); empty: a token or none"),
    ] = None,
    archive_tls: Annotated[bool | None, typer.Option(help="the DIMSE archive is asked over TLS")] = None,
    archive_authority: Annotated[
        str | None,
        typer.Option(help="file in secrets with the authorities we trust there; empty: the machine's"),
    ] = None,
    archive_certificate: Annotated[
        str | None, typer.Option(help="file in secrets with our certificate and its key for it; empty: none")
    ] = None,
    quiet_time_max_s: Annotated[
        float | None, typer.Option(help="what is learned lengthens the quiet time to this; 130 unless set")
    ] = None,
    force_after_s: Annotated[
        float | None, typer.Option(help="silence after which listed images are waited for no longer; 600")
    ] = None,
    force_policy: Annotated[
        str | None, typer.Option(help="what happens then: process, discard or ask")
    ] = None,
    archive_habit: Annotated[
        str | None,
        typer.Option(help="complete: its archive has a study before it sends it; fills: not; or learned"),
    ] = None,
    site: Annotated[str | None, typer.Option(help="where it stands, as the contracts name it")] = None,
    department: Annotated[str | None, typer.Option(help="its department, as the contracts name it")] = None,
    test: Annotated[bool | None, typer.Option(help="a test peer: results are recorded, never billed")] = None,
) -> None:
    """Add a peer, or change the one with this AE title: what is not given stays as it is."""
    from server.send import parse_address

    def parts(text: str | None) -> tuple[str, ...] | None:
        return None if text is None else tuple(part.strip() for part in text.split("|") if part.strip())

    with administration(tenant) as conn:
        peer = parse_address(address, "RADMETER")
        given: dict[str, Any] = {
            "ae_title": str(peer.called_ae_title),
            "host": peer.host,
            "port": peer.port,
            "quiet_time_s": quiet_time_s,
            "check_host": check_host,
            "hosts": parts(hosts),
            "certificates": parts(certificates),
            "modalities": parts(modalities),
            "sop_classes": parts(sop_classes),
            "duplicate_policy": duplicates,
            "query_retrieve": fetch_by,
            "query_tls": archive_tls,
            "quiet_time_max_s": quiet_time_max_s,
            "force_after_s": force_after_s,
            "force_policy": force_policy,
            "archive_habit": archive_habit,
            "site": site,
            "department": department,
            "is_test": test,
        }
        known = peers.get_peer(conn, tenant, peer.called_ae_title)
        values = peers.values_of(known) if known else {}
        values |= {name: value for name, value in given.items() if value is not None}
        values |= _archive(archive) if archive is not None else {}
        for name, text in (
            ("query_username", archive_user),
            ("query_authority_file", archive_authority),
            ("query_certificate_file", archive_certificate),
        ):
            values |= {name: text or None} if text is not None else {}
        if results_to is not None:
            values["result_destination"] = results_to or None
        peers.save_peer(conn, tenant, changed_by=who(), **values)
        _require_destinations(conn, tenant, [values["result_destination"]] if results_to else [])
    typer.echo(f"peer {peer.called_ae_title} saved")


def _require_destinations(conn: Connection, tenant: str, wanted: list[str | None]) -> None:
    """Refuse results that would go nowhere: it is seen only days later otherwise."""
    known = destinations.names(conn, tenant)
    unknown = sorted({one for one in wanted if one and one not in known})
    if unknown:
        raise CommandFailed(f"there is no destination and no peer {', '.join(unknown)}; add it first")


def _archive(text: str) -> dict[str, Any]:
    """What `--archive` says, as fields of a peer."""
    from server.send import parse_address

    if text == "none":
        return {"query_kind": "none"}
    if text.startswith(("http://", "https://")):
        return {"query_kind": "dicomweb", "query_url": text}
    node = parse_address(text, "RADMETER")
    return {
        "query_kind": "dimse",
        "query_ae_title": str(node.called_ae_title),
        "query_host": node.host,
        "query_port": node.port,
    }


@peer_commands.command("secret")
def set_secret(ae_title: Title, tenant: TenantOption = FIRST_TENANT) -> None:
    """Set the password or token for a peer's DICOMweb archive; asks for it, empty forgets it."""
    secret = typer.prompt("Password or token", hide_input=True, default="", show_default=False)
    with administration(tenant) as conn:
        masters = load_master_keys(load_settings().master_key_files)
        peers.set_query_secret(conn, tenant, ae_title, secret or None, masters, changed_by=who())
    typer.echo(f"secret of peer {ae_title} {'set' if secret else 'forgotten'}")


@peer_commands.command("list")
def list_peers(tenant: TenantOption = FIRST_TENANT) -> None:
    """Show the peers of a tenant."""
    whole = [Column(name, no_wrap=True) for name in ("AE title", "address")]
    table = Table(*whole, "from", "may send", "results to", "state")
    with administration(tenant) as conn:
        for peer in peers.list_peers(conn, tenant):
            hosts = [*peer["hosts"], *(["its address"] if peer["check_host"] else [])]
            table.add_row(
                peer["ae_title"],
                f"{peer['host']}:{peer['port']}",
                ", ".join(hosts or ["anywhere"]) + (" by certificate" if peer["certificates"] else ""),
                ", ".join([*peer["modalities"], *peer["sop_classes"]]) or "everything",
                peer["result_destination"] or "the sender",
                ("enabled" if peer["enabled"] else "off") + (", test" if peer["is_test"] else ""),
            )
    show(table, "There is no peer yet: `radmeter peer add AE@HOST:PORT` lets one in.")


@peer_commands.command("show")
def show_peer(ae_title: Title, tenant: TenantOption = FIRST_TENANT) -> None:
    """Show everything that is set for a peer."""
    with administration(tenant) as conn:
        row = peers.get_peer(conn, tenant, ae_title)
        if row is None:
            raise CommandFailed(f"no peer {ae_title}")
        for name, value in peers.values_of(row).items():
            typer.echo(f"{name}: {' | '.join(value) if isinstance(value, tuple) else value}")


@peer_commands.command("test")
def ask_archive(ae_title: Title, tenant: TenantOption = FIRST_TENANT) -> None:
    """Ask a peer's archive for a study that nobody has, over TLS and with the certificates that are set for it."""
    from pipeline.archives import archive_of

    settings = load_settings()
    with administration(tenant) as conn:
        if peers.get_peer(conn, tenant, ae_title) is None:
            raise CommandFailed(f"no peer {ae_title}")
        masters = load_master_keys(settings.master_key_files)
        archive = archive_of(conn, tenant, ae_title, masters, settings.secrets_directory)
        if archive is None:
            raise CommandFailed(f"no archive is set for {ae_title}: peer add … --archive")
        problem = archive.test()
        if problem is not None:
            raise CommandFailed(f"the archive of {ae_title}: {problem}")
    typer.echo(f"the archive of {ae_title} answers")


@peer_commands.command("enable")
def enable_peer(ae_title: Title, tenant: TenantOption = FIRST_TENANT) -> None:
    """Let a peer in again."""
    with administration(tenant) as conn:
        peers.set_enabled(conn, tenant, ae_title, True, changed_by=who())
    typer.echo(f"peer {ae_title} enabled")


@peer_commands.command("disable")
def disable_peer(ae_title: Title, tenant: TenantOption = FIRST_TENANT) -> None:
    """Refuse a peer's associations from now on; what is set for it stays."""
    with administration(tenant) as conn:
        peers.set_enabled(conn, tenant, ae_title, False, changed_by=who())
    typer.echo(f"peer {ae_title} disabled")


@peer_commands.command("remove")
def remove_peer(ae_title: Title, tenant: TenantOption = FIRST_TENANT) -> None:
    """Forget a peer; its studies stay."""
    with administration(tenant) as conn:
        peers.remove_peer(conn, tenant, ae_title, changed_by=who())
    typer.echo(f"peer {ae_title} removed")


@peer_commands.command("export")
def export_peers(tenant: TenantOption = FIRST_TENANT) -> None:
    """Write all peers as CSV, as `radmeter peer import` reads them."""
    with administration(tenant) as conn:
        typer.echo(write_table(peers.list_peers(conn, tenant)), nl=False)


@peer_commands.command("import")
def import_peers(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV; the first row names the fields")
    ],
    tenant: TenantOption = FIRST_TENANT,
    dry_run: Annotated[bool, typer.Option(help="check the file, change nothing")] = False,
) -> None:
    """Add or change all peers of a CSV file, or none of them if a line is wrong."""
    with administration(tenant) as conn:
        entries = read_table(file.read_text("utf-8"))
        known = {row["ae_title"] for row in peers.list_peers(conn, tenant)}
        changed = [one.ae_title for one in entries if peers.save_entry(conn, tenant, one, changed_by=who())]
        _require_destinations(conn, tenant, [one.result_destination for one in entries])
        if dry_run:
            conn.rollback()
    added = sum(name not in known for name in changed)
    would = "would be " if dry_run else ""
    typer.echo(
        f"{added} {would}added, {len(changed) - added} {would}changed, {len(entries) - len(changed)} as before"
    )
