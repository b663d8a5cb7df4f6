"""Checks of the books, the audit trail and the backups."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from billing.books import ledger, outstanding
from pipeline import audit
from server.checks.finding import Check, Finding, Ground

_TAIL = 200
_STATEMENT_LATE = timedelta(days=10)


def audit_tail(ground: Ground) -> Finding | None:
    """The last events chain on, and the end is where the database says."""
    rows = ground.database.execute(
        """SELECT sequence, tenant, at, event, action, outcome, detail::text AS detail, previous_hash, hash
           FROM audit_event ORDER BY sequence DESC LIMIT %s""",
        (_TAIL,),
    ).fetchall()
    head = audit.head(ground.database)
    end = f"{rows[0]['sequence']}:{bytes(rows[0]['hash']).hex()}" if rows else head
    broken = [row["sequence"] for row in rows if audit.hash_of(row) != bytes(row["hash"])]
    broken += [
        later["sequence"]
        for later, former in itertools.pairwise(rows)
        if bytes(later["previous_hash"]) != bytes(former["hash"])
    ]
    if not broken and end == head:
        return None
    where = f"at event {min(broken)}" if broken else "at its end"
    return Finding(
        f"the chain of the audit trail is broken {where}",
        "somebody changed or removed what was recorded: this is a security incident",
        "keep the database as it is, `radmeter audit verify`, and tell whoever answers for data protection",
    )


def audit_chain(ground: Ground) -> Finding | None:
    problems = audit.find_problems(ground.database)
    if not problems:
        return None
    return Finding(problems[0], "this is a security incident", "radmeter audit verify")


def books(ground: Ground) -> Finding | None:
    for tenant in ground.tenants():
        problems = ledger.check(ground.database, tenant)
        if problems:
            return Finding(
                f"books of {tenant}: {problems[0]}",
                "issue no statement and take no payment until this is understood",
                f"radmeter ledger check --tenant {tenant}",
            )
    return None


def statements_issued(ground: Ground) -> Finding | None:
    now = datetime.now(UTC)
    late = []
    for tenant in ground.tenants():
        late += [
            f"{one.amount} of {one.contract_name} ({tenant})"
            for one in outstanding.accrued_unbilled(ground.database, tenant, now)
            if one.is_over and now - one.period.end_at > _STATEMENT_LATE
        ]
    if not late:
        return None
    return Finding(
        f"{len(late)} periods ended {_STATEMENT_LATE.days} days ago and have no statement: {', '.join(late[:3])}",
        "money that was earned is not asked for",
        "radmeter statement draft CONTRACT, then radmeter statement issue (docs/month_end.md)",
    )


CHECKS = (
    Check("the end of the audit trail is whole", audit_tail),
    Check("statements of ended periods are issued", statements_issued, deep=True),
    Check("the books are sound", books, deep=True),
    Check("the audit trail is whole", audit_chain, deep=True),
)
