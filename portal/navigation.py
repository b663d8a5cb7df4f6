"""The pages in the side bar, and where a person lands."""

from __future__ import annotations

from portal.context import (
    EDITS_USERS,
    RUNS_MODELS,
    SEES_AUDIT,
    SEES_MODELS,
    SEES_MONEY,
    SEES_PAYOUTS,
    SEES_PEERS,
    SEES_REPORTS,
    SEES_ROUTING,
    SEES_STATEMENTS,
    SEES_STUDIES,
    Identity,
)

# What a person must be allowed to, path, word, page; in their order.
_PAGES = (
    (SEES_STUDIES, "/", "Work list", "worklist"),
    (SEES_STUDIES, "/upload", "Upload", "upload"),
    (SEES_REPORTS, "/reports", "Reports", "reports"),
    (SEES_MONEY, "/usage", "Usage", "usage"),
    (SEES_STATEMENTS, "/overview", "Overview", "overview"),
    (SEES_MONEY, "/contracts", "Contracts", "contracts"),
    (SEES_MONEY, "/wallets", "Prepaid", "wallets"),
    (SEES_STATEMENTS, "/statements", "Statements", "statements"),
    (SEES_MONEY, "/payments", "Payments", "payments"),
    (SEES_PAYOUTS, "/payouts", "Payouts", "payouts"),
    (SEES_MONEY, "/books", "Books", "books"),
    (SEES_PEERS, "/peers", "Peers", "peers"),
    (SEES_PEERS, "/destinations", "Destinations", "destinations"),
    (SEES_PEERS, "/retention", "Retention", "retention"),
    (SEES_ROUTING, "/routing", "Routing", "routing"),
    (SEES_AUDIT, "/audit", "Audit trail", "audit"),
    (EDITS_USERS, "/users", "Users", "users"),
    (EDITS_USERS, "/keys", "API keys", "keys"),
    (SEES_MODELS, "/models", "Models", "models"),
    (RUNS_MODELS, "/models/health", "Model health", "model_health"),
)


def pages_of(identity: Identity) -> list[tuple[str, str, str]]:
    """(path, word, page) of the pages that this person's role includes."""
    return [
        (path, word, page)
        for right, path, word, page in _PAGES
        # who has the work list finds the reports there
        if identity.may(right) and not (page == "reports" and identity.may(SEES_STUDIES))
    ]


def home_of(identity: Identity) -> str:
    """Where a person lands after signing in."""
    return pages_of(identity)[0][0]
