"""`radmeter study waiting`, and the doctor's sentence about what asks a person."""

from __future__ import annotations

import psycopg

from server.checks.every import CHECKS
from server.doctor import ground_of, verdicts
from server.settings import load_settings
from tests.server.commands import done


def test_what_asks_a_person_is_listed_first_and_told_by_the_doctor(owner: psycopg.Connection) -> None:
    (check,) = (one for one in CHECKS if one.name == "no studies wait for a person to say process or discard")
    ids = []
    for number, decision in enumerate((
        """{"verdict": "wait", "code": "missing_of_study", "values": {"images": 12}}""",
        """{"verdict": "ask", "code": "ask_missing", "values": {"images": 3, "silence_s": 600}}""",
    )):  # fmt: skip
        with ground_of(load_settings()) as ground:
            (verdict,) = verdicts(ground, deep=False, checks=[check])
        assert verdict.finding is None
        row = owner.execute(
            """INSERT INTO study (tenant, study_instance_uid, ae_title, status)
               VALUES ('default', %s, 'CT1', 'receiving') RETURNING id::text""",
            (f"1.2.{number}",),
        ).fetchone()
        assert row is not None
        ids.append(row[0])
        owner.execute(
            """INSERT INTO arrival (tenant, study_id, ae_title, new_count, decision)
               VALUES ('default', %s, 'CT1', 16, %s)""",
            (row[0], decision),
        )
    with ground_of(load_settings()) as ground:
        (verdict,) = verdicts(ground, deep=False, checks=[check])
    assert verdict.finding is not None
    assert verdict.finding.what == "1 studies wait for a person to say process or discard"
    counted = owner.execute(
        "SELECT value FROM observe_installation() WHERE metric = 'studies_asking' AND value > 0"
    ).fetchall()
    assert counted == [(1.0,)]
    listed = done("study", "waiting")
    assert listed.index(ids[1]) < listed.index(ids[0])
    assert ("waiting for" in listed, "discard?" in listed) == (True, True)
    done("study", "discard", ids[1])
