import dataclasses
import shutil
from pathlib import Path

import pytest

from models import registry
from models.errors import InvalidManifest, ModelNotFound, WeightsDigestMismatch, WeightsMissing
from models.manifest import load_manifest
from models.registry import get_model, list_models
from models.weights import verified_weights

BUILT_IN = Path(registry.__file__).parent / "lung_nodule_ct"


def copy_of(folder: Path, **changes: str) -> Path:
    target = folder / "models" / "copy"
    shutil.copytree(BUILT_IN, target, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    text = (target / "manifest.toml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (target / "manifest.toml").write_text(text)
    return target


def test_the_built_in_model_says_what_it_is_and_that_it_is_not_cleared() -> None:
    manifest = get_model("lung_nodule_ct").manifest
    assert manifest.name == "lung_nodule_ct"
    assert manifest.clearance_status.startswith("Not cleared")
    assert "synthetic" in manifest.intended_use
    assert manifest.modality == "CT"
    assert 0 < manifest.operating_threshold < 1


def test_the_committed_weights_are_those_of_the_manifest_and_below_20_mb() -> None:
    path = verified_weights(get_model("lung_nodule_ct").manifest)
    assert path.stat().st_size < 20_000_000


def test_weights_that_changed_by_one_byte_are_refused(tmp_path: Path) -> None:
    folder = copy_of(tmp_path)
    weights = folder / "model.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsDigestMismatch):
        verified_weights(load_manifest(folder))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    folder = copy_of(tmp_path)
    (folder / "model.onnx").unlink()
    with pytest.raises(WeightsMissing, match=r"model\.onnx"):
        verified_weights(load_manifest(folder))


def test_an_installed_model_is_listed_beside_the_built_in_one(tmp_path: Path) -> None:
    copy_of(tmp_path, **{'name = "lung_nodule_ct"': 'name = "my_copy"'})
    assert [m.name for m in list_models(tmp_path)] == ["lung_nodule_ct", "my_copy"]
    assert get_model("my_copy", tmp_path).manifest.folder == tmp_path / "models" / "copy"


def test_an_installed_model_cannot_take_the_place_of_a_built_in_one(tmp_path: Path) -> None:
    copy_of(tmp_path)
    assert get_model("lung_nodule_ct", tmp_path).manifest.folder == BUILT_IN


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        get_model("../../etc", tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('weights_file = "model.onnx"', 'weights_file = "../lung_nodule_ct/model.onnx"'),
        ('name = "lung_nodule_ct"', 'name = "../x"'),
        ('modality = "CT"', ""),
        ("spacing_mm = [1.0, 1.0, 1.0]", "spacing_mm = [1.0, 1.0]"),
        ("spacing_mm = [1.0, 1.0, 1.0]", "spacing_mm = [0.0, 1.0, 1.0]"),
        ('family = "lung_nodule_ct"', "family = ["),
    ],
)
def test_a_manifest_with_a_fault_is_refused_by_path(tmp_path: Path, old: str, new: str) -> None:
    folder = copy_of(tmp_path, **{old: new})
    with pytest.raises(InvalidManifest, match=r"manifest\.toml"):
        load_manifest(folder)


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    copy_of(
        tmp_path,
        **{'name = "lung_nodule_ct"': 'name = "other"', 'family = "lung_nodule_ct"': 'family = "pickle"'},
    )
    with pytest.raises(InvalidManifest, match="unknown family"):
        get_model("other", tmp_path)


def test_manifests_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_model("lung_nodule_ct").manifest.name = "x"  # type: ignore[misc]
