"""Rule documents: what they may say, what is wrong with them, and what they make of a study."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from datetime import time as clock
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from models.manifest import Manifest
from pipeline.route_rules import Budget, Obstacle, applying_rules, route_by_rules
from pipeline.rule_document import DOCUMENT_LENGTH_MAX, read_rules
from pipeline.rule_errors import EvaluationTooLong, RulesInvalid
from pipeline.rule_keywords import SERIES_KEYWORDS
from pipeline.rules import Rule, Start
from pipeline.urgency import Priority, TimeWindow
from study.study import Patient
from tests.conftest import ROOT
from tests.pipeline.rule_builders import ARRIVAL, ct_series, ct_study, rules
from tests.report_builders import manifest

MANIFESTS = {
    "lung_nodule_ct": manifest(),
    "second": dataclasses.replace(manifest(), name="second", product_code="second"),
}


def find_manifest(name: str) -> Manifest:
    return MANIFESTS[name]


FULL = """
time_zone: Europe/Berlin
off_peak: {from: "22:00", to: "05:00", days: [mon, tue]}
rules:
  - name: everything that a rule can say
    enabled: true
    when: StudyDescription =~~ "chest"
    series: Modality == "CT"
    calling_ae_titles: [CT1, CT2]
    called_ae_titles: [RADMETER]
    time_window: {days: [mon], from: "08:00", to: "18:00"}
    models: [lung_nodule_ct]
    destinations: [PACS]
    priority: off_peak
    emergency_when: RequestedProcedurePriority == "STAT"
    shadow: true
    required_series: ['ConvolutionKernel =~~ "lung"']
    start: series
    quiet_time_s: 4
    late_policy: ask
    force_after_s: 900
    force_policy: ask
    stop: true
    priors: {newest: 3}
"""


class TestDocument:
    def test_everything_that_a_rule_can_say_is_read(self) -> None:
        found = read_rules(FULL, version=4)
        assert found.version == 4
        assert found.time_zone == ZoneInfo("Europe/Berlin")
        assert found.off_peak == TimeWindow(clock(22), clock(5), frozenset({0, 1}))
        (rule,) = found.rules
        assert rule.calling_ae_titles == ("CT1", "CT2")
        assert rule.time_window == TimeWindow(clock(8), clock(18), frozenset({0}))
        assert (rule.priority, rule.shadow, rule.stop) == (Priority.OFF_PEAK, True, True)
        assert (rule.start, rule.quiet_time_s, rule.late_policy) == (Start.SERIES, 4, "ask")
        assert (rule.force_after_s, rule.force_policy) == (900, "ask")
        assert [one.text for one in rule.required_series] == ['ConvolutionKernel =~~ "lung"']
        defaults = dataclasses.fields(rule)
        unset = [
            one.name for one in defaults if getattr(rule, one.name) == one.default and one.name != "enabled"
        ]
        assert unset == [], "the example leaves nothing at its default"

    def test_a_destination_that_is_not_there_is_told_before_a_result_needs_it(self) -> None:
        text = "rules:\n  - {name: a, models: [lung_nodule_ct], destinations: [PACS, ARCHIV, elsewhere]}\n"
        with pytest.raises(RulesInvalid, match=r"mean ARCHIVE\?\n.*elsewhere': there is no"):
            read_rules(text, known_destinations={"PACS", "ARCHIVE"})
        assert read_rules(text, known_destinations={"PACS", "ARCHIV", "elsewhere"}).rules

    def test_all_mistakes_are_told_at_once_with_their_lines(self) -> None:
        text = """\
rules:
  - name: a
    when: StudyDescripton == "x"
    priority: urgent
    models: [lung_nodule_ct]
    modells: [x]
  - name: a
    series: SliceThickness == "thin"
    time_window: {from: "8:00", to: "18:00"}
    calling_ae_titles: ["AN AE TITLE THAT IS TOO LONG"]
"""
        with pytest.raises(RulesInvalid) as refused:
            read_rules(text)
        told = {problem.line: problem.message for problem in refused.value.problems}
        assert "did you mean StudyDescription?" in told[3]
        assert "must be one of: emergency, normal, off_peak" in told[4]
        assert "`modells` is not known here" in told[6]
        assert "SliceThickness is a number" in told[8]
        assert "needs a time in quotes" in told[9]
        assert "is not an AE title" in told[10]
        assert any("`models` is missing" in problem.message for problem in refused.value.problems)
        assert any("comes twice" in problem.message for problem in refused.value.problems)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "rules: []",
            "rules: 1",
            "rules:\n  - 1",
            "rules:\n  - &a {name: x, models: [m]}\n  - *a",
            "rules: " + "[" * 500,
            "rules: !!python/object/apply:os.system ['true']",
            "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]",
            "x" * (DOCUMENT_LENGTH_MAX + 1),
            "rules:\n" + "".join(f"  - {{name: r{n}, models: [m]}}\n" for n in range(101)),
            "rules:\n  - {name: r, models: [" + ",".join(f"m{n}" for n in range(30)) + "]}",
            "time_zone: Mars/Olympus\nrules:\n  - {name: r, models: [m]}",
            "rules:\n  - {name: r, models: ['../../etc/passwd']}",
            'rules:\n  - {name: "a\\u0000b", models: [m]}',
        ],
    )
    def test_what_is_no_rule_document_is_refused(self, text: str) -> None:
        started_s = time.process_time()
        with pytest.raises(RulesInvalid):
            read_rules(text)
        assert time.process_time() - started_s < 3


class TestTimeWindow:
    BERLIN = ZoneInfo("Europe/Berlin")
    NIGHT = TimeWindow(clock(20), clock(6), frozenset({4}))  # Friday night

    @pytest.mark.parametrize(
        ("at", "is_open"),
        [
            ("2026-11-27T18:59", False),  # Friday 19:59 in Berlin
            ("2026-11-27T19:00", True),
            ("2026-11-28T04:59", True),  # Saturday 05:59: still Friday's night
            ("2026-11-28T05:00", False),
            ("2026-11-28T19:30", False),  # Saturday has no night of its own
        ],
    )
    def test_a_night_belongs_to_the_day_on_which_it_begins(self, at: str, is_open: bool) -> None:
        assert self.NIGHT.is_open(datetime.fromisoformat(at).replace(tzinfo=UTC), self.BERLIN) is is_open

    def test_the_next_opening_is_now_or_the_next_of_its_days(self) -> None:
        inside = datetime(2026, 11, 27, 20, tzinfo=UTC)
        assert self.NIGHT.next_open(inside, self.BERLIN) == inside
        saturday = datetime(2026, 11, 28, 12, tzinfo=UTC)
        assert self.NIGHT.next_open(saturday, self.BERLIN) == datetime(2026, 12, 4, 19, tzinfo=UTC)

    def test_it_survives_the_way_into_the_database(self) -> None:
        assert TimeWindow.from_json(self.NIGHT.as_json()) == self.NIGHT

    def test_the_hour_that_daylight_saving_skips_opens_when_it_ends(self) -> None:
        window = TimeWindow(clock(2, 30), clock(4))
        opening = window.next_open(datetime(2026, 3, 28, 12, tzinfo=UTC), self.BERLIN)
        assert opening == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def obstacle(text: str, **changes: str) -> Obstacle:
    routed = route_by_rules(rules(text), ct_study(), dataclasses.replace(ARRIVAL, **changes), find_manifest)
    (trace,) = routed.traces
    assert trace.obstacle is not None
    return trace.obstacle


class TestRouting:
    def test_a_matching_rule_gives_its_models_the_series_that_it_names(self) -> None:
        thick = ct_series(1, thickness_mm=5.0, convolution_kernel="B30")
        thin = ct_series(2, convolution_kernel="B60")
        text = '  - {name: thick, series: ConvolutionKernel == "b30", models: [lung_nodule_ct], destinations: [X]}'
        routed = route_by_rules(rules(text), ct_study(thick, thin), ARRIVAL, find_manifest)
        (choice,) = routed.choices
        entry = choice.as_json()
        assert entry["series_instance_uid"] == thick.series_instance_uid
        assert (entry["rule"], entry["destinations"], entry["shadow"]) == ("thick", ["X"], False)

    def test_the_manifest_refuses_what_a_rule_chose(self) -> None:
        routed = route_by_rules(
            rules("  - {name: r, models: [lung_nodule_ct]}"),
            ct_study(ct_series(slices=3)),
            ARRIVAL,
            find_manifest,
        )
        assert routed.choices == ()
        assert [(product, miss.code) for product, miss in routed.misses] == [
            ("lung_nodule_ct", "TOO_FEW_SLICES")
        ]
        assert routed.traces[0].is_match

    def test_a_product_is_taken_once_by_the_first_rule_and_other_rules_still_apply(self) -> None:
        text = """
  - {name: first, models: [lung_nodule_ct], priority: off_peak}
  - {name: second, models: [lung_nodule_ct, second], shadow: true}
"""
        routed = route_by_rules(rules(text), ct_study(), ARRIVAL, find_manifest)
        assert [(one.rule.name, one.route.product) for one in routed.choices] == [
            ("first", "lung_nodule_ct"),
            ("second", "second"),
        ]
        assert routed.traces[1].outcomes[0] == ("lung_nodule_ct", None)
        assert routed.priority is Priority.NORMAL, "the most urgent of the rules that match"

    def test_stop_ends_the_list_only_where_its_rule_matches(self) -> None:
        text = """
  - {name: no, when: 'StudyDescription == "x"', models: [second], stop: true}
  - {name: yes, models: [lung_nodule_ct], stop: true}
  - {name: never, models: [second]}
"""
        routed = route_by_rules(rules(text), ct_study(), ARRIVAL, find_manifest)
        assert [rule.name for rule in routed.matched] == ["yes"]
        assert routed.traces[2].obstacle == Obstacle("stop")

    def test_an_emergency_is_seen_by_expression(self) -> None:
        urgent = "emergency_when: RequestedProcedurePriority == 'STAT'"
        text = f"  - {{name: r, models: [second], priority: off_peak, {urgent}}}"
        stat = ct_study(requested_procedure_priority="Stat")
        assert route_by_rules(rules(text), stat, ARRIVAL, find_manifest).priority is Priority.EMERGENCY
        assert route_by_rules(rules(text), ct_study(), ARRIVAL, find_manifest).priority is Priority.OFF_PEAK

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            ("enabled: false", Obstacle("enabled")),
            (
                "calling_ae_titles: [OTHER]",
                Obstacle("calling_ae_titles", values={"CallingAETitle": "CT1"}),
            ),
            ("called_ae_titles: [OTHER]", Obstacle("called_ae_titles", values={"CalledAETitle": "RADMETER"})),
            (
                'time_window: {from: "13:00", to: "14:00"}',
                Obstacle("time_window", values={"at": "Mon 12:00"}),
            ),
            (
                "when: PatientSex == 'F' and PatientAge < 40",
                Obstacle("when", "PatientAge < 40", {"PatientAge": 61.0}),
            ),
            (
                "series: Modality == 'CT' and ConvolutionKernel == 'B60'",
                Obstacle(
                    "series", 'ConvolutionKernel == "B60"', {"ConvolutionKernel": None}, "1 Thorax lung"
                ),
            ),
        ],
    )
    def test_a_rule_that_does_not_match_says_why(self, condition: str, expected: Obstacle) -> None:
        assert obstacle(f"  - {{name: r, models: [second], {condition}}}") == expected

    def test_required_series_are_missing_until_they_come(self) -> None:
        text = """
  - {name: r, models: [second], required_series: ['ConvolutionKernel == "B60"', 'Modality == "CT"']}
  - {name: other, when: 'StudyDescription == "x"', models: [second], required_series: ['Modality == "MR"']}
"""
        found = rules(text)
        ((rule, missing),) = applying_rules(found, ct_study(), ARRIVAL)
        assert (rule.name, missing) == ("r", ('ConvolutionKernel == "B60"',))
        whole = ct_study(ct_series(1), ct_series(2, convolution_kernel="B60"))
        assert [missing for _, missing in applying_rules(found, whole, ARRIVAL)] == [()]

    def test_rules_that_take_too_long_are_ended(self) -> None:
        spent = Budget(cpu_s=-1.0)
        with pytest.raises(EvaluationTooLong):
            spent.tick()


EXAMPLES = sorted((ROOT / "examples").glob("rules_*.yaml"))


class TestExamples:
    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
    def test_every_example_is_well_formed_and_explained(self, path: Path) -> None:
        assert read_rules(path.read_text("utf-8")).rules
        assert f"examples/{path.name}" in (ROOT / "docs/routing.md").read_text("utf-8")

    def test_the_example_of_a_chest_ct_does_what_it_says(self) -> None:
        found = read_rules((ROOT / "examples/rules_chest_ct.yaml").read_text("utf-8"))
        thin = ct_series(2, convolution_kernel="B60f")
        study = ct_study(ct_series(1, thickness_mm=5.0), thin, description="CT Polytrauma")
        routed = route_by_rules(found, study, ARRIVAL, find_manifest)
        assert [one.route.series_instance_uid for one in routed.choices] == [thin.series_instance_uid]
        assert routed.priority is Priority.EMERGENCY
        phantom = route_by_rules(found, ct_study(patient=Patient("QA-7")), ARRIVAL, find_manifest)
        assert [one.rule.shadow for one in phantom.choices] == [True]

    def test_every_keyword_and_every_key_of_a_rule_is_in_the_manual(self) -> None:
        page = (ROOT / "docs/routing.md").read_text("utf-8")
        assert [name for name in SERIES_KEYWORDS if f"`{name}`" not in page] == []
        assert [one.name for one in dataclasses.fields(Rule) if f"`{one.name}`" not in page] == []
