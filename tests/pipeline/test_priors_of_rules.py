"""The priors part of a routing rule: read from the document, handed to the job that asks the archive."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from models.registry import get_model
from pipeline import rule_store
from pipeline.find_priors import defer_priors
from pipeline.prior_rule import PriorsRule
from pipeline.rule_document import read_rules
from pipeline.rule_errors import RulesInvalid
from pipeline.services import Services
from pipeline.study_path import take_step
from tests.ct_files import ramp, write
from tests.pipeline.conftest import ALPHA, Clinic, receive_files

RULES = """rules:
  - name: chest CT
    models: [lung_nodule_ct]
    priors:
      newest: 2
      within_months: 24
      same_modality: false
      regions:
        - name: tooth
          words: [Zahn]
"""


def test_a_rule_says_which_earlier_studies_are_fetched() -> None:
    (rule,) = read_rules(RULES).rules
    assert rule.priors is not None
    assert (rule.priors.newest, rule.priors.within_months, rule.priors.images_max) == (2, 24, 3000)
    assert (rule.priors.same_modality, rule.priors.same_region) == (False, True)
    assert rule.priors.regions_of("Zahnstatus", "CT Thorax") == {"tooth", "chest"}
    assert PriorsRule.from_json(rule.priors.as_json()).as_json() == rule.priors.as_json()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("newest: 0", "newest"),
        ("newest: all", "newest"),
        ("same_region: maybe", "same_region"),
        ("colour: red", "colour"),
    ],
)
def test_what_is_wrong_with_it_is_said_with_its_line(line: str, words: str) -> None:
    document = f"rules:\n  - name: a\n    models: [lung_nodule_ct]\n    priors:\n      {line}\n"
    with pytest.raises(RulesInvalid) as raised:
        read_rules(document)
    (problem,) = raised.value.problems
    assert words in problem.message
    assert problem.line == 5


@pytest.mark.parametrize("wants_priors", [True, False])
def test_the_route_step_puts_the_question_into_the_queue(
    clinic: Clinic, changed: Callable[..., Services], wants_priors: bool
) -> None:
    services = changed(get_model=get_model, defer_priors=functools.partial(defer_priors, clinic.queue))
    document = RULES if wants_priors else RULES[: RULES.index("    priors:")]
    with clinic.database.transaction(ALPHA) as conn:
        rule_store.activate(
            conn, ALPHA, rule_store.add_rule_set(conn, ALPHA, document, author="ann"), by="ann"
        )
    folder = clinic.services.folders.instances
    received = receive_files(clinic, write(folder, ramp((30, 8, 8)), study_description="CT Chest"))
    study = clinic.study(received)
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    jobs = clinic.jobs("find_priors")
    assert len(jobs) == wants_priors
    for job in jobs:
        assert (job["queue_name"], job["args"]["study_id"]) == ("archives", str(study.id))
        assert PriorsRule.from_json(job["args"]["priors"]).newest == 2
