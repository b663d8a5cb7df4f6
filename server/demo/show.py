"""What the demo prints: the live table of steps, the findings beside the truth, the usage event and the statement."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from billing.contracts import store as billing_store
from billing.statements import statement, statement_document
from pipeline import store
from pipeline.database import Connection
from pipeline.status import TERMINAL
from server.demo.pacs import received_path
from server.demo.phantom import TrueNodule
from server.errors import CommandFailed
from server.installation import FIRST_TENANT, owner_connection

if TYPE_CHECKING:
    from server.demo.run import Stage

_STEPS = ("assembled", "routed", "decoded", "inferred", "encoded", "delivered")
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Progress:
    """What the table shows at one moment."""

    study: store.StudyRecord | None
    arrival: dict[str, Any] | None
    events: list[dict[str, Any]]

    @property
    def is_over(self) -> bool:
        if self.study is None or self.arrival is None or self.arrival["closed_at"] is None:
            return False
        return self.arrival["outcome"] == "seen_again" or self.study.status in TERMINAL


def watch(
    stage: Stage, *, since: datetime, pacs: subprocess.Popen[str], console: Console
) -> store.StudyRecord:
    """Show the study's steps until it has come to an end."""
    deadline = time.monotonic() + _TIMEOUT_S
    with (
        owner_connection(stage.settings.database_url) as conn,
        Live(console=console, refresh_per_second=8) as live,
    ):
        while time.monotonic() < deadline:
            progress = _progress(conn, since)
            conn.commit()
            live.update(_table(progress))
            if progress.is_over:
                assert progress.study is not None
                break
            if pacs.poll() is not None:
                raise CommandFailed(f"the PACS process ended with exit code {pacs.returncode}")
            time.sleep(0.15)
        else:
            raise CommandFailed("the study did not come to an end in ten minutes; see server.log")
    if progress.arrival is not None and progress.arrival["outcome"] == "seen_again":
        console.print(
            "[bold]Seen again, not charged:[/bold] the same instances were here before; nothing ran."
        )
    return progress.study


def _progress(conn: Connection, since: datetime) -> Progress:
    arrival = conn.execute(
        "SELECT * FROM arrival WHERE tenant = %s AND first_at >= %s ORDER BY id DESC LIMIT 1",
        (FIRST_TENANT, since),
    ).fetchone()
    if arrival is None:
        return Progress(None, None, [])
    study = store.get_study(conn, FIRST_TENANT, arrival["study_id"])
    events = [
        one for one in store.study_events(conn, FIRST_TENANT, study.id) if one["at"] >= arrival["first_at"]
    ]
    return Progress(study, arrival, events)


def _table(progress: Progress) -> Table:
    table = Table("step", "state", "seconds", "what", title="The study on its path")
    arrival = progress.arrival
    if arrival is None:
        table.add_row("received", "waiting", "", "the PACS is about to send")
        return table
    took = (arrival["last_at"] - arrival["first_at"]).total_seconds()
    counts = f"{arrival['new_count']} new, {arrival['identical_count']} seen before"
    table.add_row("received", "done" if arrival["closed_at"] else "…", f"{took:.1f}", counts)
    events = {one["event"].removeprefix("study_"): one for one in progress.events}
    if "seen_again" in events:
        table.add_row("assembled", "seen again", "", events["seen_again"]["detail"]["reason"])
        return table
    for step in _STEPS:
        table.add_row(step, *_cells(events.get(step)))
    for end in ("rejected", "failed"):
        if end in events and progress.study is not None:
            table.add_row(
                end, "[bold]ended[/bold]", "", f"{progress.study.reason_code}: {progress.study.reason_text}"
            )
    return table


def _cells(event: dict[str, Any] | None) -> tuple[str, str, str]:
    if event is None:
        return "", "", ""
    seconds = f"{event['duration_ms'] / 1000:.1f}" if event["duration_ms"] is not None else ""
    detail = event["detail"]
    if "explanation" in detail:
        return "done", seconds, " ".join(detail["explanation"])
    return "done", seconds, _what(detail)


def _what(detail: dict[str, Any]) -> str:
    """The detail of a step in words."""
    if "reason" in detail:
        return str(detail["reason"])
    if "slices" in detail:
        read = f"{detail['slices']} slices in Hounsfield units" if detail["slices"] else "1 radiograph"
        return "; ".join([read, *detail["notes"]])
    if "findings" in detail:
        counts = detail["findings"].items()
        return ", ".join(
            f"{product}: {count} finding{'' if count == 1 else 's'}" for product, count in counts
        )
    if "destinations" in detail:
        return f"{detail['objects']} objects acknowledged by {', '.join(detail['destinations'])}"
    return ", ".join(detail.get("objects", []))


def show_result(
    stage: Stage, study: store.StudyRecord, truth: Sequence[TrueNodule], console: Console
) -> None:
    """Findings, where the objects are, the report's URL, the usage event and the statement."""
    with owner_connection(stage.settings.database_url) as conn:
        results = store.results(conn, FIRST_TENANT, study.id)
        if study.status == "delivered" and results:
            _show_findings(results[0]["findings"], truth, console)
        else:
            console.print(f"[bold]{study.status}[/bold] {study.reason_code}: {study.reason_text}")
        for one in store.result_objects(conn, FIRST_TENANT, study.id):
            path = received_path(stage.received, one["kind"], one["sop_instance_uid"])
            if path.exists():
                console.print(
                    f"{one['kind']:<3} received by the PACS: {path}", highlight=False, soft_wrap=True
                )
        for recorded in billing_store.usage_for_study(conn, FIRST_TENANT, str(study.id)):
            decision = recorded.decision
            console.print(
                f"usage event {recorded.event.kind}: {decision.outcome} ({decision.reason_code})",
                highlight=False,
            )
        _show_statement(conn, console)
    console.print(f"\nReport: {stage.url}/studies/{study.id}", highlight=False)
    console.print(f"Sign in as admin with {stage.password}", highlight=False, markup=False)


def _show_findings(findings: list[dict[str, Any]], truth: Sequence[TrueNodule], console: Console) -> None:
    table = Table(title="Findings (mm, mm³; centre in patient LPS)", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("no.", "score", "long × short", "mean", "volume", "centre", "truth"):
        table.add_column(heading, no_wrap=True)
    unseen = list(truth)
    for finding in findings:
        match = _match(finding, unseen)
        if match is not None:
            unseen.remove(match)
        table.add_row(
            str(finding["id"]),
            f"{finding['score']:.2f}",
            f"{finding['long_axis_mm']:.1f} × {finding['short_axis_mm']:.1f}",
            f"{finding['mean_diameter_mm']:.1f}",
            f"{finding['volume_mm3']:.0f}",
            ", ".join(f"{value:.0f}" for value in finding["center_lps_mm"]),
            _truth_cell(match, bool(truth)),
        )
    for nodule in unseen:
        place = ", ".join(f"{value:.0f}" for value in nodule.center_lps_mm)
        table.add_row("—", "", "", "", "", place, f"missed: {nodule.kind} {nodule.diameter_mm:.1f}")
    console.print(table)
    if not findings:
        console.print("The model marked nothing in this study.")


def _match(finding: dict[str, Any], truth: list[TrueNodule]) -> TrueNodule | None:
    """The true nodule whose radius holds the finding's centre."""
    for nodule in truth:
        distance = np.linalg.norm(np.subtract(finding["center_lps_mm"], nodule.center_lps_mm))
        if distance <= nodule.diameter_mm / 2:
            return nodule
    return None


def _truth_cell(match: TrueNodule | None, has_truth: bool) -> str:
    if match is not None:
        return f"{match.kind} {match.diameter_mm:.1f}"
    return "none here" if has_truth else "unknown"


def _show_statement(conn: Connection, console: Console) -> None:
    for stored in billing_store.list_contracts(conn, FIRST_TENANT):
        draft = statement.draft(conn, FIRST_TENANT, stored.contract_id, datetime.now(UTC))
        console.print()
        console.print(statement_document.render_text(draft), highlight=False, markup=False)
