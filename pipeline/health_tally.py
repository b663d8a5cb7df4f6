"""Counts of one day: what each version of a product did at each site, read from results, usage events and study facts.

Everything is (dimension, value) → number, so that days can be added; nothing names a study or a patient.

    status            completed, refused, failed          refusal   the code of each refusal
    score[:label]     tenth of the best score             positive  yes, no
    thickness, slices, kernel, vendor                     latency:step   upper edge of the bucket in seconds
    sex, age          studies, and with _positive, _accepted, _rejected
    verdict           accepted, rejected, none            said_accepted, said_rejected   tenth of the score
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from models.evaluation.subgroups import band
from pipeline.database import Connection
from pipeline.health_figures import Key, latency_bucket, score_bin
from pipeline.model_pause import MODEL_PAUSED
from pipeline.patient_age import age_of

Row = dict[str, Any]
Count = tuple[str, str]
VALUE_LENGTH_MAX = 64
# Headers come from outside: what comes after this many different values of a day is counted as other.
VALUES_MAX = 20
OTHER = "other"
_AGE_YEARS_MAX = 131
_SLICES = ((50, "under 50"), (150, "50 to 149"), (400, "150 to 399"), (1000, "400 to 999"))

_STEPS = {"study_decoded": "decode", "study_encoded": "encode", "study_delivered": "deliver"}

# Each result of the day with its site and with what the headers of its series said. Peers for tests do not count.
_RESULTS = """
    SELECT r.product, r.model_version, coalesce(p.site, '') AS site, r.timing_s,
           r.answer->'classifications' AS statements,
           (SELECT max((finding->>'score')::float) FROM jsonb_array_elements(r.findings) finding) AS best_score,
           r.answer->'structures' AS structures,
           (SELECT jsonb_object_agg(e.event, e.duration_ms) FROM study_event e
             WHERE e.tenant = r.tenant AND e.study_id = r.study_id AND e.revision = r.revision
               AND e.event IN ('study_decoded', 'study_encoded', 'study_delivered')
               AND e.duration_ms IS NOT NULL) AS steps_ms,
           s.header->>'patient_sex' AS sex, s.header->>'patient_birth_date' AS birth_date,
           s.header->>'patient_age' AS age, s.header->>'study_date' AS study_date,
           (SELECT series FROM jsonb_array_elements(f.facts->'series') series
             WHERE series->>'series_instance_uid' = (
                   SELECT choice->>'series_instance_uid' FROM jsonb_array_elements(s.route) choice
                   WHERE choice->>'product' = r.product LIMIT 1) LIMIT 1) AS series
    FROM result r
    JOIN study s ON s.tenant = r.tenant AND s.id = r.study_id
    LEFT JOIN peer p ON p.tenant = s.tenant AND p.ae_title = s.ae_title
    LEFT JOIN study_facts f ON f.tenant = s.tenant AND f.study_id = s.id
    WHERE r.tenant = %(tenant)s AND r.created_at >= %(since)s AND r.created_at < %(until)s
      AND NOT coalesce(p.is_test, false)"""

# Each refusal and failure of the day. One that came before a version was chosen counts for the version that ran last.
_ENDS = """
    SELECT e.kind, e.product, coalesce(e.dimensions->>'site', '') AS site,
           coalesce(e.evidence->>'reason_code', '') AS code,
           coalesce(e.dimensions->>'model_version', (
               SELECT r.model_version FROM result r
               WHERE r.tenant = e.tenant AND r.product = e.product AND r.created_at < %(until)s
               ORDER BY r.created_at DESC LIMIT 1), '') AS model_version
    FROM billing.usage_event e
    WHERE e.tenant = %(tenant)s AND e.kind IN ('refused', 'failed') AND e.occurred_at >= %(since)s
      AND e.occurred_at < %(until)s AND coalesce(e.dimensions->>'purpose', '') <> 'test_peer'"""

# Each verdict of the day that stands, with the result that it is about: the last one of its case delivered before it.
_VERDICTS = """
    SELECT o.dimensions->>'verdict' AS verdict, r.product, r.model_version, coalesce(p.site, '') AS site,
           r.answer->'classifications' AS statements,
           (SELECT max((finding->>'score')::float) FROM jsonb_array_elements(r.findings) finding) AS best_score,
           s.header->>'patient_sex' AS sex, s.header->>'patient_birth_date' AS birth_date,
           s.header->>'patient_age' AS age, s.header->>'study_date' AS study_date
    FROM billing.current_usage o
    JOIN LATERAL (
        SELECT d.study_ref, d.evidence FROM billing.usage_event d
        WHERE d.tenant = o.tenant AND d.case_key = o.case_key AND d.product = o.product
          AND d.kind = 'result_delivered' AND d.occurred_at <= o.occurred_at
        ORDER BY d.occurred_at DESC LIMIT 1) delivered ON true
    JOIN result r ON r.tenant = o.tenant AND r.product = o.product
        AND r.study_id = CASE WHEN delivered.study_ref ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                              THEN delivered.study_ref::uuid END
        AND r.revision = (delivered.evidence->>'revision')::int
    JOIN study s ON s.tenant = r.tenant AND s.id = r.study_id
    LEFT JOIN peer p ON p.tenant = s.tenant AND p.ae_title = s.ae_title
    WHERE o.tenant = %(tenant)s AND o.kind = 'outcome' AND o.reason_code <> 'voided' AND o.occurred_at >= %(since)s
      AND o.occurred_at < %(until)s"""


def tally(conn: Connection, tenant: str, day: date) -> int:
    """Count one day anew, whatever was counted of it before; returns how many studies it had."""
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    bounds = {"tenant": tenant, "since": since, "until": since + timedelta(days=1)}
    counts: dict[Key, Counter[Count]] = defaultdict(Counter)
    for query, counted in ((_RESULTS, of_result), (_ENDS, of_end), (_VERDICTS, of_verdict)):
        for row in conn.execute(query, bounds):
            counts[Key(_product_of(row), row["model_version"], row["site"])].update(counted(row))
    conn.execute("DELETE FROM model_health_day WHERE tenant = %s AND day = %s", (tenant, day))
    for key, found in counts.items():
        _insert(conn, tenant, day, key, _bounded(found))
    return sum(n for found in counts.values() for (name, _), n in found.items() if name == "status")


def _product_of(row: Row) -> str:
    """A version in shadow has a result as product@version: it is a version of its product like the others."""
    return str(row["product"]).split("@")[0]


def _insert(conn: Connection, tenant: str, day: date, key: Key, found: Counter[Count]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO model_health_day (tenant, day, product, model_version, site, dimension, value, count)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
            [
                (tenant, day, key.product, key.version, key.site, dimension, value, count)
                for (dimension, value), count in found.items()
            ],
        )


def _bounded(found: Counter[Count]) -> Counter[Count]:
    """The most frequent values of each dimension; the rest as one."""
    bounded: Counter[Count] = Counter()
    seen: Counter[str] = Counter()
    for (dimension, value), count in found.most_common():
        # The buckets and tenths are ours, and every one of them is needed.
        is_ours = dimension.split(":")[0] in ("latency", "score")
        seen[dimension] += 1
        kept = value if is_ours or seen[dimension] <= VALUES_MAX else OTHER
        bounded[(dimension, kept)] += count
    return bounded


def of_result(row: Row) -> Iterator[Count]:
    """What one result counts for."""
    yield "status", "completed"
    best, statements = row["best_score"], row["statements"] or []
    # A model that draws structures scores nothing; one that found nothing has said so.
    speaks = bool(statements) or not row["structures"]
    if statements:
        for one in statements[:VALUES_MAX]:
            yield f"score:{_short(one['label'])}", score_bin(float(one["probability"]))
    elif speaks:
        yield "score", score_bin(best)
    if speaks:
        yield "positive", "yes" if is_positive(row) else "no"
    # The steps of the study are those of all its models together.
    steps = {_STEPS[event]: milliseconds / 1000 for event, milliseconds in (row["steps_ms"] or {}).items()}
    for step, seconds in (row["timing_s"] | steps).items():
        yield f"latency:{_short(step)}", latency_bucket(float(seconds))
    yield from _inputs(row["series"])
    for fact, value in groups_of(row):
        yield fact, value
        if speaks and is_positive(row):
            yield f"{fact}_positive", value


def is_positive(row: Row) -> bool:
    """Whether the result shows a finding or a statement above its threshold."""
    return row["best_score"] is not None or any(one["is_positive"] for one in row["statements"] or [])


def _inputs(series: Row | None) -> Iterator[Count]:
    """What the headers of the series say. Thickness stands for spacing, which the facts do not hold."""
    if series is None:
        return
    yield "kernel", _short(series.get("convolution_kernel", "")) or "not stated"
    yield "vendor", _short(series.get("manufacturer", "")) or "not stated"
    images = series.get("images", [])
    # Count, Image Type, rows, columns, frames, orientation, thickness: see `study_facts`.
    number = sum(int(kind[0]) * max(1, int(kind[4] or 1)) for kind in images)
    yield "slices", next((name for limit, name in _SLICES if number < limit), "1000 and more")
    thickness = max(images, key=lambda kind: int(kind[0]))[6] if images else None
    yield "thickness", band("slice_thickness_mm", float(thickness)) if thickness else "not stated"


def of_end(row: Row) -> Iterator[Count]:
    """What one refusal or failure counts for; that a model was paused tells nothing of the model."""
    if row["code"] != MODEL_PAUSED:
        yield "status", row["kind"]
    if row["kind"] == "refused":
        yield "refusal", _short(row["code"]) or "not stated"


def of_verdict(row: Row) -> Iterator[Count]:
    """What one verdict counts for; scores of results without a finding say nothing of their verdict."""
    verdict = row["verdict"]
    yield "verdict", verdict
    if verdict not in ("accepted", "rejected"):
        return
    for fact, value in groups_of(row):
        yield f"{fact}_{verdict}", value
    if is_positive(row):
        statements = [float(one["probability"]) for one in row["statements"] or [] if one["is_positive"]]
        yield f"said_{verdict}", score_bin(max(statements) if statements else row["best_score"])


def groups_of(row: Row) -> Iterator[Count]:
    """Sex and age band, as far as the headers tell."""
    sex = (row["sex"] or "").strip().upper()[:1]
    yield "sex", sex if sex in ("F", "M", "O") else "not stated"
    age = age_of(row["age"] or "", row["birth_date"] or "", row["study_date"] or "")
    if age is None or age >= _AGE_YEARS_MAX:
        yield "age", "not stated"
    else:
        yield "age", band("age_years", age)


def _short(text: str) -> str:
    """Printable and bounded; the table holds no more."""
    return "".join(character for character in str(text).strip() if character.isprintable())[:VALUE_LENGTH_MAX]
