"""What a restore is worth: the books, the audit trail and the files, examined; one report to sign."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from billing.books import ledger
from pipeline import audit
from pipeline.database import Connection
from server.backup.bring_back import Brought
from server.backup.folder import write_whole
from server.backup.objects import see, tenants
from server.backup.restore import Recovered
from server.backup.take import count_rows

_LISTED_MAX = 50


@dataclass(frozen=True)
class Finding:
    """One thing that was examined. problems: empty when it holds."""

    what: str
    problems: tuple[str, ...]
    said: str = ""


@dataclass(frozen=True)
class Proof:
    recovered: Recovered
    findings: tuple[Finding, ...]
    rows: dict[str, int]
    at: datetime
    begun_again: int = 0
    erased_again: int = 0

    @property
    def holds(self) -> bool:
        return not any(one.problems for one in self.findings)

    def text(self, by: str) -> str:
        """The report. by: who answers for it; empty leaves the line to be signed."""
        record = self.recovered.record
        lines = [
            "# Restore",
            "",
            f"- examined: {self.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            f"- backup: {record.name}, whose base ended {record.base_ended_at}",
            f"- asked for: {self.recovered.to_time or 'the last instant that is there'}",
            f"- last transaction: {self.recovered.recovered_to or 'of the base backup'}",
            f"- data directory: {self.recovered.settings.data_directory}",
            f"- secrets to put back by hand: {', '.join(record.secrets) or 'none'}",
            f"- studies that begin their path again: {self.begun_again}",
            f"- erasures of later that were done again: {self.erased_again}",
            "",
            "| rows | when the backup was made | restored |",
            "|---|---:|---:|",
            *(f"| {table} | {record.rows.get(table, 0)} | {count} |" for table, count in self.rows.items()),
            "",
        ]
        for one in self.findings:
            lines.append(
                f"- {'NOT PROVEN' if one.problems else 'proven'}: {one.what}{one.said and f' ({one.said})'}"
            )
            lines += [f"    - {problem}" for problem in one.problems[:_LISTED_MAX]]
            if len(one.problems) > _LISTED_MAX:
                lines.append(f"    - and {len(one.problems) - _LISTED_MAX} more")
        verdict = "The restore is proven." if self.holds else "THE RESTORE IS NOT PROVEN."
        return "\n".join([*lines, "", verdict, "", f"Signed off by: {by or '____________________'}", ""])

    def write(self, path: Path, by: str) -> None:
        write_whole(path, self.text(by))


def prove(conn: Connection, recovered: Recovered, brought: Brought, *, now: datetime) -> Proof:
    """Examine what was restored. For a connection of the schema's owner."""
    books = []
    for tenant in tenants(conn):
        see(conn, tenant)
        books += [f"{tenant}: {problem}" for problem in ledger.check(conn, tenant)]
    heads = (recovered.record.audit_head,) if _was_reached(conn, recovered) else ()
    return Proof(
        recovered=recovered,
        findings=(
            Finding("the books are sound in every tenant", tuple(books)),
            Finding(
                "the audit trail is one unbroken chain",
                tuple(audit.find_problems(conn, heads)),
                f"it ends at {audit.head(conn)}"
                + (", and has the end that the backup knew" if heads else ""),
            ),
            Finding(
                "every file that a row names is here with its digest",
                tuple(f"{key}: have it sent again" for key in brought.lost),
                f"{brought.whole} of {brought.named}",
            ),
        ),
        rows=count_rows(conn),
        at=now,
    )


def _was_reached(conn: Connection, recovered: Recovered) -> bool:
    """Whether the restored trail must contain the head that the backup saw, which it saw after its base had ended."""
    restored = int(audit.head(conn).partition(":")[0])
    return restored >= int(recovered.record.audit_head.partition(":")[0])
