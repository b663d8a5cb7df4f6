"""Reading a MONAI bundle, a folder or a zip: configs/metadata.json, configs/inference.json, models/model.pt and papers.

Nothing in it is executed. Of the configuration's expressions only literals, references (`@name#key`), `not`, choices
between them and calls with literal arguments are understood.
"""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from models.errors import InvalidBundle, InvalidPackage
from models.package import check_entry, opened_zip

CONFIG_BYTES_MAX = 1 << 20
WEIGHTS_BYTES_MAX = 1 << 30
_DEPTH_MAX = 20
_REFERENCE = re.compile(r"@([A-Za-z_]\w*(?:(?:#|::)\w+)*)", re.ASCII)
_UNREADABLE = (OSError, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, RecursionError)
MISUNDERSTOOD = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    SyntaxError,
    IndexError,
    StopIteration,
    RecursionError,
)
"""What a configuration of another form makes of the code that reads it."""


class _NoLiteral(Exception):
    """A part of an expression that would have to be run."""


@dataclass(frozen=True)
class Bundle:
    """The parts of a bundle that are read. card and licence are empty where it has none."""

    metadata: dict[str, Any]
    inference: dict[str, Any]
    card: str
    licence: str

    def value(self, item: Any, depth: int = 0) -> Any:
        """An item of the configuration with its references resolved and its expressions worked out.

        Raises `ValueError` for what is no literal in the end.
        """
        if depth > _DEPTH_MAX:
            raise ValueError("references run in a circle")
        if isinstance(item, dict):
            return {key: self.value(one, depth + 1) for key, one in item.items()}
        if isinstance(item, list):
            return [self.value(one, depth + 1) for one in item]
        if not isinstance(item, str) or not item.startswith(("@", "$")):
            return item
        if item.startswith("@"):
            return self.value(self._referred(item[1:]), depth + 1)
        names: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            names.append(match[1])
            return f"_{len(names) - 1}"

        tree = ast.parse(_REFERENCE.sub(numbered, item[1:]), mode="eval").body
        found = {f"_{number}": name for number, name in enumerate(names)}
        try:
            return self._evaluate(tree, found, depth)
        except _NoLiteral as error:
            raise ValueError(f"the expression {item[:200]!r} is not understood") from error

    def _evaluate(self, node: ast.expr, names: dict[str, str], depth: int) -> Any:
        if isinstance(node, ast.IfExp):
            branch = node.body if self._evaluate(node.test, names, depth) else node.orelse
            return self._evaluate(branch, names, depth)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return not self._evaluate(node.operand, names, depth)
        if isinstance(node, ast.Name) and node.id in names:
            return self.value(self._referred(names[node.id]), depth + 1)
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            raise _NoLiteral from error

    def _referred(self, path: str) -> Any:
        found: Any = self.inference
        for key in re.split("#|::", path):
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found

    def transforms(self, of: str = "preprocessing", *, with_disabled: bool = False) -> list[dict[str, Any]]:
        """The steps of a chain, without those that are switched off; names without package and without the final d."""
        return [
            one | {"_target_": one["_target_"].rsplit(".", 1)[-1].removesuffix("d")}
            for one in self.inference[of]["transforms"]
            if with_disabled or self.value(one.get("_disabled_", False)) is not True
        ]

    def text(self, key: str, default: str = "") -> str:
        """A text of the metadata as one printable line."""
        line = " ".join(str(self.metadata.get(key, "")).split())
        return "".join(c for c in line if c.isprintable())[:1000] or default


class _Files(Protocol):
    """Opens a file by its path in the bundle; None where there is none."""

    def __call__(self, path: str) -> IO[bytes] | None: ...


def read_bundle(source: Path, checkpoint: Path) -> Bundle:
    """Read the configuration and copy models/model.pt to `checkpoint`. Raises `InvalidBundle`."""
    try:
        with _opened(source) as files:
            metadata = _json(files, "configs/metadata.json")
            inference = _json(files, "configs/inference.json")
            _copy(files, "models/model.pt", checkpoint)
            card, licence = _text(files, "docs/README.md"), _text(files, "LICENSE")
    except (*_UNREADABLE, InvalidPackage) as error:
        raise InvalidBundle(f"the bundle cannot be read: {error}") from error
    if not (isinstance(metadata, dict) and isinstance(inference, dict)):
        raise InvalidBundle("configs/metadata.json and configs/inference.json must be JSON objects")
    return Bundle(metadata, inference, card, licence)


def is_bundle(source: Path) -> bool:
    """Whether a folder or zip has a MONAI bundle's metadata and no manifest of ours. Raises `InvalidPackage`."""
    if source.is_dir():
        return (source / "configs/metadata.json").is_file() and not (source / "manifest.toml").exists()
    with opened_zip(source) as archive:
        names = {one.filename for one in archive.infolist()}
    is_ours = any(name.split("/", 1)[-1] == "manifest.toml" or name == "manifest.toml" for name in names)
    return not is_ours and any(re.fullmatch("([^/]+/)?configs/[^/]+", name) for name in names)


@contextmanager
def _opened(source: Path) -> Iterator[_Files]:
    if source.is_dir():
        root = source.resolve(strict=True)

        def of_folder(path: str) -> IO[bytes] | None:
            file = root / path
            if not file.is_file():
                return None
            if not file.resolve().is_relative_to(root):
                raise InvalidBundle(f"{path} is a link that leads out of the bundle")
            return file.open("rb")

        yield of_folder
        return
    with opened_zip(source) as archive:
        yield lambda path: _member(archive, path)


def _member(archive: zipfile.ZipFile, path: str) -> IO[bytes] | None:
    """The member at `path`, directly or below the one folder that zips of a bundle often have."""
    found = [m for m in archive.infolist() if m.filename == path or m.filename.split("/", 1)[-1] == path]
    if len(found) > 1:
        raise InvalidBundle(f"the zip holds {len(found)} files {path}, one is needed")
    if not found:
        return None
    check_entry(found[0])
    return archive.open(found[0])


def _json(files: _Files, path: str) -> Any:
    file = files(path)
    if file is None:
        raise InvalidBundle(f"the bundle has no {path}")
    with file:
        content = file.read(CONFIG_BYTES_MAX + 1)
    if len(content) > CONFIG_BYTES_MAX:
        raise InvalidBundle(f"{path} is larger than {CONFIG_BYTES_MAX} bytes")
    return json.loads(content)


def _text(files: _Files, path: str) -> str:
    file = files(path)
    if file is None:
        return ""
    with file:
        return file.read(CONFIG_BYTES_MAX).decode("utf-8", "replace")


def _copy(files: _Files, path: str, target: Path) -> None:
    """Copy one file to a path of ours; its own name is never used as a path."""
    file = files(path)
    if file is None:
        raise InvalidBundle(f"the bundle has no {path}")
    written = 0
    with file, target.open("wb") as out:
        while chunk := file.read(1 << 20):
            written += len(chunk)
            if written > WEIGHTS_BYTES_MAX:
                raise InvalidBundle(f"{path} is larger than {WEIGHTS_BYTES_MAX} bytes")
            out.write(chunk)


def read_call(expression: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, positional and keyword arguments of "$a.b.name(…)"; references (@x) count as None."""
    tree = ast.parse(expression.removeprefix("$").replace("@", ""), mode="eval").body
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Attribute):
        raise ValueError(f"not a call: {expression[:200]}")
    positional = [None if isinstance(node, ast.Name) else ast.literal_eval(node) for node in tree.args]
    named = {str(item.arg): ast.literal_eval(item.value) for item in tree.keywords if item.arg != "device"}
    return tree.func.attr, positional, named
