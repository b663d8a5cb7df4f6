"""A root folder in which the steps of the Dockerfile run and their result is served, in namespaces of Linux alone.

This machine's system and Python stand in it read-only in place of the base image; /build and what the
steps put into /opt are its own. It takes an account that may make namespaces, which is to say root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

USER = 10001
PYTHON = Path(sys.base_prefix)
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib64", "etc")


@dataclass(frozen=True)
class MiniRoot:
    """folder: becomes /. Beside it lie what is mounted: volume (/var/lib/radmeter) and the tables of users."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> MiniRoot:
        for name in ("build", "opt/radmeter", "opt/tools", "var/lib/radmeter", "tmp", "dev", "proc", "shims"):
            (folder / name).mkdir(parents=True)
        for name in _SYSTEM:
            outside = Path("/") / name
            if outside.is_symlink():
                (folder / name).symlink_to(os.readlink(outside))
            elif outside.is_dir():
                (folder / name).mkdir()
        if not PYTHON.is_relative_to("/usr"):
            (folder / PYTHON.relative_to("/")).mkdir(parents=True)
        # Where this machine's own configuration of pip may point.
        for outside in Path("/opt").iterdir():
            if outside.is_dir():
                (folder / "opt" / outside.name).mkdir(exist_ok=True)
        # The base image calls it python; Debian may not.
        (folder / "shims" / "python").symlink_to(PYTHON / "bin" / f"python3.{sys.version_info.minor}")
        volume = folder.parent / "volume"
        volume.mkdir(mode=0o700)
        shutil.chown(volume, USER, USER)
        for table in ("passwd", "group"):
            line = {
                "passwd": f"radmeter:x:{USER}:{USER}::/var/lib/radmeter:/usr/sbin/nologin\n",
                "group": f"radmeter:x:{USER}:\n",
            }
            (folder.parent / table).write_text(Path("/etc", table).read_text() + line[table])
        return cls(folder)

    def command(self, program: str, *, read_only: bool) -> list[str]:
        """To run `program` (a line of shell) in it: as root to build, or as the image's user with / read-only."""
        root, beside = shlex.quote(str(self.folder)), shlex.quote(str(self.folder.parent))
        mounts = ["set -e", "mount --make-rprivate /", f"mount --bind {root} {root}"]
        more = [f"opt/{p.name}" for p in Path("/opt").iterdir()]
        more += [] if PYTHON.is_relative_to("/usr") else [str(PYTHON.relative_to("/"))]
        for name in (*_SYSTEM, *more):
            if (self.folder / name).is_dir() and not (self.folder / name).is_symlink():
                mounts += [f"mount --rbind /{name} {root}/{name}", f"mount -o remount,bind,ro {root}/{name}"]
        mounts += [f"mount --bind {beside}/{table} {root}/etc/{table}" for table in ("passwd", "group")]
        mounts += [f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
        who = ""
        if read_only:
            mounts += [
                f"mount -o remount,bind,ro {root}", f"mount -t tmpfs tmpfs {root}/tmp",
                f"mount --bind {beside}/volume {root}/var/lib/radmeter",
            ]  # fmt: skip
            who = f"--userspec={USER}:{USER} --groups="
        inner = f"exec chroot {who} {root} /bin/sh -c {shlex.quote(program)}"
        return [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            "\n".join([*mounts, inner]),
        ]

    def build(self, program: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
        environment |= {
            "PATH": "/shims:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            "HOME": "/tmp",
            "PROFILE": "cpu",
        }
        environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
        return subprocess.run(
            self.command(f"cd /build && {program}", read_only=False), env=environment, capture_output=True, text=True
        )  # fmt: skip


def may_make_namespaces() -> bool:
    probe = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", "mount --make-rprivate /"]
    return shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0
