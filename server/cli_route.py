"""`radmeter route`: routing rules: check, store, put in force, test, replay."""

from __future__ import annotations

import difflib
import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.registry import model_names
from pipeline import destinations, rule_store
from pipeline.rule_document import read_rules
from pipeline.rules import RuleSet
from server import tables
from server.cli import explained_errors
from server.cli_admin import TenantOption, administration
from server.installation import FIRST_TENANT
from server.settings import load_settings

route_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"route": route_commands}

RulesFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML document of rules")]


def read_file(file: Path) -> RuleSet:
    """The rules of a file, checked against the installed models."""
    settings = load_settings()
    return read_rules(
        file.read_text("utf-8"), settings.time_zone, known_models=model_names(settings.data_directory)
    )


@route_commands.command("check")
def check(file: RulesFile) -> None:
    """Check a document of rules; each mistake with its line."""
    with explained_errors():
        rules = read_file(file)
    typer.echo(f"{len(rules.rules)} rules, well formed; times in {rules.time_zone.key}")


@route_commands.command("add")
def add(
    file: RulesFile,
    note: Annotated[str, typer.Option(help="what is new, for the list of versions")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Store a document as the next version, not yet in force."""
    with administration(tenant) as conn:
        known = model_names(load_settings().data_directory)
        text = file.read_text("utf-8")
        version = rule_store.add_rule_set(
            conn, tenant, text, author=getpass.getuser(), note=note[:200],
            known_models=known, known_destinations=destinations.names(conn, tenant),
        )  # fmt: skip
    typer.echo(f"version {version}")


@route_commands.command("activate")
def activate(version: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """Put a version in force in place of the one that is."""
    with administration(tenant) as conn:
        known = destinations.names(conn, tenant)
        rule_store.activate(conn, tenant, version, by=getpass.getuser(), known_destinations=known)
    typer.echo(f"version {version} is in force")


@route_commands.command("deactivate")
def deactivate(tenant: TenantOption = FIRST_TENANT) -> None:
    """No rules: every study is offered to the tenant's models."""
    with administration(tenant) as conn:
        rule_store.activate(conn, tenant, None, by=getpass.getuser())
    typer.echo("no rules are in force")


@route_commands.command("list")
def list_versions(tenant: TenantOption = FIRST_TENANT) -> None:
    """The versions, newest first."""
    table = Table("version", "state", "by", "made", "studies", "note")
    with administration(tenant) as conn:
        for one in rule_store.list_rule_sets(conn, tenant):
            made = f"{one.created_at:%Y-%m-%d %H:%M}"
            table.add_row(str(one.version), one.state, one.author, made, str(one.matched), one.note)
    tables.show(table, "There are no rules of its own: manifests of the models decide.")


@route_commands.command("show")
def show(version: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """The rules of a version, one line each."""
    table = Table("rule", "when", "series", "models", "to", "priority")
    with administration(tenant) as conn:
        stored = rule_store.get_rule_set(conn, tenant, version)
    for rule in read_rules(stored.document).rules:
        table.add_row(
            rule.name if rule.enabled else f"{rule.name} (off)",
            rule.when.text if rule.when else "",
            rule.series.text if rule.series else "",
            ", ".join(rule.models) + (" (shadow)" if rule.shadow else ""),
            ", ".join(rule.destinations) or "the peer's own",
            rule.priority.value,
        )
    Console().print(table, markup=False)


@route_commands.command("export")
def export(version: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """The document of a version as it was stored, to stdout."""
    with administration(tenant) as conn:
        typer.echo(rule_store.get_rule_set(conn, tenant, version).document, nl=False)


@route_commands.command("diff")
def diff(older: int, newer: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """What changed between two versions."""
    with administration(tenant) as conn:
        before, after = (
            rule_store.get_rule_set(conn, tenant, one).document.splitlines() for one in (older, newer)
        )
    names = (f"version {older}", f"version {newer}")
    lines = difflib.unified_diff(before, after, *names, lineterm="")
    for line in lines:
        typer.echo(line)
