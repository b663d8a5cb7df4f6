"""`radmeter usage`: usage events, what was decided about them, and what a person decides."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from billing.contracts import store
from billing.metering import ingest, meter, usage, voids
from billing.metering.usage_csv import read_items
from billing.statements.statement_text import safe_cell
from server.cli_admin import TenantOption, administration
from server.errors import CommandFailed
from server.installation import FIRST_TENANT

usage_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"usage": usage_commands}

_FILE_BYTES_MAX = 64 * 1024 * 1024
_PROBLEMS_SHOWN = 20
_USAGE_COLUMNS = (
    "occurred_at", "kind", "product", "meter", "quantity", "amount_minor", "amount_currency", "outcome", "reason",
    "study_ref", "case_key", "source", "event_id",
)  # fmt: skip
SourceOption = Annotated[str, typer.Option(help="source of the event, as `usage export` tells it")]
ByOption = Annotated[str, typer.Option(help="your name, kept with the decision")]


@usage_commands.command("export")
def export_usage(
    out: Annotated[Path, typer.Option(help="CSV file to write")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Every usage event with its decision as CSV; opaque references, no patient data."""
    rows = 0
    with administration(tenant) as conn, out.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(_USAGE_COLUMNS)
        before: int | None = None
        while page := store.list_usage(conn, tenant, limit=1000, before=before):
            for one in page:
                writer.writerow([safe_cell(text) for text in _usage_row(one)])
            rows += len(page)
            before = page[-1].ingest_sequence
    typer.echo(f"{rows} usage events in {out}")


def _usage_row(one: store.RecordedUsage) -> list[str]:
    event, decision = one.event, one.decision
    amount = "" if event.amount_minor is None else str(event.amount_minor)
    what = [
        event.occurred_at.isoformat(),
        event.kind,
        event.product,
        event.meter,
        usage.plain(event.quantity),
    ]
    what += [amount, event.amount_currency or "", decision.outcome, decision.reason_code]
    return [*what, event.study_ref, event.case_key, event.source, event.event_id]


@usage_commands.command("import")
def import_usage(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    source: Annotated[str, typer.Option(help="name of the system that the events come from")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Record the usage events of a CSV file, all or none; what was imported before changes nothing."""
    if file.stat().st_size > _FILE_BYTES_MAX:
        raise CommandFailed(f"{file.name} is larger than {_FILE_BYTES_MAX} bytes: split it")
    now = datetime.now(UTC)
    with administration(tenant) as conn:
        items = read_items(file.read_text("utf-8"))
        answers = []
        for start in range(0, len(items), ingest.BATCH_MAX):
            batch = items[start : start + ingest.BATCH_MAX]
            answers += ingest.ingest(conn, tenant, source, batch, by="import", now=now)
        wrong = [
            f"row {row}, event {one.event_id}: {one.message}"
            for row, one in enumerate(answers, start=2)
            if one.status in ("refused", "conflict")
        ]
        if wrong:
            more = [f"and {len(wrong) - _PROBLEMS_SHOWN} more"] if len(wrong) > _PROBLEMS_SHOWN else []
            raise CommandFailed("\n".join(["nothing was imported:", *wrong[:_PROBLEMS_SHOWN], *more]))
    counts = Counter(one.status for one in answers)
    decided = Counter(str(one.recorded.decision.outcome) for one in answers if one.recorded)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(decided.items()))
    typer.echo(
        f"{counts['created']} events recorded, {counts['known']} were known; {told or 'nothing decided'}"
    )


@usage_commands.command("void")
def void_event(
    event_id: str,
    reason: Annotated[str, typer.Option(help="why it should not have been recorded, without patient data")],
    by: ByOption,
    source: SourceOption = "pipeline",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Declare an event void: it is not charged, and taken off the next statement where one has charged it."""
    with administration(tenant) as conn:
        decision = voids.void(conn, tenant, source, event_id, reason=reason, by=by, now=datetime.now(UTC))
    typer.echo(f"{event_id}: {decision.explanation}")


@usage_commands.command("release")
def release_event(
    event_id: str, by: ByOption, source: SourceOption = "pipeline", tenant: TenantOption = FIRST_TENANT
) -> None:
    """Decide a quarantined event by the contract after all."""
    with administration(tenant) as conn:
        decision = meter.release(conn, tenant, source, event_id, by, now=datetime.now(UTC))
    typer.echo(f"{event_id}: {decision.explanation}")


@usage_commands.command("dismiss")
def dismiss_event(
    event_id: str, by: ByOption, source: SourceOption = "pipeline", tenant: TenantOption = FIRST_TENANT
) -> None:
    """Decide that a quarantined event is not charged."""
    with administration(tenant) as conn:
        decision = meter.dismiss(conn, tenant, source, event_id, by, now=datetime.now(UTC))
    typer.echo(f"{event_id}: {decision.explanation}")
