import dataclasses
import re
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from models import manifest as manifest_module
from models import registry
from models.errors import InvalidManifest, ModelNotFound, WeightsDigestMismatch, WeightsMissing
from models.manifest import PriceHint, load_manifest
from models.registry import get_model, list_models
from models.weights import verified_weights
from tests.conftest import ROOT
from tests.model_packages import manifest_tables, package_files, write_folder

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
    built_in = [m.name for m in list_models()]
    assert "lung_ct_segmentation" in built_in
    assert [m.name for m in list_models(tmp_path)] == [*built_in, "my_copy"]
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


INPUT = manifest_tables(b"")["input"]


def folder_of(parent: Path, tables: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Path:
    """A small model of somebody's; tables: of its manifest, in place of what stands there."""
    return write_folder(parent / "model", package_files(b"weights", tables, **changes))


@pytest.mark.parametrize(
    ("changes", "tables", "sentence"),
    [
        ({"name": "Lung Nodule"}, {}, "name = 'Lung Nodule': it must be 2 to 64 lower-case letters"),
        ({"version": "1.2.3.4.5"}, {}, "version = .* it must be up to 32 letters"),
        ({"max_batch": 0}, {}, "max_batch = 0: it must be a whole number from 1 to 1024"),
        ({"max_batch": True}, {}, "max_batch = True: it must be a whole number"),
        ({"uses": ["../x"]}, {}, r"uses = '../x': it must be a list of names of models"),
        ({"uses": ["means"]}, {}, "means cannot use itself"),
        ({"languages": [1]}, {}, "languages = 1: it must be a list of texts"),
        ({"window_hu": [500, -1000]}, {}, "window_hu .* must begin with the lower number"),
        ({"clearance_status": "\a"}, {}, "clearance_status .* printable characters"),
        ({"operating_threshold": 1.5}, {}, r"operating_threshold = 1.5: it must lie in \[0, 1\]"),
        (
            {},
            {"input": INPUT | {"kind": "movie"}},
            r"\[input\] kind = 'movie': it must be one of volume, radiograph",
        ),
        (
            {},
            {"input": INPUT | {"modality": "ct scan"}},
            r"\[input\] modality .* must be a list of DICOM modalities",
        ),
        ({}, {"input": {"kind": "volume"}}, r"\[input\] modality is missing"),
        ({}, {"outputs": {"mask": [0, "x"]}}, r"\[outputs\] mask .* a shape lists 1 to 8 sizes"),
        ({}, {"outputs": {}}, r"\[outputs\] must name at least one output"),
        ({}, {"price_hint": {"amount": 5}}, r"\[price_hint\] amount = 5: it must be text in quotes"),
        ({}, {"precisions.int8": {"file": "q.onnx"}}, r"\[precisions.int8\] sha256 is missing"),
    ],
)
def test_a_fault_is_named_by_its_key_with_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], tables: dict[str, dict[str, Any]], sentence: str
) -> None:
    with pytest.raises(InvalidManifest, match=sentence):
        load_manifest(folder_of(tmp_path, tables, **changes))


def test_a_key_that_nobody_knows_is_named_when_a_model_is_added_and_passed_over_when_it_runs(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path, max_bach=4)
    assert load_manifest(folder).max_batch == 1
    with pytest.raises(InvalidManifest, match="max_bach is not a key of a manifest; did you mean max_batch"):
        load_manifest(folder, strict=True)


def test_what_a_manifest_may_say_beside_the_needed_keys(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "price_hint": {"amount": "5.50", "currency": "EUR"},
            "precisions.int8": {"file": "model.int8.onnx", "sha256": "0" * 64},
            "inputs": {"hounsfield": [1, -1, -1, -1]},
        },
        uses=["lung_ct_segmentation"],
        max_batch=4,
        languages=["en", "zh"],
        window_hu=[-1000, 500],
    )
    manifest = load_manifest(folder, strict=True)
    assert (manifest.uses, manifest.max_batch) == (("lung_ct_segmentation",), 4)
    assert (manifest.languages, manifest.window_hu) == (("en", "zh"), (-1000.0, 500.0))
    assert manifest.price_hint == PriceHint(Decimal("5.50"), "EUR", "result")
    assert manifest.inputs == {"hounsfield": (1, -1, -1, -1)}
    (folder / "model.int8.onnx").write_bytes(b"other weights")
    with pytest.raises(WeightsDigestMismatch, match=r"model\.int8\.onnx"):
        verified_weights(manifest, "int8")


def test_a_radiograph_model_states_no_slices(tmp_path: Path) -> None:
    needs = {
        "kind": "radiograph", "modality": ["CR", "DX"], "view_positions": ["pa", "AP"], "body_parts": [],
        "excluded_image_types": [],
    }  # fmt: skip
    folder = folder_of(tmp_path, {"input": needs}, spacing_mm=None)
    read = load_manifest(folder, strict=True).input
    assert (read.kind, read.modalities, read.view_positions) == ("radiograph", ("CR", "DX"), ("PA", "AP"))


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


def test_every_key_of_a_manifest_is_explained_where_users_read() -> None:
    source = Path(manifest_module.__file__).read_text("utf-8")
    keys = set(
        re.findall(r'\.(?:text|number|integer|choice|texts|numbers|shapes|table|free)\(\s*"(\w+)"', source)
    )
    page = (ROOT / "docs/models.md").read_text("utf-8")
    assert len(keys) > 30, "the keys are read in another way now"
    assert {key for key in keys if not re.search(rf"[`\[.]{key}[`\].]", page)} == set()


def test_all_mistakes_of_a_manifest_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    content = package_files()["manifest.toml"].decode()
    for right, wrong in {
        'version = "1.0.0"': 'version = "1 0"',
        "operating_threshold =": "operating_treshold =",
        "slice_count_min = 25": 'slice_count_min = "25"',
        "mean = [-1, 1, 1, 1]": "mean = [0]",
    }.items():
        assert right in content
        content = content.replace(right, wrong)
    folder = write_folder(tmp_path / "means", package_files() | {"manifest.toml": content.encode()})
    with pytest.raises(InvalidManifest) as caught:
        load_manifest(folder, strict=True)
    lines = content.splitlines()
    told = [re.sub(r" = .*|: it must.*", "", line.strip()) for line in str(caught.value).splitlines()[1:]]
    wanted = [
        ("version", "version"),
        ("slice_count_min", "[input] slice_count_min"),
        ("mean", "[outputs] mean"),
    ]
    for key, where in wanted:
        (number,) = (n for n, line in enumerate(lines, start=1) if line.startswith(f"{key} ="))
        assert f"line {number}: {where}" in told
    assert "operating_threshold is missing" in told
    (number,) = (n for n, line in enumerate(lines, start=1) if line.startswith("operating_treshold"))
    assert any(
        one
        == f"line {number}: operating_treshold is not a key of a manifest; did you mean operating_threshold?"
        for one in told
    )
    assert len(told) == 5
