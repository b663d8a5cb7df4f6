"""`make bench`: runs the benchmarks, prints one table, writes JSON with machine and commit.

`make bench ARGS="receive rating"` runs some of them, `ARGS="receive --rounds 2"` with so many rounds each.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine

BENCHMARKS = (
    "receive",
    "receive_nagle",
    "receive_saturation",
    "objects",
    "stow",
    "dicomweb_read",
    "traces",
    "study_path",
    "inference_provider",
    "triton",
    "ct_path",
    "decoders",
    "rating",
    "billing_growth",
    "usage_ingestion",
    "work_list",
    "workers",
    "audit_append",
    "capacity_steps",
    "capacity_database",
    "capacity",
)
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all without one"
    )
    parser.add_argument(
        "--rounds", type=int, help="instead of each one's own number; not all of them have rounds"
    )
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    console = Console() if sys.stdout.isatty() else Console(width=120)
    report: dict[str, Any] = {
        "machine": machine.facts(),
        "commit": machine.commit(),
        "results": {},
        "failed": {},
    }
    for name in names:
        console.print(f"running {name} …", style="dim")
        began = time.monotonic()
        try:
            run = importlib.import_module(f"benchmarks.{name}").run
            has_rounds = arguments.rounds and "rounds" in inspect.signature(run).parameters
            with machine.folder_apart():
                report["results"][name] = run(rounds=arguments.rounds) if has_rounds else run()
        except Exception as error:  # the others still run, and the exit code tells
            traceback.print_exc()
            report["failed"][name] = f"{type(error).__name__}: {error}"
        console.print(f"  {time.monotonic() - began:.0f} s", style="dim")
    console.print(table(report))
    console.print(
        f"written: {write(report).relative_to(Path.cwd())}" if report["results"] else "nothing measured"
    )
    for name, reason in report["failed"].items():
        console.print(f"FAILED {name}: {reason}", style="red", markup=False)
    return 1 if report["failed"] else 0


def table(report: Mapping[str, Any]) -> Table:
    """One row for each figure; its unit is the end of its name."""
    facts, commit = report["machine"], report["commit"]
    revision = commit["revision"] + (" + local changes" if commit["is_modified"] else "")
    machine_name = f"{facts['cpu_model']}, {facts['core_count']} cores, load {facts['load_average_1min']}"
    title = f"{machine_name}, commit {revision}"
    drawn = Table(title=title, title_justify="left")
    drawn.add_column("benchmark")
    drawn.add_column("what")
    drawn.add_column("figure", justify="right")
    for name, result in report["results"].items():
        for row, (what, value) in enumerate(leaves(result)):
            drawn.add_row(name if row == 0 else "", what, shown(value))
        drawn.add_section()
    return drawn


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """("receive · radmeter · images_per_s", 678.0) for each figure in a nested result."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, (*path, str(key)))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from leaves(inner, (*path, str(position)))
    else:
        yield " · ".join(path), value


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def write(report: Mapping[str, Any]) -> Path:
    """results/<date>-<commit>-<benchmarks>.json; a later run of the same ones on the same day replaces it."""
    RESULTS.mkdir(exist_ok=True)
    names = "" if set(report["results"]) == set(BENCHMARKS) else "-" + "-".join(report["results"])
    path = RESULTS / f"{report['machine']['measured_at'][:10]}-{report['commit']['revision']}{names}.json"
    path.write_text(json.dumps(report, indent=2, default=str) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
