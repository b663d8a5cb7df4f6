"""A model as a folder or a zip from somebody: what may be taken of it is copied, everything is bounded and checked.

Of a package only plain files of known kinds are taken; code is left out, links and names that lead elsewhere refuse
the whole. `docs/models.md` describes the form.
"""

from __future__ import annotations

import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from models.errors import InvalidManifest, InvalidPackage
from models.manifest import Manifest, load_manifest
from models.weights import verified_weights

FILES_MAX = 200
# ONNX files are protobuf messages, which end at 2 GiB.
BYTES_MAX = 3 << 30
TEXT_BYTES_MAX = 4 << 20
RATIO_MAX = 200
"""A file of a zip may be this many times larger than it is packed; weights come to 1.1, texts to 10."""
KINDS = (".toml", ".onnx", ".md", ".json", ".txt", ".png", ".csv")
_NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}", re.ASCII)
_PLAIN = re.compile(r"(LICEN[CS]E|NOTICE|COPYING|README)", re.ASCII)
_UNREADABLE = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
# What archivers of desktops add by themselves.
_OF_NO_MATTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class Member:
    """One file of a package: its name in the model's folder, its bytes, and what it takes in the zip."""

    name: str
    size: int
    packed_size: int
    source: Path | zipfile.ZipInfo


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip whose list of files is bounded. Raises `InvalidPackage`, also for what its files turn out to be."""
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > 10 * FILES_MAX:
                raise InvalidPackage(f"the zip lists {len(archive.infolist())} files, too many for a model")
            yield archive
    except _UNREADABLE as error:
        raise InvalidPackage(f"{path.name} is not a zip that can be read: {error}") from error


def unpack(source: Path, target: Path) -> tuple[str, ...]:
    """Copy what may be taken of a folder or a zip into the empty folder `target`; returns what was left out.

    Raises `InvalidPackage`; what then lies in `target` is of no use.
    """
    if source.is_dir():
        members, left_out = _of_folder(source)
        for member in members:
            assert isinstance(member.source, Path)
            with member.source.open("rb") as file:
                copy_bounded(file, target / member.name, member.size, member.name)
        return left_out
    with opened_zip(source) as archive:
        members, left_out = _of_zip(archive)
        for member in members:
            assert isinstance(member.source, zipfile.ZipInfo)
            with archive.open(member.source) as file:
                copy_bounded(file, target / member.name, member.size, member.name)
    return left_out


def _of_folder(folder: Path) -> tuple[list[Member], tuple[str, ...]]:
    members, left_out = [], []
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise InvalidPackage(f"{path.name} is a link: put the file itself into the folder")
        if stat.S_ISREG(status.st_mode) and _is_taken(path.name):
            members.append(Member(path.name, status.st_size, status.st_size, path))
        else:
            left_out.append(path.name)
    return _bounded(members), tuple(left_out)


def _of_zip(archive: zipfile.ZipFile) -> tuple[list[Member], tuple[str, ...]]:
    entries = [one for one in archive.infolist() if not any(part in one.filename for part in _OF_NO_MATTER)]
    for one in entries:
        check_entry(one)
    tops = {one.filename.partition("/")[0] for one in entries}
    has_own_folder = len(tops) == 1 and all("/" in one.filename for one in entries)
    top = f"{tops.pop()}/" if has_own_folder else ""
    members, left_out = [], []
    for one in entries:
        name = one.filename.removeprefix(top)
        if one.is_dir():
            continue
        if _is_taken(name):
            members.append(Member(name, one.file_size, one.compress_size, one))
        else:
            left_out.append(name[:100])
    return _bounded(members), tuple(left_out)


def check_entry(one: zipfile.ZipInfo) -> None:
    """Raise `InvalidPackage` for a file of a zip that no honest archiver writes into a model."""
    name = one.filename
    parts = name.rstrip("/").split("/")
    if (
        name.startswith(("/", "\\"))
        or "\\" in name
        or ":" in name
        or any(p in ("", ".", "..") for p in parts)
    ):
        raise InvalidPackage(f"the zip holds {name[:100]!r}: names must stay inside the model's folder")
    kind = stat.S_IFMT(one.external_attr >> 16)
    if kind and not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise InvalidPackage(f"the zip holds {name[:100]!r}, a link or device: put the file itself into it")
    if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidPackage("the zip is packed by a rare method: pack it by deflate")
    if one.flag_bits & 1:
        raise InvalidPackage("the zip is encrypted: pack it without a password")
    if one.file_size > 1 << 20 and one.file_size > RATIO_MAX * max(one.compress_size, 1):
        raise InvalidPackage(
            f"{name[:100]!r} would unpack to {one.file_size} bytes, more than {RATIO_MAX} times its packed size"
        )


def _is_taken(name: str) -> bool:
    if "/" in name or _NAME.fullmatch(name) is None:
        return False
    return Path(name).suffix.lower() in KINDS or _PLAIN.fullmatch(Path(name).stem) is not None


def _bounded(members: list[Member]) -> list[Member]:
    if len(members) > FILES_MAX:
        raise InvalidPackage(f"the model has {len(members)} files, at most {FILES_MAX} are taken")
    # A file system that ignores case would write one over the other.
    names = [member.name.lower() for member in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidPackage(f"two files are called {twice}")
    for member in members:
        if not member.name.endswith(".onnx") and member.size > TEXT_BYTES_MAX:
            raise InvalidPackage(f"{member.name} is larger than {TEXT_BYTES_MAX} bytes")
    if sum(member.size for member in members) > BYTES_MAX:
        raise InvalidPackage(f"the model is larger than {BYTES_MAX} bytes")
    return members


def copy_bounded(source: IO[bytes], target: Path, size: int, name: str) -> None:
    """Copy `size` bytes and no more: what a zip's list says may be a lie. Raises `InvalidPackage`."""
    written = 0
    with target.open("xb") as out:
        while chunk := source.read(min(1 << 20, size - written + 1)):
            written += len(chunk)
            if written > size:
                break
            out.write(chunk)
    if written != size:
        raise InvalidPackage(f"{name} is not of the size that is said of it")


def check_folder(folder: Path, families: frozenset[str]) -> Manifest:
    """The manifest of an unpacked model after everything that can be checked without running its graph.

    Raises `InvalidManifest`, `InvalidPackage`, `WeightsMissing` or `WeightsDigestMismatch`.
    """
    if not (folder / "manifest.toml").is_file():
        raise InvalidPackage(
            "there is no manifest.toml directly in the model's folder; docs/models.md shows one"
        )
    manifest = load_manifest(folder, strict=True)
    if manifest.family not in families:
        known = ", ".join(sorted(families))
        raise InvalidManifest(
            folder / "manifest.toml",
            f"family = {manifest.family!r}: no code of this software serves it; known are {known}",
        )
    verified_weights(manifest)
    for precision in manifest.precisions:
        verified_weights(manifest, precision)
    named = {"card_file": manifest.card_file, "licence_file": manifest.licence_file}
    for key, name in (named | {"evaluation_file": manifest.evaluation_file}).items():
        if name and not (folder / name).is_file():
            why = "a model without a card is not installed" if key == "card_file" else "the manifest names it"
            raise InvalidPackage(f"{name} is missing ({key}): {why}")
    for name in (manifest.card_file, manifest.licence_file):
        _check_text(folder, name)
    if manifest.evaluation_file:
        _check_json(folder / manifest.evaluation_file)
    return manifest


def _check_text(folder: Path, name: str) -> None:
    try:
        text = (folder / name).read_text("utf-8") if name else "-"
    except UnicodeDecodeError as error:
        raise InvalidPackage(f"{name} is not UTF-8 text") from error
    if not text.strip():
        raise InvalidPackage(f"{name} is empty")


def _check_json(path: Path) -> None:
    try:
        is_object = isinstance(json.loads(path.read_text("utf-8")), dict)
    except (ValueError, RecursionError) as error:
        raise InvalidPackage(f"{path.name} is not JSON: {error}") from error
    if not is_object:
        raise InvalidPackage(f"{path.name} must be a JSON object of figures by name")
