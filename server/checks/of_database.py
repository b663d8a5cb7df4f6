"""Checks of the database: is it there, is it ours, does it keep tenants apart, has it room for us."""

from __future__ import annotations

from pipeline.database import APP_ROLE
from pipeline.nodes import CLOCK_OFF_MAX_S, list_nodes
from pipeline.schema_state import schema_state
from server.checks.finding import Check, Finding, Ground
from server.node_pulse import measured_clock

_VERSION_MIN = 15
_LOCKED_S, _IDLE_IN_TRANSACTION_S, _LAG_S = 30, 300, 60
_CONNECTIONS_LEFT_MIN = 10
_KEPT_WAL_MAX = 5 << 30
_NOTHING_MOVES = "studies are taken in or refused (A700H), and no result leaves until it is back"


def answers(ground: Ground) -> Finding | None:
    if ground.conn is None:
        return Finding(
            ground.database_problem or "the database does not answer",
            _NOTHING_MOVES,
            "start PostgreSQL, or mend RADMETER_DATABASE_URL (host, name, password); one box: look at the end of "
            "postgres/log in the data directory and at free room",
        )
    version = ground.conn.info.server_version // 10_000
    if version < _VERSION_MIN:
        return Finding(
            f"PostgreSQL {version} is older than {_VERSION_MIN}",
            "migrations will fail at the next upgrade",
            "upgrade PostgreSQL before radmeter",
        )
    return None


def schema(ground: Ground) -> Finding | None:
    state = schema_state(ground.settings.database_url)
    if state.problem is not None:
        do = (
            "radmeter migrate"
            if state.missing and not state.too_new
            else "start the version that migrated it"
        )
        return Finding(state.problem, "processes of this version do not serve", f"{do}; see docs/upgrades.md")
    if state.unknown:
        return Finding(
            f"the schema is newer than this version by {len(state.unknown)} migrations that only add",
            "nothing: an upgrade is rolling through, or this process was forgotten in one",
            "upgrade what is left of the old version",
        )
    return None


def keeps_tenants_apart(ground: Ground) -> Finding | None:
    """Row-level security is on for each table with a tenant, and holds for the role that serves."""
    conn = ground.database
    means = "one hospital may see the patients of another: stop the portal and the gateways"
    role = conn.execute(
        "SELECT rolsuper OR rolbypassrls AS passes FROM pg_roles WHERE rolname = %s", (APP_ROLE,)
    ).fetchone()
    if role is None:
        return Finding(
            f"there is no role {APP_ROLE}", "nothing serves", "radmeter migrate, with the owner's URL"
        )
    if role["passes"]:
        do = f"ALTER ROLE {APP_ROLE} NOSUPERUSER NOBYPASSRLS"
        return Finding(f"the role {APP_ROLE} passes by row-level security", means, do)
    open_tables = conn.execute(
        """SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
           WHERE n.nspname IN ('public', 'billing') AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity
             AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid)) ORDER BY 1"""
    ).fetchall()
    if open_tables:
        names = ", ".join(row["name"] for row in open_tables[:5])
        return Finding(
            f"no policy protects {names}",
            means,
            "ALTER TABLE … ENABLE ROW LEVEL SECURITY, and ask who changed it",
        )
    conn.execute("SELECT set_config('role', %s, true)", (APP_ROLE,))
    conn.execute("SELECT set_config('radmeter.tenant', '', true)")
    seen = conn.execute("SELECT count(*) AS n FROM (SELECT 1 FROM tenant LIMIT 1) one").fetchone()
    if seen is not None and seen["n"]:
        return Finding(
            f"{APP_ROLE} sees rows of tenants without being one", means, "ask who changed the policies"
        )
    return None


def has_connections_left(ground: Ground) -> Finding | None:
    row = ground.database.execute(
        """SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                  - count(*) AS left FROM pg_stat_activity WHERE backend_type = 'client backend'"""
    ).fetchone()
    assert row is not None
    if row["left"] >= _CONNECTIONS_LEFT_MIN:
        return None
    return Finding(
        f"{row['left']} connections are left in the database",
        "processes that start will not get in, and studies are refused (A700H)",
        "raise max_connections, or run fewer workers and receivers (docs/operations.md, PostgreSQL)",
    )


def nobody_blocks(ground: Ground) -> Finding | None:
    row = ground.database.execute(
        """SELECT count(*) FILTER (WHERE wait_event_type = 'Lock'
                    AND clock_timestamp() - query_start > make_interval(secs => %s)) AS waiting,
                  count(*) FILTER (WHERE state LIKE 'idle in transaction%%'
                    AND clock_timestamp() - state_change > make_interval(secs => %s)) AS idle,
                  (SELECT min(blocker) FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) AS blocker
                    WHERE w.wait_event_type = 'Lock'
                      AND clock_timestamp() - w.query_start > make_interval(secs => %s)) AS blocker
           FROM pg_stat_activity""",
        (_LOCKED_S, _IDLE_IN_TRANSACTION_S, _LOCKED_S),
    ).fetchone()
    assert row is not None
    if row["waiting"]:
        return Finding(
            f"{row['waiting']} sessions have waited for a lock for more than {_LOCKED_S} s",
            "steps of studies stand still behind it",
            f"look what pid {row['blocker']} does in pg_stat_activity, then end it with pg_terminate_backend",
        )
    if row["idle"]:
        return Finding(
            f"{row['idle']} sessions sit in an open transaction for more than {_IDLE_IN_TRANSACTION_S // 60} minutes",
            "tables grow, and a migration waits for ever",
            "end them: SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'",
        )
    return None


def replicas_follow(ground: Ground) -> Finding | None:
    row = ground.database.execute(
        """SELECT (SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication) AS lag_s,
                  (SELECT slot_name FROM pg_replication_slots WHERE NOT active AND NOT pg_is_in_recovery()
                     AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > %s LIMIT 1) AS slot""",
        (_KEPT_WAL_MAX,),
    ).fetchone()
    assert row is not None
    if row["slot"] is not None:
        return Finding(
            f"the replication slot {row['slot']} keeps more than {_KEPT_WAL_MAX >> 30} GiB and nobody reads it",
            "the database's disk fills, and then nothing is received",
            f"bring its reader back, or SELECT pg_drop_replication_slot('{row['slot']}')",
        )
    if row["lag_s"] is not None and row["lag_s"] > _LAG_S:
        return Finding(
            f"a replica is {row['lag_s']:.0f} s behind",
            "what was acknowledged in these seconds is lost if the primary is lost now",
            "look at the replica's disk and network",
        )
    return None


def clocks_agree(ground: Ground) -> Finding | None:
    here = measured_clock(ground.database)
    off = [
        f"{one.name} by {one.clock_ahead_s:+.0f} s" for one in list_nodes(ground.database) if one.clock_is_off
    ]
    if abs(here) > CLOCK_OFF_MAX_S:
        off.insert(0, f"this machine by {here:+.0f} s")
    if not off:
        return None
    return Finding(
        f"clocks differ from the database's: {', '.join(off[:5])}",
        "times in reports and messages are wrong there, jobs run early or late; nothing is charged twice",
        "set the clock there: `timedatectl set-ntp true` or `chronyc makestep`; in a cluster on the node's host",
    )


CHECKS = (
    Check("the database answers", answers, needs_database=False),
    Check("the schema is that of this version", schema),
    Check("row-level security keeps tenants apart", keeps_tenants_apart),
    Check("the database has connections left", has_connections_left),
    Check("no session blocks others", nobody_blocks),
    Check("replicas of the database follow", replicas_follow),
    Check("clocks agree", clocks_agree),
)
