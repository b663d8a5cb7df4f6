"""`radmeter route test|replay`: try rules without putting them in force."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dicom_gateway.inspect import InspectError, inspect_study
from models.manifest import Manifest
from models.registry import get_model
from pipeline import store
from pipeline.database import Connection
from pipeline.models_for_study import active_manifests
from pipeline.route_explain import obstacle_text, outcome_lines
from pipeline.route_replay import DAYS_MAX, Replay
from pipeline.route_replay import replay as run_replay
from pipeline.route_rules import Routing, route_by_rules
from pipeline.rule_keywords import Arrival
from pipeline.study_facts import load_facts, restore
from server.cli import explained_errors
from server.cli_admin import TenantOption, administration
from server.cli_route import RulesFile, read_file, route_commands
from server.errors import CommandFailed
from server.installation import FIRST_TENANT
from server.settings import load_settings
from study.study import Study

_FILES_MAX = 20_000


def _default_manifest(name: str) -> Manifest:
    """Without a database, of the version that runs where nobody has chosen one."""
    return get_model(name, load_settings().data_directory).manifest


def _finder(conn: Connection, tenant: str) -> Callable[[str], Manifest]:
    find = functools.partial(get_model, data_directory=load_settings().data_directory)
    return active_manifests(conn, tenant, find)


@route_commands.command("test")
def try_rules(
    file: RulesFile,
    path: Annotated[
        Path | None, typer.Argument(exists=True, help="DICOM file or folder of one study")
    ] = None,
    study: Annotated[str, typer.Option(help="id of a stored study, instead of a path")] = "",
    calling: Annotated[str, typer.Option(help="AE title of the sender, with a path")] = "SENDER",
    called: Annotated[str, typer.Option(help="AE title that it called, with a path")] = "RADMETER",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Show of each rule whether it matches a study and what would follow, or why not."""
    if (path is None) is (study == ""):
        raise typer.BadParameter("give either a path or --study")
    with explained_errors():
        rules = read_file(file)
        if path is not None:
            find: Callable[[str], Manifest] = _default_manifest
            seen, arrival = _inspect(path), Arrival(calling, called, datetime.now(UTC))
        else:
            with administration(tenant) as conn:
                facts = load_facts(conn, tenant, study)
                if facts is None:
                    store.get_study(conn, tenant, study)
                    raise CommandFailed("that study was never routed, so nothing is known of it")
                find = _finder(conn, tenant)
            seen, arrival = restore(facts)
        _print_routing(route_by_rules(rules, seen, arrival, find))


def _inspect(path: Path) -> Study:
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    if len(files) > _FILES_MAX:
        raise CommandFailed(f"{path} holds more than {_FILES_MAX} files")
    try:
        return inspect_study([(str(one), one) for one in files]).study
    except InspectError as error:
        raise CommandFailed(str(error)) from error


def _print_routing(routing: Routing) -> None:
    for trace in routing.traces:
        if trace.obstacle is not None:
            typer.echo(f"no   {trace.rule.name}: {obstacle_text(trace.obstacle)}")
            continue
        typer.echo(f"YES  {trace.rule.name}")
        for line in outcome_lines(trace):
            typer.echo(f"       {line}")
    if not routing.matched:
        typer.echo("no rule matches: the study would be rejected with NO_RULE_MATCHED")
    else:
        typer.echo(f"priority: {routing.priority.value}")


@route_commands.command("replay")
def replay(
    file: RulesFile,
    days: Annotated[int, typer.Option(min=1, max=DAYS_MAX, help="how far back")] = 30,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """What a draft would have made of the studies of the last days, and its price; nothing is stored."""
    with explained_errors():
        rules = read_file(file)
    with administration(tenant) as conn:
        find = _finder(conn, tenant)
        _print_replay(run_replay(conn, tenant, rules, days, find, load_settings().time_zone))


def _print_replay(found: Replay) -> None:
    typer.echo(f"{found.studies} studies; {found.left_out} left out, for nothing is kept of them")
    table = Table("rule", "studies")
    for name, count in found.matched.items():
        table.add_row(name, str(count))
    Console().print(table, markup=False)
    typer.echo(f"no rule: {found.unmatched}; a rule, but no model can read it: {found.unfit}")
    for word, counts in (("delivered", found.products), ("in shadow", found.shadows)):
        for product, count in sorted(counts.items()):
            typer.echo(f"{word}: {count} × {product}")
    typer.echo(f"other products than by what is in force: {found.different} studies")
    for cost in found.costs:
        currency = cost.draft.currency
        typer.echo(
            f"{cost.contract}: {cost.draft} {currency}, by what is in force {cost.in_force} {currency}"
        )
