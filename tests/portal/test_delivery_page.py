"""Where results went: each object and destination with what is known, and the button that sends again."""

from __future__ import annotations

import uuid

import pytest
from psycopg.types.json import Jsonb

from portal.context import Role
from tests.portal.portal_site import Site

FORM = {
    "name": "archive", "kind": "dimse", "ae_title": "ARCHIVE", "host": "pacs.test", "port": "104",
    "object_kinds": ["SR", "SEG"], "required": "true", "enabled": "true", "confirmation": "query",
    "associations_max": "2", "response_timeout_s": "60", "attempts_max": "10", "back_off_min_s": "2",
    "back_off_max_s": "600", "give_up_after_s": "86400",
}  # fmt: skip


def add_delivery(
    site: Site, study_id: str, state: str, destination: str = "ARCHIVE", **changes: object
) -> None:
    uid = f"2.25.{uuid.uuid4().int}"
    site.owner.execute(
        """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind, location, sha256,
             size_bytes) VALUES ('alpha', %s, %s, 1, 'lung_nodule_ct', 'SR', 'x', 'x', 1)""",
        (uid, study_id),
    )
    values = {"attempts": 3, "last_error": None, "required": True} | changes
    site.owner.execute(
        """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state, attempts, last_error, required,
             acknowledged_at, confirmed_at, confirmed_by, replaced_by)
           VALUES ('alpha', %(uid)s, %(destination)s, %(study)s, %(state)s, %(attempts)s, %(last_error)s, %(required)s,
             CASE WHEN %(state)s IN ('acknowledged', 'confirmed') THEN now() END,
             CASE WHEN %(state)s = 'confirmed' THEN now() END,
             CASE WHEN %(state)s = 'confirmed' THEN 'query' END,
             CASE WHEN %(state)s = 'replaced' THEN 'SC' END)""",
        values | {"uid": uid, "destination": destination, "study": study_id, "state": state},
    )


def failed_study(site: Site) -> str:
    study_id = site.add_study(
        "alpha",
        status="failed",
        reason_code="DELIVERY_GAVE_UP",
        reason_text="Delivery failed: ARCHIVE did not take SR in 3 attempts: no connection to the peer.",
    )
    add_delivery(site, study_id, "dead", last_error="no connection to the peer")
    return study_id


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("waiting", "not acknowledged"),
        ("acknowledged", "Acknowledged"),
        ("confirmed", "Confirmed"),
        ("refused", "by the destination"),
        ("dead", "Given up"),
        ("replaced", "SC stands there instead"),
    ],
)
def test_each_state_has_its_words_and_only_what_was_acknowledged_looks_so(
    site: Site, state: str, words: str
) -> None:
    study_id = site.add_study("alpha", status="encoded")
    add_delivery(site, study_id, state, last_error="no connection to the peer")
    text = site.signed_in("alpha").get(f"/studies/{study_id}").text
    delivery = text.split('id="delivery"')[1].split("</section>")[0]
    assert words in delivery
    is_kept = state in ("acknowledged", "confirmed")
    assert ("chip good" in delivery) == is_kept


def test_the_verdict_of_the_gate_stands_beside_the_delivery(site: Site) -> None:
    study_id = site.add_study(
        "alpha", status="failed", reason_code="RESULT_NOT_CONFORMANT", reason_text="Not sent."
    )
    sentence = "PDF: PatientID is not that of the source"
    for product, problems in (("lung_nodule_ct", []), ("chest_radiograph", [sentence])):
        site.owner.execute(
            """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                 input_digest, findings, timing_s, conformance)
               VALUES ('alpha', %s, 1, %s, 'm', '1', 'x', 'x', '[]', '{}', %s)""",
            (study_id, product, Jsonb({"rules": 1, "kinds": ["SR"], "problems": problems, "duration_ms": 5})),
        )
    text = site.signed_in("alpha").get(f"/studies/{study_id}").text
    delivery = text.split('id="delivery"')[1].split("</section>")[0]
    assert "no problem found" in delivery
    assert sentence in delivery
    assert "This study could not be processed" in text


def test_an_event_that_was_told_says_which(site: Site) -> None:
    study_id = site.add_study("alpha", status="delivered")
    add_delivery(site, study_id, "acknowledged", "hook", required=False)
    site.owner.execute("UPDATE result_object SET kind = 'EVENT', event = 'refused', product = ''")
    text = site.signed_in("alpha").get(f"/studies/{study_id}").text
    delivery = text.split('id="delivery"')[1].split("</section>")[0]
    assert "EVENT" in delivery
    assert "studies not analysed" in delivery


def test_what_no_destination_takes_is_not_shown_as_sent(site: Site) -> None:
    study_id = site.add_study("alpha", status="delivered")
    site.owner.execute(
        """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind, location, sha256,
             size_bytes) VALUES ('alpha', '2.25.1', %s, 1, 'lung_nodule_ct', 'PDF', 'x', 'x', 1)""",
        (study_id,),
    )
    assert "no destination takes it" in site.signed_in("alpha").get(f"/studies/{study_id}").text


def test_an_operator_sends_again_what_was_given_up(site: Site) -> None:
    study_id = failed_study(site)
    client = site.signed_in("alpha", Role.OPERATOR)
    text = client.get(f"/studies/{study_id}").text
    assert "The result did not reach its destination" in text
    assert "no connection to the peer" in text
    answer = client.post(f"/studies/{study_id}/send-again")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{study_id}")
    rows = site.owner.execute("SELECT state, attempts FROM delivery").fetchall()
    assert [(row["state"], row["attempts"]) for row in rows] == [("waiting", 0)]
    study = site.owner.execute("SELECT status FROM study").fetchone()
    assert study is not None
    assert study["status"] == "encoded"
    assert client.post(f"/studies/{study_id}/send-again").status_code == 303, "pressed twice"


def test_what_needs_a_person_is_a_number_to_alert_on(site: Site) -> None:
    failed_study(site)
    text = site.client().get("/metrics").text
    assert 'radmeter_deliveries{state="dead"} 1.0' in text
    assert 'radmeter_deliveries{state="refused"} 0.0' in text


def test_a_radiologist_sees_it_and_has_no_button(site: Site) -> None:
    study_id = failed_study(site)
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    text = client.get(f"/studies/{study_id}").text
    assert "The result did not reach its destination" in text
    assert "send-again" not in text
    assert client.post(f"/studies/{study_id}/send-again").status_code == 403


def test_another_hospital_cannot_send_it(site: Site) -> None:
    study_id = failed_study(site)
    assert site.signed_in("beta").post(f"/studies/{study_id}/send-again").status_code == 404


class TestDestinations:
    def test_one_is_added_changed_and_removed(self, site: Site) -> None:
        client = site.signed_in("alpha")
        assert client.post("/destinations", data=FORM).status_code == 303
        assert "ARCHIVE@pacs.test:104" in client.get("/destinations").text
        form = client.get("/destinations/edit?name=archive").text
        assert 'value="pacs.test"' in form
        changed = FORM | {"original": "archive", "host": "other.test", "objects_per_s": "2.5"}
        assert client.post("/destinations", data=changed).status_code == 303
        row = site.owner.execute("SELECT host, objects_per_s, object_kinds FROM destination").fetchone()
        assert row == {"host": "other.test", "objects_per_s": 2.5, "object_kinds": ["SR", "SEG"]}
        actions = site.owner.execute("SELECT action FROM audit_event ORDER BY sequence").fetchall()
        assert [row["action"] for row in actions].count("destination_changed") == 2
        assert client.post("/destinations/remove", data={"name": "archive"}).status_code == 303
        assert site.owner.execute("SELECT 1 FROM destination").fetchone() is None

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"host": "../x"}, "Give a host name"),
            ({"port": "0"}, "Give 1 to 65535"),
            ({"port": "1e9"}, "This is not a number"),
            ({"attempts_max": "-1"}, "Give 1 to"),
            ({"back_off_min_s": "nan"}, "Give 0.1 to"),
            ({"object_kinds": []}, "Choose at least one kind"),
            ({"object_kinds": ["EXE"]}, "Choose at least one kind"),
            ({"kind": "stow", "url": "http://pacs.test"}, "Plain http must be allowed"),
            ({"kind": "stow", "url": "file:///etc/passwd", "allow_plain_http": "true"}, "Give the address"),
            ({"kind": "stow", "url": "https://u:p@pacs.test/"}, "holds no user"),
            ({"authority_file": "../../etc/passwd"}, "without a path"),
            ({"name": ""}, "1 to 64 printable"),
        ],
        ids=str,
    )
    def test_what_cannot_be_used_is_not_saved_and_the_field_says_why(
        self, site: Site, change: dict[str, object], sentence: str
    ) -> None:
        answer = site.signed_in("alpha").post("/destinations", data=FORM | change)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert site.owner.execute("SELECT 1 FROM destination").fetchone() is None

    def test_the_token_is_never_shown_for_only_its_file_is_named(self, site: Site) -> None:
        client = site.signed_in("alpha")
        stow = FORM | {"kind": "stow", "url": "https://pacs.test/dicom-web", "token_file": "pacs-token"}
        assert client.post("/destinations", data=stow).status_code == 303
        row = site.owner.execute("SELECT * FROM destination").fetchone()
        assert row is not None
        assert (row["token_file"], row["ae_title"], row["host"]) == ("pacs-token", None, None)

    @pytest.mark.parametrize(
        ("change", "kept"),
        [
            (
                {"kind": "fhir", "url": "https://emr.test/fhir", "private_hosts": "emr.test, 10.0.0.5"},
                {
                    "object_kinds": ["FHIR"],
                    "private_hosts": ["emr.test", "10.0.0.5"],
                    "host": None,
                    "ae_title": None,
                },
            ),
            (
                {
                    "kind": "hl7",
                    "receiving_application": "RIS",
                    "character_set": "GB 18030-2000",
                    "url": "https://x",
                },
                {"object_kinds": ["ORU"], "host": "pacs.test", "port": 104, "url": None, "ae_title": None},
            ),
            (
                {"kind": "webhook", "url": "https://hook.test/a?b=c", "token_file": "hook"},
                {"object_kinds": ["EVENT"], "token_file": "hook", "events": ["result", "failed"]},
            ),
            (
                {"kind": "email", "recipients": "a@b.test, c@d.test", "port": "x"},
                {"object_kinds": ["EVENT"], "recipients": ["a@b.test", "c@d.test"], "port": None},
            ),
        ],
        ids=str,
    )
    def test_one_that_is_no_pacs_is_kept_with_what_belongs_to_it(
        self, site: Site, change: dict[str, object], kept: dict[str, object]
    ) -> None:
        client = site.signed_in("alpha")
        message = FORM | {
            "events": ["result", "failed"],
            "confirmation": "none",
            "character_set": "UNICODE UTF-8",
        }
        answer = client.post("/destinations", data=message | change)
        assert answer.status_code == 303, answer.text
        row = site.owner.execute("SELECT * FROM destination").fetchone()
        assert row is not None
        assert {name: row[name] for name in kept} == kept
        text = client.get("/destinations").text
        assert "results delivered, studies failed" in text
        form = client.get("/destinations/edit?name=archive").text
        assert form.count('name="events" value="failed" checked') == 1

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"kind": "fhir", "url": "http://emr.test/fhir"}, "Plain http must be allowed"),
            (
                {"kind": "fhir", "url": "https://emr.test/fhir", "private_hosts": "a/b"},
                "Give host names or IP",
            ),
            ({"kind": "webhook", "url": "https://hook.test/"}, "A webhook is signed"),
            (
                {"kind": "fhir", "url": "http://emr.test", "token_file": "x", "allow_plain_http": "true"},
                "A token is sent over https only",
            ),
            ({"kind": "webhook", "url": "https://hook.test/\u200b", "token_file": "x"}, "Give the address"),
            ({"kind": "email", "recipients": "nobody"}, "Give 1 to 20 e-mail addresses"),
            ({"kind": "email", "recipients": "a@b.test\r\nBcc: c@d.test"}, "Give 1 to 20 e-mail addresses"),
            ({"kind": "email", "recipients": "a@b.test", "events": []}, "Choose at least one event"),
            ({"kind": "hl7", "receiving_application": "a\rMSH|"}, "Give at most 180"),
            ({"kind": "hl7", "character_set": "ASCII"}, "The character set is"),
            ({"kind": "hl7", "confirmation": "query"}, "can be asked back"),
            ({"kind": "ftp"}, "is reached by DIMSE"),
        ],
        ids=str,
    )
    def test_what_cannot_be_told_is_not_saved(
        self, site: Site, change: dict[str, object], sentence: str
    ) -> None:
        message = FORM | {"events": ["result"], "confirmation": "none", "character_set": "UNICODE UTF-8"}
        answer = site.signed_in("alpha").post("/destinations", data=message | change)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert site.owner.execute("SELECT 1 FROM destination").fetchone() is None

    def test_it_is_tested_with_a_sentence(self, site: Site) -> None:
        client = site.signed_in("alpha")
        client.post("/destinations", data=FORM | {"host": "127.0.0.1", "port": "1"})
        answer = client.post("/destinations/test", data={"name": "archive"})
        assert "no connection to the peer" in answer.text

    @pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.OPERATOR, Role.FINANCE])
    def test_only_admins_change_them(self, site: Site, role: Role) -> None:
        client = site.signed_in("alpha", role)
        assert client.post("/destinations", data=FORM).status_code == 403
        assert client.post("/destinations/test", data={"name": "archive"}).status_code == 403
