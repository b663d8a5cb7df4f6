"""Guard: before a study is analysed, whether its limits and packages let it run; each no has its explanation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import psycopg

from billing.contracts import store
from billing.contracts.limits_terms import Package
from billing.contracts.store import StoredContract
from billing.guarding import limits, wallet
from billing.guarding.limit_worth import Work
from billing.guarding.limits import LimitState
from billing.metering.usage import RESULT_METER
from billing.queries import Row, execute, first_row, rows

Connection = psycopg.Connection[Any]


class Answer(StrEnum):
    RUN = "run"
    RUN_FLAGGED = "run_flagged"
    """A limit is reached and the work is urgent: it runs, and its usage says so."""
    WAIT = "wait"
    """A limit is reached and the work can wait until it is raised or its time turns."""


@dataclass(frozen=True)
class MayRun:
    """limit_id: the limit or package that speaks against it; empty where none does. explanation: a sentence.

    turns_at: when the limit begins anew by itself, UTC; None where it does not.
    """

    answer: Answer
    limit_id: str = ""
    explanation: str = ""
    contract_id: int | None = None
    turns_at: datetime | None = None


def may_run(
    conn: Connection,
    tenant: str,
    product: str,
    *,
    is_urgent: bool,
    now: datetime,
    dimensions: Mapping[str, str] | None = None,
    under_way: Sequence[Work] = (),
) -> MayRun:
    """Whether one more result of the product may be made now. Without a contract for it nothing holds it back.

    under_way: what else may be made and is not delivered yet, of whatever product. Who lets work run by the answer
    holds `lock_for_letting_run` from before it read that until the work is among it.
    """
    stored = _contract_for(conn, tenant, product, now)
    if stored is None:
        return MayRun(Answer.RUN)
    others = [one for one in under_way if _is_priced_by(conn, tenant, stored, one, now)]
    one_more = Work(product, dimensions or {})
    for obstacle in obstacles(conn, tenant, stored, one_more, others, now, policy="wait"):
        return _answer(obstacle, is_urgent)
    return MayRun(Answer.RUN, contract_id=stored.contract_id)


def note(
    conn: Connection,
    tenant: str,
    study_ref: str,
    revision: int,
    product: str,
    found: MayRun,
    *,
    now: datetime,
) -> None:
    """Store what a limit did to a study, once: that it waits, that it ran flagged, that it went on."""
    key = {"tenant": tenant, "study_ref": study_ref, "revision": revision, "product": product}
    last = first_row(conn, "last_run_decision", key)
    before = (last["verdict"], last["limit_id"]) if last else (Answer.RUN, "")
    if before == (found.answer, found.limit_id) or found.contract_id is None:
        return
    values = {
        **key,
        "contract_id": found.contract_id,
        "verdict": found.answer,
        "limit_id": found.limit_id,
        "explanation": found.explanation or "No limit is reached any more: it goes on.",
        "now": now,
    }
    execute(conn, "insert_run_decision", values)


def flag_of(conn: Connection, tenant: str, study_ref: str, revision: int, product: str) -> str | None:
    """The limit that was reached when the study ran; None where it ran within its limits."""
    key = {"tenant": tenant, "study_ref": study_ref, "revision": revision, "product": product}
    last = first_row(conn, "last_run_decision", key)
    return str(last["limit_id"]) if last and last["verdict"] == Answer.RUN_FLAGGED else None


def list_decisions(
    conn: Connection, tenant: str, *, study_ref: str | None = None, limit: int = 200
) -> list[Row]:
    """What limits did, latest first."""
    return rows(conn, "run_decisions", {"tenant": tenant, "study_ref": study_ref, "limit": limit})


@dataclass(frozen=True)
class Obstacle:
    """What has no room for one more. turns_at: when it begins anew by itself, UTC."""

    limit_id: str
    sentence: str
    contract_id: int
    turns_at: datetime | None


def obstacles(
    conn: Connection,
    tenant: str,
    stored: StoredContract,
    one_more: Work,
    others: Sequence[Work],
    now: datetime,
    *,
    policy: str,
) -> Iterator[Obstacle]:
    """Limits and packages of this policy that speak against one more. others: what runs beside it."""
    terms = stored.contract.limits
    for limit in terms.limits:
        if limit.when_reached == policy and limit.covers(one_more.said):
            state = limits.state_of(conn, tenant, stored, limit, now=now, work=[*others, one_more])
            if state.is_exceeded:
                running = sum(one.count for one in others if limit.covers(one.said))
                yield Obstacle(limit.id, _sentence(state, running), stored.contract_id, state.window.end_at)
    waiting = [one for one in terms.taken_for(one_more.product) if one.when_empty == policy]
    if waiting and not any(_has_left(conn, tenant, stored, one, one_more, others, now) for one in waiting):
        sentence = f"The prepaid package {waiting[0].id} of contract {stored.contract.name} is used up."
        yield Obstacle(waiting[0].id, sentence, stored.contract_id, None)


def _is_priced_by(conn: Connection, tenant: str, stored: StoredContract, work: Work, now: datetime) -> bool:
    if work.product not in stored.contract.products:
        return False
    found = _contract_for(conn, tenant, work.product, now)
    return found is not None and found.contract_id == stored.contract_id


def _has_left(
    conn: Connection,
    tenant: str,
    stored: StoredContract,
    package: Package,
    one_more: Work,
    others: Sequence[Work],
    now: datetime,
) -> bool:
    """Whether the balance reaches for what is under way and one more. Who is not known has nothing to wait for."""
    owner = _owner(package, one_more)
    if owner is None:
        return True
    left = wallet.balance(conn, tenant, stored.contract_id, package, owner, at=now)
    taken = [
        one for one in (*others, one_more) if one.product in package.takes and _owner(package, one) == owner
    ]
    return left >= sum((package.takes[one.product] * one.count for one in taken), Decimal(0))


def _owner(package: Package, work: Work) -> str | None:
    return wallet.CONTRACT_OWNER if package.owner == "contract" else work.dimensions.get("member")


def _sentence(state: LimitState, running: int) -> str:
    limit = state.limit
    scope = ", ".join(f"{name} {value}" for name, value in limit.scope.items())
    kind = "budget" if limit.in_money else "quota"
    under_way = f" and {running} are under way" if running else ""
    what = "is reached" if state.is_reached else "has no room for one more"
    return (
        f"The {kind} {limit.id} of contract {state.contract_name}{f' for {scope}' if scope else ''} {what}: "
        f"{state.show(state.used)} of {state.show(state.bound)} in this {limit.per} are used{under_way}."
    )


def _answer(obstacle: Obstacle, is_urgent: bool) -> MayRun:
    at = f"{obstacle.turns_at:%Y-%m-%d %H:%M} UTC" if obstacle.turns_at else ""
    if is_urgent:
        answer, then = Answer.RUN_FLAGGED, "It is urgent and runs all the same."
    elif at:
        answer, then = (
            Answer.WAIT,
            f"It waits until the limit is raised or begins anew at {at}.",
        )
    else:
        answer, then = Answer.WAIT, "It waits until the limit is raised or more is bought."
    return MayRun(
        answer, obstacle.limit_id, f"{obstacle.sentence} {then}", obstacle.contract_id, obstacle.turns_at
    )


def _contract_for(conn: Connection, tenant: str, product: str, now: datetime) -> StoredContract | None:
    for row in rows(conn, "versions_of_products", {"tenant": tenant, "products": [product]}):
        if row["meter"] == RESULT_METER and row["effective_at"] <= now and now < row["ends_at"]:
            return store.contract_at(conn, tenant, row["contract_id"], now)
    return None
