"""For each alert a case that sets it off and one that does not, as series that Prometheus' own tool evaluates."""

from __future__ import annotations

from dataclasses import dataclass, field

_DAY = "1440"
GIB = 1 << 30


@dataclass(frozen=True)
class Case:
    """bad, good: series → values in promtool's notation. at: when it is looked at. labels: of the alert.

    every: pause between two samples.
    """

    bad: dict[str, str]
    good: dict[str, str]
    at: str
    labels: dict[str, str] = field(default_factory=dict)
    every: str = "1m"


def _gauge(series: str, bad: float, good: float, at: str, **labels: str) -> Case:
    return Case({series: f"{bad:.0f}+0x100"}, {series: f"{good:.0f}+0x100"}, at, labels)


def _burn(
    good_series: str, all_series: str, objective: str, *, bad_of_1000: int, at: str, every: str = "1m"
) -> Case:
    """Of a thousand in each step this many are bad, or none."""
    bad = {good_series: f"0+{1000 - bad_of_1000}x800", all_series: "0+1000x800"}
    good = {good_series: "0+1000x800", all_series: "0+1000x800"}
    return Case(bad, good, at, {"objective": objective}, every)


def _share(
    bad_series: str, good_series: str, objective: str, *, bad_of_1000: int, at: str, every: str = "1m"
) -> Case:
    bad = {bad_series: f"0+{bad_of_1000}x800", good_series: f"0+{1000 - bad_of_1000}x800"}
    return Case(bad, {bad_series: "0+0x800", good_series: "0+1000x800"}, at, {"objective": objective}, every)


_FAST = {"bad_of_1000": 500, "at": "70m"}
_EMERGENCY = (
    'radmeter_study_seconds_bucket{priority="emergency",outcome="delivered",le="60.0"}',
    'radmeter_study_seconds_count{priority="emergency",outcome="delivered"}',
    "emergency",
)
_ROUTINE = (
    'radmeter_study_seconds_bucket{priority="normal",outcome="delivered",le="900.0"}',
    'radmeter_study_seconds_count{priority="normal",outcome="delivered"}',
    "routine",
)
_DELIVERY = (
    'radmeter_delivery_attempts_total{kind="dimse",state="dead"}',
    'radmeter_delivery_attempts_total{kind="dimse",state="acknowledged"}',
    "delivery",
)
_RECEIVE = (
    'radmeter_requests_refused_total{request="instance",status="A700H"}',
    'radmeter_instances_total{outcome="stored"}',
    "receive",
)


def _slow(of_1000: int) -> dict[str, object]:
    return {"bad_of_1000": of_1000, "at": "30h", "every": "30m"}


CASES: dict[str, Case] = {
    "RadmeterEmergencyTurnaroundBudgetBurnsFast": _burn(*_EMERGENCY, **_FAST),
    "RadmeterEmergencyTurnaroundBudgetBurns": _burn(*_EMERGENCY, **_slow(50)),
    "RadmeterRoutineTurnaroundBudgetBurnsFast": _burn(*_ROUTINE, **_FAST),
    "RadmeterRoutineTurnaroundBudgetBurns": _burn(*_ROUTINE, **_slow(200)),
    "RadmeterDeliveryBudgetBurnsFast": _share(*_DELIVERY, **_FAST),
    "RadmeterDeliveryBudgetBurns": _share(*_DELIVERY, **_slow(20)),
    "RadmeterReceiveBudgetBurnsFast": _share(*_RECEIVE, **_FAST),
    "RadmeterReceiveBudgetBurns": _share(*_RECEIVE, **_slow(4)),
    "RadmeterStudiesStuck": _gauge(
        'radmeter_studies_without_job{status="decoded"}', 2, 0, "5m", status="decoded"
    ),
    "RadmeterEmergencyWaits": _gauge(
        'radmeter_study_oldest_open_seconds{priority="emergency",status="decoded"}', 121, 60, "5m", status="decoded"
    ),
    "RadmeterStudyWaits": _gauge(
        'radmeter_study_oldest_open_seconds{priority="normal",status="encoded"}', 3601, 600, "10m", status="encoded"
    ),
    "RadmeterStudyAsks": _gauge("radmeter_studies_asking", 2, 0, "20m"),
    "RadmeterStudiesFail": Case(
        {
            'radmeter_studies_ended_total{outcome="failed",reason="STEP_GAVE_UP"}': "0+1x60",
            'radmeter_studies_ended_total{outcome="delivered",reason=""}': "0+9x60",
        },
        {
            'radmeter_studies_ended_total{outcome="failed",reason="STEP_GAVE_UP"}': "0+1x60",
            'radmeter_studies_ended_total{outcome="delivered",reason=""}': "0+99x60",
        },
        "40m",
    ),
    "RadmeterUrgentQueueOld": _gauge(
        'radmeter_queue_oldest_seconds{queue="studies",priority="emergency",step="infer"}', 31, 5, "5m", step="infer"
    ),
    "RadmeterQueueOld": _gauge(
        'radmeter_queue_oldest_seconds{queue="studies",priority="normal",step="infer"}', 901, 100, "15m",
        queue="studies", step="infer",
    ),
    "RadmeterNoWorkers": _gauge("radmeter_workers", 0, 3, "5m"),
    "RadmeterJobsStalled": _gauge("radmeter_jobs_stalled", 1, 0, "5m"),
    "RadmeterJobsGivenUp": Case(
        {'radmeter_jobs_failed{task="take_step"}': "1+0x70 2+0x30"},
        {'radmeter_jobs_failed{task="take_step"}': "2+0x100"},
        "80m",
        {"task": "take_step"},
    ),
    "RadmeterReceiveOutOfResources": Case(
        {'radmeter_requests_refused_total{request="instance",status="A700H"}': "0+1x60"},
        {'radmeter_requests_refused_total{request="instance",status="0124H"}': "0+1x60"},
        "15m",
    ),
    "RadmeterHeartbeatStale": Case(
        {"radmeter_heartbeat_last_success_timestamp_seconds": "0+0x60"},
        {"radmeter_heartbeat_last_success_timestamp_seconds": "0+60x60"},
        "20m",
    ),
    "RadmeterCertificateEnds": _gauge(
        'radmeter_certificate_expiry_timestamp_seconds{certificate="dicom"}', 13 * 86400, 60 * 86400, "70m",
        certificate="dicom",
    ),
    "RadmeterDeliveriesGivenUp": Case(
        {'radmeter_deliveries{state="dead"}': "0+0x70 3+0x30"},
        {'radmeter_deliveries{state="dead"}': "3+0x100"},
        "80m",
        {"state": "dead"},
    ),
    "RadmeterDeliveryWaits": _gauge('radmeter_delivery_oldest_seconds{kind="stow"}', 1801, 60, "10m", kind="stow"),
    "RadmeterInferenceCircuitOpen": _gauge(
        'radmeter_inference_circuit_open{engine="triton cuda fp16"}', 1, 0, "5m", engine="triton cuda fp16"
    ),
    "RadmeterTritonModelDown": _gauge(
        'radmeter_triton_model_serves{model="lung_nodule_ct"}', 0, 1, "5m", model="lung_nodule_ct"
    ),
    "RadmeterModelAlarm": _gauge(
        'radmeter_model_alarm{tenant="a",product="lung_nodule_ct",version="1",site="north",of="psi"}', 1, 0, "20m",
        tenant="a", product="lung_nodule_ct", site="north", of="psi",
    ),
    "RadmeterLedgerCheckFailed": _gauge('radmeter_maintenance_failing{run="ledger_check"}', 1, 0, "5m"),
    "RadmeterLedgerCheckOld": Case(
        {'radmeter_maintenance_last_success_timestamp_seconds{run="ledger_check"}': "0+0x60"},
        {'radmeter_maintenance_last_success_timestamp_seconds{run="ledger_check"}': "0+3600x60"},
        "38h",
        every="1h",
    ),
    "RadmeterMoneyUnbilled": _gauge(
        'radmeter_money_unbilled_oldest_seconds{currency="EUR",period="ended"}', 8 * 86400, 86400, "70m", currency="EUR"
    ),
    "RadmeterUsageQuarantined": Case(
        {"radmeter_usage_events_quarantined": "4+0x60"}, {"radmeter_usage_events_quarantined": "0+0x60"}, "26h",
        every="1h",
    ),
    "RadmeterNotMeasured": Case({"up": "1+0x60"}, {"radmeter_database_up": "0+0x60"}, "10m"),
    "RadmeterDatabaseDown": _gauge("radmeter_database_up", 0, 1, "5m"),
    "RadmeterMigrationsMissing": _gauge("radmeter_schema_migrations_missing", 2, 0, "20m"),
    "RadmeterDiskLow": Case(
        {
            'radmeter_disk_free_bytes{instance="gateway-0"}': f"{9 * GIB}+0x60",
            'radmeter_disk_size_bytes{instance="gateway-0"}': f"{100 * GIB}+0x60",
        },
        {
            'radmeter_disk_free_bytes{instance="gateway-0"}': f"{50 * GIB}+0x60",
            'radmeter_disk_size_bytes{instance="gateway-0"}': f"{100 * GIB}+0x60",
        },
        "20m",
        {"instance": "gateway-0"},
    ),
    "RadmeterDiskFull": _gauge(
        'radmeter_disk_free_bytes{instance="gateway-0"}', GIB, 50 * GIB, "5m", instance="gateway-0"
    ),
    "RadmeterBackupOld": Case(
        {'radmeter_maintenance_last_success_timestamp_seconds{run="backup"}': "0+0x60"},
        {'radmeter_maintenance_last_success_timestamp_seconds{run="backup"}': "0+3600x60"},
        "28h",
        every="1h",
    ),
    "RadmeterObjectStoreFails": Case(
        {
            'radmeter_object_store_seconds_count{operation="put",outcome="StoreNotReady"}': "0+1x60",
            'radmeter_object_store_seconds_count{operation="put",outcome="ok"}': "0+9x60",
        },
        {'radmeter_object_store_seconds_count{operation="put",outcome="ok"}': "0+9x60"},
        "15m",
    ),
}  # fmt: skip
