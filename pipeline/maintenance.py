"""What scheduled runs leave behind, so that an alert can ask how long ago one last went well."""

from __future__ import annotations

from pipeline.database import Connection


def note(conn: Connection, run: str, *, is_well: bool, subject: str = "") -> None:
    """Note the end of a run, in the caller's transaction.

    run: ledger_check, backup …: the label of `radmeter_maintenance_*`. subject: the tenant whose run it was, empty for
    a run of the whole installation.
    """
    conn.execute(
        """INSERT INTO maintenance_run (name, subject, succeeded_at, failed_at)
           VALUES (%(run)s, %(subject)s, CASE WHEN %(well)s THEN now() END, CASE WHEN NOT %(well)s THEN now() END)
           ON CONFLICT (name, subject) DO UPDATE SET
               succeeded_at = coalesce(excluded.succeeded_at, maintenance_run.succeeded_at),
               failed_at = coalesce(excluded.failed_at, maintenance_run.failed_at)""",
        {"run": run, "subject": subject, "well": is_well},
    )
