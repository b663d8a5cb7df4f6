"""What a check is, and what it finds: wrong, its meaning for patients or money, and what to do now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.database import Connection
from server.errors import CommandFailed
from server.settings import Settings


@dataclass(frozen=True)
class Finding:
    """what: is wrong. means: for patients or money. do: now, with the command."""

    what: str
    means: str
    do: str


@dataclass
class Ground:
    """Where checks look. conn: as the schema's owner, with the first tenant's rows; None while the database is away."""

    settings: Settings
    conn: Connection | None = None
    database_problem: str = ""
    is_one_box: bool = True
    roles_here: frozenset[str] = field(default_factory=frozenset)

    @property
    def database(self) -> Connection:
        if self.conn is None:
            raise CommandFailed(self.database_problem or "the database does not answer")
        return self.conn

    def tenants(self) -> Iterator[str]:
        """The tenants of patients; while one is in hand, its rows are what the connection sees."""
        rows = self.database.execute(
            "SELECT t.tenant FROM tenant t WHERE NOT is_synthetic ORDER BY t.tenant"
        ).fetchall()
        for row in rows:
            self.see(row["tenant"])
            yield str(row["tenant"])

    def see(self, tenant: str) -> None:
        self.database.execute("SELECT set_config('radmeter.tenant', %s, true)", (tenant,))

    def runs_here(self, role: str) -> bool:
        """On one box all do; else those that the register has on this machine."""
        return self.is_one_box or role in self.roles_here


@dataclass(frozen=True)
class Check:
    """One thing looked at; `look` finds nothing where it is well.

    name: what is well then. deep: takes longer, or speaks with machines of others.
    """

    name: str
    look: Callable[[Ground], Finding | None]
    deep: bool = False
    needs_database: bool = True


@dataclass(frozen=True)
class Verdict:
    """skipped: it could not be looked at, because the database is away."""

    name: str
    finding: Finding | None = None
    skipped: bool = False

    @property
    def is_well(self) -> bool:
        return self.finding is None and not self.skipped


def look_at(check: Check, ground: Ground) -> Verdict:
    """A check that cannot look is a finding, not a crash."""
    if check.needs_database and ground.conn is None:
        return Verdict(check.name, skipped=True)
    try:
        return Verdict(check.name, check.look(ground))
    except Exception as error:
        words = str(error).splitlines()[0][:200] if isinstance(error, CommandFailed | OSError) else ""
        return Verdict(
            check.name,
            Finding(
                f"it could not be looked at: {type(error).__name__}{f': {words}' if words else ''}",
                "nobody knows whether this is well",
                "send `radmeter doctor --bundle support.zip` to the makers",
            ),
        )
    finally:
        if ground.conn is not None and not ground.conn.closed:
            ground.conn.rollback()
