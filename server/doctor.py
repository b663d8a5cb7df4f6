"""`radmeter doctor` and `radmeter status`: what an operator asks at 3 a.m."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import LiteralString

from rich.console import Console
from rich.table import Table

from dicom_gateway.tls import TLSFiles, days_left
from inference.choose import make_endpoint
from inference.errors import InferenceError
from models.errors import ModelError
from models.registry import find_models, get_model, list_models
from models.weights import verified_weights
from pipeline import migrations
from pipeline.model_users import missing_versions
from pipeline.report_fonts import missing_fonts
from server.errors import CommandFailed
from server.gateway import tls_files
from server.installation import owner_connection
from server.serve import with_database
from server.settings import Settings

_FREE_BYTES_MIN = 5 << 30
# What `radmeter status` counts over all tenants beside studies and jobs.
_NEEDS_A_LOOK: dict[str, LiteralString] = {
    "instances kept aside": "SELECT count(*) AS n FROM quarantined_instance",
    "security alerts in the last day": """SELECT coalesce(sum(coalesce((detail->>'count')::int, 1)), 0) AS n
        FROM audit_event WHERE event = 'Security Alert' AND outcome > 0 AND at > now() - interval '1 day'""",
}


@dataclass(frozen=True)
class Check:
    """One thing looked at: None when it is well, else what is wrong and what to do."""

    name: str
    look: Callable[[], str | None]


def examine(settings: Settings) -> bool:
    """Print each check with its verdict; True when all are well."""
    console = Console()
    healthy = True
    with with_database(settings) as ready:
        for check in _checks(ready):
            try:
                problem = check.look()
            except Exception as error:  # a check that cannot look is a finding, not a crash
                problem = f"{type(error).__name__}: {error}"
            healthy = healthy and problem is None
            console.print(f"{'ok     ' if problem is None else 'PROBLEM'} {check.name}", highlight=False)
            if problem is not None:
                console.print(f"        {problem}", highlight=False, markup=False)
    return healthy


def _checks(settings: Settings) -> list[Check]:
    return [
        Check("the database answers and is up to date", lambda: _database(settings)),
        Check("the data directory has room", lambda: _room(settings)),
        Check("the models are whole", lambda: _models(settings)),
        Check("the versions that tenants run are installed", lambda: _deployed(settings)),
        Check("the inference engine opens each model", lambda: _engine(settings)),
        Check("fonts for reports are installed", missing_fonts),
        *_dicom_ports(settings),
        Check("the portal answers", lambda: _port(settings.http_host, settings.http_port)),
        Check("no study has failed in the last day", lambda: _failed_studies(settings)),
        Check("no job was given up", lambda: _dead_jobs(settings)),
        Check("no delivery waits for more than ten minutes", lambda: _waiting_deliveries(settings)),
        Check("no delivery was given up", lambda: _deliveries_given_up(settings)),
    ]


def _dicom_ports(settings: Settings) -> list[Check]:
    host, port, tls_port = settings.dicom_host, settings.dicom_port, settings.dicom_tls_port
    checks = [Check("the DICOM port answers", lambda: _port(host, port))] if settings.dicom_plain else []
    files = tls_files(settings)
    if files is not None:
        checks += [
            Check("the DICOM TLS port answers", lambda: _port(host, tls_port)),
            Check("our TLS certificate lasts", lambda: _certificate(files)),
        ]
    return checks


def _certificate(files: TLSFiles) -> str | None:
    days = days_left(files)
    return f"it ends in {days} days: renew {files.certificate}, no restart is needed" if days < 30 else None


def _database(settings: Settings) -> str | None:
    pending = migrations.pending(settings.database_url)
    return f"{len(pending)} migrations are missing: run `radmeter migrate`" if pending else None


def _room(settings: Settings) -> str | None:
    free = shutil.disk_usage(settings.data_directory).free
    if free < _FREE_BYTES_MIN:
        return f"{free >> 20} MiB left in {settings.data_directory}: make room before C-STORE is refused"
    return None


def _models(settings: Settings) -> str | None:
    try:
        catalogue = find_models(settings.data_directory)
        if catalogue.problems:
            raise catalogue.problems[0]
        for manifest in catalogue.models:
            verified_weights(manifest)
            for precision in manifest.precisions:
                verified_weights(manifest, precision)
    except ModelError as error:
        return f"{error}: add the model again"
    return None


def _deployed(settings: Settings) -> str | None:
    with owner_connection(settings.database_url) as conn:
        missing = missing_versions(conn, find_models(settings.data_directory))
    return f"{'; '.join(missing)}: activate one that is there (radmeter models activate)" if missing else None


def _engine(settings: Settings) -> str | None:
    choice = settings.engine_choice
    try:
        endpoint = make_endpoint(choice)
        for manifest in list_models(settings.data_directory):
            endpoint.warm(get_model(manifest.name, settings.data_directory))
    except (InferenceError, ModelError) as error:
        return f"{choice.as_engine}: {error}"
    return None


def _port(host: str, port: int) -> str | None:
    with suppress(OSError), socket.create_connection((host, port), timeout=2):
        return None
    return f"nothing answers on {host}:{port}: is `radmeter serve` running?"


def _failed_studies(settings: Settings) -> str | None:
    return _count(
        settings,
        "SELECT count(*) AS n FROM study WHERE status = 'failed' AND updated_at > now() - interval '1 day'",
        "{} studies failed: the work list shows each reason",
    )


def _dead_jobs(settings: Settings) -> str | None:
    return _count(
        settings,
        "SELECT count(*) AS n FROM procrastinate_jobs WHERE status = 'failed'",
        "{} jobs ended with an error of ours: send the log lines “job_failed” to the makers",
    )


def _waiting_deliveries(settings: Settings) -> str | None:
    return _count(
        settings,
        "SELECT count(*) AS n FROM study WHERE status = 'encoded' AND updated_at < now() - interval '10 minutes'",
        "{} studies wait for their destination: check that the PACS accepts C-STORE from us",
    )


def _deliveries_given_up(settings: Settings) -> str | None:
    return _count(
        settings,
        "SELECT count(*) AS n FROM delivery WHERE state IN ('refused', 'dead')",
        "{} objects were not taken by their destination: `radmeter delivery list` tells why, `retry` sends again",
    )


def _count(settings: Settings, query: str, sentence: str) -> str | None:
    with owner_connection(settings.database_url) as conn:
        row = conn.execute(query).fetchone()
    number = row["n"] if row else 0
    return sentence.format(number) if number else None


def print_status(settings: Settings) -> None:
    """Studies by status and the queue, over all tenants."""
    if not settings.data_directory.exists():
        raise CommandFailed(f"there is no installation in {settings.data_directory}")
    table = Table("what", "how many")
    with with_database(settings) as ready, owner_connection(ready.database_url) as conn:
        for row in conn.execute("SELECT status, count(*) AS n FROM study GROUP BY status ORDER BY status"):
            table.add_row(f"studies {row['status']}", str(row["n"]))
        for row in conn.execute(
            "SELECT status::text AS status, count(*) AS n FROM procrastinate_jobs GROUP BY status ORDER BY status"
        ):
            table.add_row(f"jobs {row['status']}", str(row["n"]))
        for word, query in _NEEDS_A_LOOK.items():
            count = conn.execute(query).fetchone()
            table.add_row(word, str(count["n"] if count else 0))
        waiting = conn.execute("SELECT count(*) AS n FROM delivery WHERE state = 'waiting'").fetchone()
        table.add_row("objects not yet acknowledged", str(waiting["n"] if waiting else 0))
        given_up = conn.execute(
            "SELECT count(*) AS n FROM delivery WHERE state IN ('refused', 'dead')"
        ).fetchone()
        table.add_row("objects whose delivery needs a person", str(given_up["n"] if given_up else 0))
    Console().print(table)
