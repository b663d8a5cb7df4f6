"""The groups of commands: what each is for, and the modules that are imported when one of its commands is called."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

# What the help says of a group, the module whose GROUPS has it, and the modules that add commands to it.
GROUPS: dict[str, tuple[str, ...]] = {
    "tenant": ("Tenants: hospitals that see only their own.", "cli_admin"),
    "key": ("API keys.", "cli_admin"),
    "audit": ("The audit trail, over all tenants.", "cli_audit"),
    "backup": ("Backups: take, list, verify, prune.", "cli_backup"),
    "contract": ("Contracts: check, simulate, add, list.", "cli_billing"),
    "statement": (
        "Statements: draft, issue, show, export, credit, dispute.",
        "cli_billing",
        "cli_documents",
    ),
    "site": ("Each site's part of a payer's statement: list, export.", "cli_cases"),
    "outcome": ("Verdicts on results: record, settle.", "cli_cases"),
    "close": ("Month end: checklist, waivers, sign-offs; `ledger close` closes.", "cli_close"),
    "destination": ("Destinations: where results go, and how.", "cli_delivery"),
    "delivery": ("Deliveries that were given up.", "cli_delivery"),
    "credit-note": ("Credit notes.", "cli_documents"),
    "dispute": ("Disputed lines of statements.", "cli_documents"),
    "erase": ("Erase a study or a tenant for good, in two steps.", "cli_erase"),
    "export": ("Everything of a tenant, to take away.", "cli_export"),
    "fiscal": ("Tax documents (fapiao) and their numbers.", "cli_fiscal"),
    "dunning": ("Reminders of overdue statements.", "cli_fiscal"),
    "heartbeat": (
        "A made-up study with a known answer through the whole path, never billed.",
        "cli_heartbeat",
    ),
    "keys": ("Keys that seal what is stored.", "cli_keys"),
    "ledger": ("The books: reports, months, check, export.", "cli_ledger"),
    "wallet": ("Prepaid packages: sell, balances, expiry, roll-forward.", "cli_limits"),
    "budget": ("Budgets and quotas: state, alerts, forecast, change.", "cli_limits"),
    "models": (
        "Models: list, show, add, train, evaluate, export.",
        "cli_models",
        "cli_model_versions",
        "cli_health",
    ),
    "objects": ("Where instances and results lie.", "cli_objects"),
    "openid": ("Sign-in by OpenID Connect.", "cli_openid"),
    "payment": ("Payments: receive, allocate, refund, list.", "cli_payments"),
    "bank": ("Our bank's statements: import, match; orders to it: order.", "cli_payments"),
    "payout": ("Payout statements and payouts: draft, issue, approve, show, export.", "cli_payout"),
    "contribution": ("Weights of pools: set, show.", "cli_payout"),
    "peer": ("DICOM peers: who may send, where results go.", "cli_peers"),
    "rails": ("Rails: run, status, retry, collect, address.", "cli_rails"),
    "reconcile": ("Compare a hospital's own count with the bill.", "cli_reconcile"),
    "retention": ("How long images and results stay; legal holds.", "cli_retention"),
    "route": (
        "Routing rules: which models read which studies, and where results go.",
        "cli_route",
        "cli_route_try",
    ),
    "study": ("Studies that wait for more images.", "cli_study"),
    "triton": ("A Triton server that runs the models.", "cli_triton"),
    "usage": ("Usage events: import, export, void, quarantine.", "cli_usage"),
    "user": ("People who sign in to the portal.", "cli_users"),
    "verdicts": ("What readers said of results: export.", "cli_verdicts"),
    "viewer": ("The optional image viewer (OHIF).", "cli_viewer"),
    "work": ("Worklists of other systems that we take work from.", "cli_work"),
}


class Program(TyperGroup):
    """The root of the command line. Importing every command takes seconds; a call pays for its own group alone."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (purpose, *_) in GROUPS.items():
            self.commands[name] = TyperGroup(name=name, help=purpose)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in GROUPS:
            self.commands[args[0]] = _whole_group(args[0])
        return super().resolve_command(ctx, args)


def whole_program(app: typer.Typer) -> Any:
    """The command line with every command of every group, to look at."""
    program: Any = get_command(app)
    program.commands |= {name: _whole_group(name) for name in GROUPS}
    return program


def _whole_group(name: str) -> Any:
    purpose, *names = GROUPS[name]
    modules = [importlib.import_module(f"server.{module}") for module in names]
    parent = typer.Typer()
    parent.add_typer(modules[0].GROUPS[name], name=name, help=purpose)
    program: Any = get_command(parent)
    return program.commands[name]
