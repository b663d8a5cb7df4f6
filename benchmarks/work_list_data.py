"""A work list of any length, of made-up people: what a hospital has after years, for tests and benchmarks."""

from __future__ import annotations

from typing import Any

import psycopg

_FAMILIES = (
    "王",
    "李",
    "张",
    "Lindqvist",
    "Okafor",
    "Sato",
    "Martin",
    "Novak",
    "Garcia",
    "Haddad",
    "Kim",
    "O'Neill",
)
_GIVEN = ("小明", "伟", "Jane", "Samuel", "Kenji", "Claire", "Petra", "Luis", "Amina", "Min-jun")

# One in 400 is in progress, 3 % were refused, 1 % failed; one in 50 of the rest is critical. Received over four years,
# as the last of it ended; all of the last three days and one in ten of before is not reviewed.
_STUDIES = """
INSERT INTO study (tenant, study_instance_uid, ae_title, status, reason_code, reason_text, header, priority,
                   critical, worst_category, finding_count, review_state, urgency_lapsed, created_at, updated_at)
SELECT %(tenant)s, '2.25.' || (7000000000 + n), 'CT' || n %% 8, status,
       CASE status WHEN 'rejected' THEN 'SLICES_TOO_THICK' WHEN 'failed' THEN 'INFERENCE_FAILED' END,
       CASE status WHEN 'rejected' THEN 'The slices are 7.5 mm thick; the model reads up to 5 mm.'
                   WHEN 'failed' THEN 'The model did not run.' END,
       jsonb_build_object(
           'patient_name', (%(families)s::text[])[1 + n %% 12] || '^' || (%(given)s::text[])[1 + n / 12 %% 10],
           'patient_id', 'P-' || n / 3, 'patient_sex', (ARRAY['F', 'M'])[1 + n %% 2], 'patient_birth_date', '19580312',
           'accession_number', 'A-' || 2000000 + n, 'study_date', to_char(at, 'YYYYMMDD'), 'description', 'CT chest'),
       CASE WHEN n %% 97 = 0 THEN 'emergency' ELSE 'normal' END,
       CASE WHEN is_critical THEN '{lung_rads_4b}'::text[] ELSE '{}' END,
       CASE WHEN status <> 'delivered' THEN NULL WHEN is_critical THEN '4B' ELSE (n %% 3 + 1)::text END,
       CASE WHEN status = 'delivered' THEN n %% 4 + is_critical::integer END,
       CASE WHEN status = 'delivered' AND n > %(count)s / 500 AND n %% 10 > 0 THEN 'reviewed' ELSE 'not_reviewed' END,
       at < now() - interval '7 days', at, at
FROM (SELECT n, now() - n * interval '4 years' / %(count)s AS at,
             n %% 50 = 7 AND n %% 400 <> 0 AND n %% 100 > 3 AS is_critical,
             CASE WHEN n %% 400 = 0 THEN 'inferred' WHEN n %% 100 < 3 THEN 'rejected' WHEN n %% 100 = 3 THEN 'failed'
             ELSE 'delivered' END AS status
      FROM generate_series(1, %(count)s) AS n) AS made
"""


def fill_work_list(owner: psycopg.Connection[Any], tenant: str, count: int) -> None:
    """`count` studies of `tenant`, most of them read; statistics as after the database's own analysis."""
    owner.execute(
        _STUDIES, {"tenant": tenant, "count": count, "families": list(_FAMILIES), "given": list(_GIVEN)}
    )
    owner.execute("VACUUM ANALYZE study")
