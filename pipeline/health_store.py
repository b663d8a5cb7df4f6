"""Windows of the counted days, and the figures, alarms and pauses that came of them, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from pipeline.database import Connection
from pipeline.health_figures import Health, Key, Window, add_up
from pipeline.health_rules import Alarm

# A week holds each weekday once; where too little came in it, four of them.
WINDOW_DAYS = (7, 28)
STUDIES_MIN = 50
REFERENCE_DAYS_MIN = 14
REFERENCE_STUDIES = 200
REFERENCE_DAYS_MAX = 56
SHOWN_DAYS = 90

Row = dict[str, Any]


def keys(conn: Connection, tenant: str, *, last: date, product: str | None = None) -> list[Key]:
    """Every version at every site of which something was counted in the last 90 days."""
    rows = conn.execute(
        """SELECT DISTINCT product, model_version, site FROM model_health_day
           WHERE tenant = %(tenant)s AND day BETWEEN %(first)s AND %(last)s
             AND (%(product)s::text IS NULL OR product = %(product)s)
           ORDER BY product, model_version DESC, site""",
        {"tenant": tenant, "first": last - timedelta(days=SHOWN_DAYS), "last": last, "product": product},
    )
    return [Key(row["product"], row["model_version"], row["site"]) for row in rows]


def health_of(conn: Connection, tenant: str, key: Key, *, last: date) -> Health:
    """The present window up to `last` and the reference before it."""
    now = _present(conn, tenant, key, last)
    return Health(key, now, reference_of(conn, tenant, key, before=now.first))


def _present(conn: Connection, tenant: str, key: Key, last: date) -> Window:
    """The shortest window with enough studies, else the longest."""
    for days in WINDOW_DAYS:
        window = window_of(conn, tenant, key, last - timedelta(days=days - 1), last)
        if window.attempts >= STUDIES_MIN:
            break
    return window


def window_of(conn: Connection, tenant: str, key: Key, first: date, last: date) -> Window:
    """The counts of these days, both ends included."""
    rows = conn.execute(
        """SELECT dimension, value, sum(count)::int AS count FROM model_health_day
           WHERE tenant = %s AND product = %s AND model_version = %s AND site = %s AND day BETWEEN %s AND %s
           GROUP BY dimension, value""",
        (tenant, key.product, key.version, key.site, first, last),
    )
    return Window(first, last, add_up((row["dimension"], row["value"], row["count"]) for row in rows))


def reference_of(conn: Connection, tenant: str, key: Key, *, before: date) -> Window | None:
    """The first days of this version at this site: two weeks or more, until 200 studies or eight weeks are full.

    None while that time is not over before the present window begins, or too few came in it.
    """
    days = daily(conn, tenant, key, first=date.min, last=before - timedelta(days=1), dimension="status")
    if not days:
        return None
    first = days[0][0]
    total, last = 0, None
    for day, counts in days:
        if total >= REFERENCE_STUDIES and (day - first).days >= REFERENCE_DAYS_MIN:
            break
        if (day - first).days >= REFERENCE_DAYS_MAX:
            break
        total, last = total + sum(counts.values()), day
    assert last is not None
    last = max(last, first + timedelta(days=REFERENCE_DAYS_MIN - 1))
    is_full = total >= REFERENCE_STUDIES or (before - first).days >= REFERENCE_DAYS_MAX
    if not is_full or total < STUDIES_MIN or last >= before:
        return None
    return window_of(conn, tenant, key, first, last)


def daily(
    conn: Connection, tenant: str, key: Key, *, first: date, last: date, dimension: str
) -> list[tuple[date, dict[str, int]]]:
    """The counts of one dimension, day by day; days without any are left out."""
    found: dict[date, dict[str, int]] = {}
    for row in conn.execute(
        """SELECT day, value, count FROM model_health_day
           WHERE tenant = %s AND product = %s AND model_version = %s AND site = %s AND dimension = %s
             AND day BETWEEN %s AND %s ORDER BY day""",
        (tenant, key.product, key.version, key.site, dimension, first, last),
    ):
        found.setdefault(row["day"], {})[row["value"]] = row["count"]
    return list(found.items())


def save_figures(conn: Connection, tenant: str, healths: Sequence[Health], *, now: datetime) -> None:
    """Replace all figures of a tenant."""
    conn.execute("DELETE FROM model_figure WHERE tenant = %s", (tenant,))
    with conn.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO model_figure (tenant, product, model_version, site, metric, of_what, value, computed_at)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
            [
                (tenant, one.key.product, one.key.version, one.key.site, metric, of_what, value, now)
                for one in healths
                for metric, of_what, value in one.metrics()
            ],
        )


def save_alarms(
    conn: Connection, tenant: str, key: Key, alarms: Sequence[Alarm], *, now: datetime
) -> list[Alarm]:
    """Open what is new, bring the sentence of what goes on up to date, clear what is over; returns the new ones."""
    place = (tenant, key.product, key.version, key.site)
    open_rows = conn.execute(
        """SELECT id, rule FROM model_alarm
           WHERE tenant = %s AND product = %s AND model_version = %s AND site = %s AND cleared_at IS NULL FOR UPDATE""",
        place,
    ).fetchall()
    known = {row["rule"]: row["id"] for row in open_rows}
    found = {alarm.rule: alarm for alarm in alarms}
    for rule, number in known.items():
        if rule in found:
            conn.execute(
                "UPDATE model_alarm SET sentence = %s WHERE tenant = %s AND id = %s",
                (found[rule].sentence, tenant, number),
            )
        else:
            conn.execute(
                "UPDATE model_alarm SET cleared_at = %s WHERE tenant = %s AND id = %s", (now, tenant, number)
            )
    new = [alarm for rule, alarm in found.items() if rule not in known]
    for alarm in new:
        conn.execute(
            """INSERT INTO model_alarm (tenant, product, model_version, site, rule, sentence, raised_at)
               VALUES (%s, %s, %s, %s, %s, %s, %s)""",
            (*place, alarm.rule, alarm.sentence, now),
        )
    return new


def clear_others(conn: Connection, tenant: str, known: Sequence[Key], *, now: datetime) -> None:
    """Clear the alarms of everything but these: of versions that are at work no more."""
    conn.execute(
        """UPDATE model_alarm a SET cleared_at = %s
           WHERE a.tenant = %s AND a.cleared_at IS NULL AND NOT EXISTS (
               SELECT 1 FROM unnest(%s::text[], %s::text[], %s::text[]) AS k (product, version, site)
               WHERE k.product = a.product AND k.version = a.model_version AND k.site = a.site)""",
        (now, tenant, [k.product for k in known], [k.version for k in known], [k.site for k in known]),
    )


def recent_alarms(conn: Connection, tenant: str, product: str, *, limit: int = 50) -> list[Row]:
    """Open ones first, then those that are over, newest first."""
    return conn.execute(
        """SELECT model_version, site, rule, sentence, raised_at, cleared_at FROM model_alarm
           WHERE tenant = %s AND product = %s
           ORDER BY cleared_at IS NOT NULL, raised_at DESC, id DESC LIMIT %s""",
        (tenant, product, limit),
    ).fetchall()
