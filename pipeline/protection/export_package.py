"""The package that everything of a tenant is exported to: a folder or a zip file, with a manifest at its end.

    README.txt                     this form, in words
    tables/<schema>.<table>.jsonl  a row on a line, as JSON
    objects/instances/…            received DICOM instances, under the location that tables/public.instance.jsonl has
    objects/results/<study>/…      results and reports
    documents/…                    issued statements as PDF and JSON
    manifest.jsonl                 a line for each file: path, size, SHA-256; the last line counts them

A package is whole or not there: it is written under another name and renamed when its manifest is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from pipeline.protection.errors import ExportDamaged, ExportTargetTaken

FORMAT = "radmeter tenant export 1"
MANIFEST = "manifest.jsonl"
_PIECE_BYTES = 1 << 20
_LINE_BYTES_MAX = 10_000
# What is compressed already, or nearly so.
_STORED_AS_IS = (".dcm", ".pdf", ".png")
_ROWS = ".jsonl"

Line = dict[str, Any]


class _Place(Protocol):
    def open_new(self, name: str) -> AbstractContextManager[IO[bytes]]: ...


@dataclass
class PackageWriter:
    """Files go in one after the other; `finish` writes the manifest. Memory is bounded but for names in a zip file."""

    place: _Place
    manifest: IO[str]
    files: int = 0

    def add(self, name: str, pieces: Iterable[bytes]) -> int:
        """A file of the package; returns how many lines it has."""
        digest, size_bytes, rows = hashlib.sha256(), 0, 0
        with self.place.open_new(name) as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size_bytes += len(piece)
                rows += piece.count(b"\n") if name.endswith(_ROWS) else 0
        counted = {"rows": rows} if name.endswith(_ROWS) else {}
        self.note({"path": name, "size_bytes": size_bytes, "sha256": digest.hexdigest(), **counted})
        self.files += 1
        return rows

    def note(self, line: Line) -> None:
        self.manifest.write(json.dumps(line, ensure_ascii=False) + "\n")


@contextmanager
def new_package(target: Path, about: Line) -> Iterator[PackageWriter]:
    """Write a package to `target`, a zip file if its name ends so. Raises `ExportTargetTaken`."""
    if target.exists():
        raise ExportTargetTaken(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    lines = target.with_name(f".{target.name}.manifest")
    _remove(partial)
    old_mask = os.umask(0o077)  # patients are in it
    try:
        with (
            lines.open("w", encoding="utf-8") as manifest,
            _place(partial, target.suffix == ".zip") as place,
        ):
            package = PackageWriter(place, manifest)
            package.note({"format": FORMAT, **about})
            yield package
            package.note({"end": True, "files": package.files})
            manifest.flush()
            with place.open_new(MANIFEST) as file, lines.open("rb") as written:
                shutil.copyfileobj(written, file, _PIECE_BYTES)
        partial.rename(target)
    finally:
        os.umask(old_mask)
        lines.unlink(missing_ok=True)
        _remove(partial)


@dataclass(frozen=True)
class _Folder:
    root: Path

    @contextmanager
    def open_new(self, name: str) -> Iterator[IO[bytes]]:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            yield file


@dataclass(frozen=True)
class _Zip:
    archive: zipfile.ZipFile

    @contextmanager
    def open_new(self, name: str) -> Iterator[IO[bytes]]:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o600 << 16
        info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED_AS_IS) else zipfile.ZIP_DEFLATED
        with self.archive.open(info, "w", force_zip64=True) as file:
            yield file


@contextmanager
def _place(path: Path, is_zip: bool) -> Iterator[_Place]:
    if not is_zip:
        path.mkdir()
        yield _Folder(path)
        return
    with zipfile.ZipFile(path, "x", allowZip64=True) as archive:
        yield _Zip(archive)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass
class PackageCheck:
    """What a package holds and what is wrong with it, a sentence each. missing: objects that were gone at its time."""

    about: Line = field(default_factory=dict)
    files: int = 0
    size_bytes: int = 0
    rows: int = 0
    missing: int = 0
    problems: list[str] = field(default_factory=list)


def check_package(path: Path) -> PackageCheck:
    """Read the whole package and compare it with its manifest. Raises `ExportDamaged` where there is none to read."""
    try:
        if path.is_dir():
            return _check(_FolderReader(path))
        with zipfile.ZipFile(path) as archive:
            return _check(_ZipReader(archive))
    except (zipfile.BadZipFile, FileNotFoundError, KeyError) as error:
        raise ExportDamaged(f"{path} is no export of a tenant, or only a part of one ({error})") from None


class _Reader(Protocol):
    def open(self, name: str) -> IO[bytes]: ...

    def names(self) -> Iterator[str]: ...


@dataclass(frozen=True)
class _FolderReader:
    root: Path

    def open(self, name: str) -> IO[bytes]:
        return (self.root / name).open("rb")

    def names(self) -> Iterator[str]:
        for folder, _, names in os.walk(self.root):
            yield from (Path(folder, name).relative_to(self.root).as_posix() for name in names)


@dataclass(frozen=True)
class _ZipReader:
    archive: zipfile.ZipFile

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(name)

    def names(self) -> Iterator[str]:
        return iter(self.archive.namelist())


def _check(package: _Reader) -> PackageCheck:
    check = PackageCheck()
    named: set[bytes] = set()  # 8 bytes of a digest each, so that millions fit
    is_ended = False
    with package.open(MANIFEST) as manifest:
        for raw in iter(lambda: manifest.readline(_LINE_BYTES_MAX), b""):
            line = _line(raw)
            if "format" in line:
                check.about = line
            elif line.get("end"):
                is_ended = line.get("files") == check.files
            elif "missing" in line:
                check.missing += 1
            elif _is_plain(line.get("path")):
                check.files += 1
                named.add(_short(line["path"]))
                _check_file(package, line, check)
            else:
                check.problems.append("the manifest has a line that is none")
    if check.about.get("format") != FORMAT or not is_ended:
        check.problems.append("the manifest is cut off, or is no manifest of this form")
    for name in package.names():
        if name != MANIFEST and _short(name) not in named:
            check.problems.append(f"{name} is not in the manifest")
    return check


def _check_file(package: _Reader, line: Line, check: PackageCheck) -> None:
    name, digest, size_bytes, rows = line["path"], hashlib.sha256(), 0, 0
    try:
        with package.open(name) as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                size_bytes += len(piece)
                rows += piece.count(b"\n") if "rows" in line else 0
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        check.problems.append(f"{name} cannot be read ({type(error).__name__})")
        return
    check.size_bytes += size_bytes
    check.rows += rows
    if (size_bytes, digest.hexdigest()) != (line.get("size_bytes"), line.get("sha256")):
        check.problems.append(f"{name} is not what the manifest says of it")
    elif rows != line.get("rows", rows):
        check.problems.append(f"{name} has {rows} rows, not {line['rows']}")


def _line(raw: bytes) -> Line:
    try:
        line = json.loads(raw)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _is_plain(name: object) -> bool:
    """Whether it is a path inside the package."""
    if not isinstance(name, str) or not name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _short(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()
