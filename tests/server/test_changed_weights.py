"""A model whose weights are not, byte for byte, those of its manifest: nothing that runs models starts beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.errors import WeightsDigestMismatch, WeightsMissing
from pipeline.install_model import install
from server.errors import CommandFailed
from server.serve import require_whole_weights, serve
from server.settings import Settings
from tests.model_packages import package_files, write_folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an installation with one model of its own."""
    made = Settings(data_directory=tmp_path / "data")
    made.data_directory.mkdir()
    source = write_folder(tmp_path / "means", package_files())
    install(source, made.data_directory, clock=lambda: datetime.now(UTC))
    return made


@pytest.mark.parametrize("role", ["all", "worker"])
def test_one_changed_byte_refuses_the_start_with_the_name_of_the_file(settings: Settings, role: str) -> None:
    require_whole_weights(settings)
    weights = settings.data_directory / "models/means/1.0.0/model.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsDigestMismatch, match=r"means/1\.0\.0/model\.onnx has SHA-256"):
        serve(settings, role)
    weights.unlink()
    with pytest.raises(WeightsMissing):
        serve(settings, role)


def test_what_runs_no_model_starts_all_the_same(settings: Settings) -> None:
    (settings.data_directory / "models/means/1.0.0/model.onnx").write_bytes(b"changed")
    with pytest.raises(CommandFailed, match="a single role needs RADMETER_DATABASE_URL"):
        serve(settings, "gateway")
