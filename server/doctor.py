"""`radmeter doctor`: looks at an installation and says of each problem what it means and what to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict

import psycopg
import typer

from pipeline.nodes import list_nodes
from server.checks.every import CHECKS
from server.checks.finding import Check, Ground, Verdict, look_at
from server.installation import owner_connection
from server.serve import with_database
from server.settings import Settings

_STATEMENT_TIMEOUT = "SET statement_timeout = '60s'"


@contextmanager
def ground_of(settings: Settings) -> Iterator[Ground]:
    """Where checks look. A database that is away is a finding; what needs none is looked at all the same."""
    with ExitStack() as stack:
        try:
            ready = stack.enter_context(with_database(settings))
        except (
            Exception
        ) as error:  # the embedded one does not start: whatever its reason, the rest is looked at
            yield Ground(settings, None, f"the embedded database does not start: {type(error).__name__}")
            return
        yield from _with_connection(ready, is_one_box=not settings.database_url)


def _with_connection(settings: Settings, *, is_one_box: bool) -> Iterator[Ground]:
    try:
        conn = owner_connection(settings.database_url)
    except psycopg.Error as error:
        words = str(error).strip().splitlines()[0][:200]
        yield Ground(settings, None, f"the database does not answer: {words}", is_one_box)
        return
    with conn:
        conn.execute(_STATEMENT_TIMEOUT)
        conn.commit()
        roles: frozenset[str] = frozenset()
        with suppress(psycopg.Error):  # an older schema has no register
            roles = frozenset(one.role for one in list_nodes(conn) if one.host == socket.gethostname()[:120])
        conn.rollback()
        yield Ground(settings, conn, "", is_one_box, roles)


def verdicts(ground: Ground, *, deep: bool, checks: Sequence[Check] = CHECKS) -> Iterator[Verdict]:
    """One for each check; the quick ones alone unless `deep`."""
    for check in checks:
        if deep or not check.deep:
            yield look_at(check, ground)


def examine(settings: Settings, *, deep: bool = True, as_json: bool = False) -> bool:
    """Print each check with its verdict; True when all are well."""
    found = []
    with ground_of(settings) as ground:
        for verdict in verdicts(ground, deep=deep):
            found.append(verdict)
            if not as_json:
                _print(verdict)
    if as_json:
        typer.echo(json.dumps([asdict(one) | {"is_well": one.is_well} for one in found], indent=2))
    elif all(one.is_well for one in found):
        typer.echo(f"all {len(found)} checks are well")
    return all(one.is_well for one in found)


def _print(verdict: Verdict) -> None:
    if verdict.skipped:
        typer.echo(f"skipped {verdict.name}: the database is away")
    elif verdict.finding is None:
        typer.echo(f"ok      {verdict.name}")
    else:
        typer.echo(f"PROBLEM {verdict.name}")
        typer.echo(f"        {verdict.finding.what}")
        typer.echo(f"        means: {verdict.finding.means}")
        typer.echo(f"        do:    {verdict.finding.do}")
