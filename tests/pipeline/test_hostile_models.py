"""Hostile zips and folders: refused before or while they are unpacked, and nothing of them is left."""

from __future__ import annotations

import os
import stat
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.errors import InvalidPackage, ModelError
from models.package import RATIO_MAX
from pipeline.install_model import install
from tests.model_packages import package_files, write_folder, write_zip

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def add(source: Path, data: Path) -> None:
    install(source, data, clock=lambda: NOW)


def nothing_is_left(data: Path) -> bool:
    return sorted(path.name for path in data.rglob("*")) == ["models"]


@pytest.mark.parametrize(
    "name",
    ["../escaped.txt", "/absolute.txt", "a/../../b.txt", "..\\b.txt", "C:\\b.txt", "a//b.txt", "./b.txt"],
)
def test_a_name_that_leads_elsewhere_refuses_the_zip(tmp_path: Path, data: Path, name: str) -> None:
    archive = write_zip(tmp_path / "a.zip", package_files() | {name: b"x"})
    with pytest.raises(InvalidPackage, match="names must stay inside"):
        add(archive, data)
    assert nothing_is_left(data)
    assert not (tmp_path / "escaped.txt").exists()


def test_links_and_devices_refuse_the_zip_and_the_folder(tmp_path: Path, data: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", package_files())
    link = zipfile.ZipInfo("secret.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    folder = write_folder(tmp_path / "a", package_files())
    (folder / "secret.txt").symlink_to("/etc/passwd")
    for source in (archive, folder):
        with pytest.raises(InvalidPackage, match=r"secret\.txt.* a link"):
            add(source, data)
    assert nothing_is_left(data)


def test_a_zip_that_would_fill_the_disk_is_refused_before_it_is_unpacked(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InvalidPackage, match=f"more than {RATIO_MAX} times its packed size"):
        add(write_zip(tmp_path / "a.zip", package_files() | {"b.onnx": bytes(8 << 20)}), data)
    with pytest.raises(InvalidPackage, match="at most 200 are taken"):
        add(write_zip(tmp_path / "b.zip", {f"{n}.txt": b"x" for n in range(300)}), data)
    with pytest.raises(InvalidPackage, match="too many for a model"):
        add(write_zip(tmp_path / "c.zip", {f"{n}.txt": b"x" for n in range(3000)}), data)
    with pytest.raises(InvalidPackage, match=r"notes.txt is larger than"):
        add(write_zip(tmp_path / "d.zip", package_files() | {"notes.txt": os.urandom(5 << 20)}), data)
    assert nothing_is_left(data)


def test_a_size_that_the_zip_lies_about_is_noticed(tmp_path: Path, data: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", package_files() | {"notes.txt": b"A" * 1000})
    content = archive.read_bytes()
    lie = content.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != content
    archive.write_bytes(lie)
    with pytest.raises(InvalidPackage):
        add(archive, data)
    assert nothing_is_left(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_encrypted_and_damaged_zips_are_refused(tmp_path: Path, data: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", package_files())
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("Model.onnx", b"another")
    with pytest.raises(InvalidPackage, match=r"two files are called model\.onnx"):
        add(archive, data)
    content = bytearray(write_zip(tmp_path / "b.zip", package_files()).read_bytes())
    content[len(content) // 3] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(content)
    encrypted = bytearray(write_zip(tmp_path / "c.zip", package_files()).read_bytes())
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "c.zip").write_bytes(encrypted)
    (tmp_path / "d.zip").write_bytes(b"PK no zip")
    with zipfile.ZipFile(tmp_path / "e.zip", "w", zipfile.ZIP_LZMA) as rare:
        rare.writestr("manifest.toml", b"x")
    for name in ("b.zip", "c.zip", "d.zip", "e.zip", "missing.zip"):
        with pytest.raises(ModelError):
            add(tmp_path / name, data)
    assert nothing_is_left(data)
