"""Settings: from the environment, from a file, and refused by name."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from server.errors import SettingInvalid
from server.settings import Settings, load_settings
from tests.conftest import ROOT


def test_without_any_variable_everything_has_its_default() -> None:
    assert load_settings({}) == Settings()


def test_every_setting_can_be_given_by_the_variable_that_it_documents() -> None:
    other = {
        "data_directory": "/data/radmeter",
        "database_url": "postgresql://db/radmeter",
        "objects": "s3://radmeter/hospital",
        "objects_endpoint": "https://s3.hospital.test",
        "objects_region": "eu-central-1",
        "objects_authorities": "/etc/radmeter/s3-authorities.pem",
        "objects_cache_mib": "4096",
        "dicom_host": "0.0.0.0",
        "dicom_port": "104",
        "dicom_plain": "false",
        "dicom_tls_port": "11113",
        "dicom_tls_certificate": "/etc/radmeter/certificate.pem",
        "dicom_tls_key": "/etc/radmeter/key.pem",
        "dicom_tls_authorities": "/etc/radmeter/authorities.pem",
        "dicom_tls_client_certificate": "required",
        "dicom_tls_profile": "bcp195-extended",
        "http_host": "::1",
        "http_port": "8081",
        "called_ae_title": "AI",
        "worker_concurrency": "3",
        "inference_runs_at_once": "2",
        "inference_run_memory_mib": "1024",
        "inference_engine": "onnxruntime",
        "inference_provider": "tensorrt",
        "inference_precision": "fp16",
        "inference_threads": "5",
        "inference_timeout_s": "7.5",
        "inference_memory_mib": "512",
        "inference_fallback": "openvino",
        "triton_url": "grpcs://triton.hospital:8001",
        "triton_tls_authorities": "/etc/radmeter/triton-authorities.pem",
        "triton_tls_certificate": "/etc/radmeter/triton.pem",
        "triton_tls_key": "/etc/radmeter/triton-key.pem",
        "triton_shared_memory": "off",
        "triton_server": "/opt/tritonserver",
        "triton_canary_s": "5.5",
        "instance_bytes_max": "1048576",
        "receiver_processes": "3",
        "associations_max": "7",
        "associations_per_host_max": "2",
        "heartbeat_minutes": "5",
        "heartbeat_to": "tls://gateway.hospital.test:2762",
        "session_hours": "1",
        "session_idle_minutes": "15",
        "audit_syslog": "tls://audit.hospital.test:6514",
        "cookie_secure": "true",
        "takeover_s": "20.0",
        "drain_s": "2.5",
        "stripe_api_key": "sk_test_1",
        "stripe_webhook_secrets": "whsec_1,whsec_2",
        "portal_url": "https://radmeter.hospital.test",
        "smtp_url": "smtps://radmeter@mail.hospital.test",
        "backup_folder": "/mnt/backups",
        "scrub_mib_per_minute": "50",
        "smtp_from": "radmeter@hospital.test",
        "smtp_password": "secret",
        "log_level": "WARNING",
        "master_keys": "/etc/radmeter/master.key",
        "health_host": "0.0.0.0",
        "health_port": "9100",
        "traces": "http://collector:4318",
        "time_zone": "Europe/Paris",
    }
    named = {field.name: field.metadata["variable"] for field in dataclasses.fields(Settings)}
    assert set(other) == set(named), "a new setting belongs into this test too"
    loaded = load_settings({named[name]: value for name, value in other.items()})
    for name, value in other.items():
        assert str(getattr(loaded, name)).lower() == value.lower(), name
        assert type(getattr(loaded, name)) is not str or isinstance(getattr(Settings(), name), str)


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text('http_port = 9000\ndicom_port = 9001\ncookie_secure = true\nlog_level = "ERROR"\n')
    loaded = load_settings({"RADMETER_CONFIG": str(file), "RADMETER_HTTP_PORT": "9002"})
    assert (loaded.http_port, loaded.dicom_port, loaded.cookie_secure) == (9002, 9001, True)
    assert (loaded.log_level, loaded.worker_concurrency) == ("ERROR", Settings().worker_concurrency)


def test_an_unknown_name_in_the_file_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_text("htp_port = 9000\n")
    with pytest.raises(SettingInvalid, match="htp_port"):
        load_settings({"RADMETER_CONFIG": str(file)})


@pytest.mark.parametrize("content", [b"http_port = = 1", b"\xff\xfe"])
def test_a_file_that_is_no_toml_stops_the_start_with_its_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "radmeter.toml"
    file.write_bytes(content)
    with pytest.raises(SettingInvalid, match=r"radmeter\.toml"):
        load_settings({"RADMETER_CONFIG": str(file)})


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("DICOM_PORT", "0", "dicom_port"),
        ("DICOM_TLS_PORT", "0", "dicom_tls_port"),
        ("DICOM_PLAIN", "false", "dicom_plain"),
        ("DICOM_TLS_CLIENT_CERTIFICATE", "always", "dicom_tls_client_certificate"),
        ("DICOM_TLS_CLIENT_CERTIFICATE", "required", "dicom_tls_client_certificate"),
        ("DICOM_TLS_PROFILE", "ssl3", "dicom_tls_profile"),
        ("DICOM_PORT", "65536", "dicom_port"),
        ("HTTP_PORT", "http", "http_port"),
        ("HTTP_PORT", "", "http_port"),
        ("WORKER_CONCURRENCY", "0", "worker_concurrency"),
        ("WORKER_CONCURRENCY", "2.5", "worker_concurrency"),
        ("COOKIE_SECURE", "maybe", "cookie_secure"),
        ("DRAIN_S", "soon", "drain_s"),
        ("LOG_LEVEL", "LOUD", "log_level"),
        ("TIME_ZONE", "Mars/Olympus", "time_zone"),
    ],
)
def test_a_bad_value_stops_the_start_with_its_name(variable: str, value: str, name: str) -> None:
    with pytest.raises(SettingInvalid, match=name) as raised:
        load_settings({f"RADMETER_{variable}": value})
    assert raised.value.name == name


def test_the_home_directory_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings({"RADMETER_DATA": "~/radmeter"}).data_directory == tmp_path / "radmeter"


def test_settings_do_not_change_once_they_are_built() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().http_port = 1  # type: ignore[misc]


def test_folders_lie_below_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(data_directory=tmp_path)
    folders = (settings.instances_directory, settings.work_directory, settings.results_directory)
    assert len(set(folders)) == 3
    assert all(folder.parent == tmp_path for folder in folders)


@pytest.mark.parametrize(
    ("values", "name", "sentence"),
    [
        ({"ENGINE": "onnx"}, "inference_engine", "the engine is onnxruntime or openvino"),
        ({"PROVIDER": "cdua"}, "inference_provider", "is cpu or cuda or tensorrt, not 'cdua'"),
        ({"ENGINE": "openvino", "PROVIDER": "cuda"}, "inference_provider", "of openvino is cpu, not 'cuda'"),
        ({"PRECISION": "bf16"}, "inference_precision", "of onnxruntime on cpu is fp32 or int8, not 'bf16'"),
        ({"TIMEOUT_S": "0"}, "inference_timeout_s", "cannot end within 0 s"),
        ({"MEMORY_MIB": "0"}, "inference_memory_mib", "need some memory"),
        ({"FALLBACK": "onnxruntime"}, "inference_fallback", "of onnxruntime cpu fp32 is openvino"),
        ({"ENGINE": "openvino", "PRECISION": "fp16"}, "inference_precision", "fp32 or bf16 or int8"),
    ],
)
def test_an_engine_that_cannot_be_stops_the_start_and_says_what_can(
    values: dict[str, str], name: str, sentence: str
) -> None:
    with pytest.raises(SettingInvalid, match=sentence) as raised:
        load_settings({f"RADMETER_INFERENCE_{key}": value for key, value in values.items()})
    assert raised.value.name == name


def test_settings_load_neither_arrays_nor_engines() -> None:
    """Every process reads them; a gateway stays small."""
    program = "import sys, server.settings; print({'numpy', 'onnxruntime', 'openvino'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
