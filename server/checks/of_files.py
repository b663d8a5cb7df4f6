"""Checks of this machine: room, rights of files, certificates, ports, time zones, what of the settings is unsafe."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dicom_gateway.tls import days_left
from server.checks.finding import Check, Finding, Ground
from server.gateway import tls_files
from server.object_store import object_store_problem

_FREE_BYTES_MIN = 5 << 30
_FREE_INODES_MIN = 0.05
_CERTIFICATE_DAYS_MIN = 30


def room(ground: Ground) -> Finding | None:
    folder = ground.settings.data_directory
    free, space = shutil.disk_usage(folder).free, os.statvfs(folder)
    means = "C-STORE is refused (A700H) below 512 MiB; senders keep their studies and send them again"
    do = "make room or enlarge the disk; what is delivered may go by the retention of docs/operations.md"
    if free < _FREE_BYTES_MIN:
        return Finding(f"{free >> 20} MiB left in {folder}", means, do)
    if space.f_files and space.f_favail < _FREE_INODES_MIN * space.f_files:
        return Finding(f"{space.f_favail} of {space.f_files} inodes left in {folder}", means, do)
    return None


def writable(ground: Ground) -> Finding | None:
    folder = ground.settings.data_directory
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"radmeter doctor")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Finding(
            f"{folder} cannot be written: {error.strerror}",
            "nothing is received and no step ends",
            "mend the mount or its rights; then nothing else is to do, processes go on by themselves",
        )
    return None


def private_files(ground: Ground) -> Finding | None:
    settings = ground.settings
    secret = [settings.secrets_directory, *sorted(settings.secrets_directory.glob("*"))]
    secret += [Path(one) for one in (settings.dicom_tls_key, os.environ.get("RADMETER_CONFIG", "")) if one]
    open_ones = [f"{one} ({stat.S_IMODE(one.stat().st_mode):04o})" for one in secret if _is_open(one)]
    if _is_open(settings.data_directory) and any(
        _is_open(one) for one in (settings.instances_directory, settings.results_directory)
    ):
        open_ones.append(f"{settings.data_directory} and what is in it")
    if not open_ones:
        return None
    return Finding(
        f"others on this machine can read {', '.join(open_ones[:4])}",
        "keys, passwords or images of patients are open to every user of the machine",
        f"chmod -R o= {settings.data_directory}, and chmod 600 for keys",
    )


def _is_open(path: Path) -> bool:
    with suppress(OSError):
        return bool(path.stat().st_mode & 0o007)
    return False


def time_zones(ground: Ground) -> Finding | None:
    for name in (ground.settings.time_zone, "Asia/Shanghai", "Europe/Berlin"):
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, OSError):
            return Finding(
                f"the time zone {name} is not known on this machine",
                "days and months of statements would begin at the wrong hour",
                "install the package tzdata",
            )
    return None


def safe_settings(ground: Ground) -> Finding | None:
    settings = ground.settings
    if not _is_local(settings.http_host) and not settings.cookie_secure:
        return Finding(
            f"the portal listens on {settings.http_host} and its cookies do not ask for https",
            "passwords and names of patients may cross the network readable",
            "put a proxy with TLS before it and set RADMETER_COOKIE_SECURE=true (docs/operations.md, TLS)",
        )
    url = settings.database_url
    if url and "sslmode" not in url and not _is_local(_host_of(url)):
        return Finding(
            "the database is on another machine and its URL asks for no TLS",
            "what is stored of patients may cross the network readable",
            "add ?sslmode=verify-full&sslrootcert=… to RADMETER_DATABASE_URL",
        )
    return None


def passwords(ground: Ground) -> Finding | None:
    row = ground.database.execute(
        """SELECT count(*) AS n FROM portal_user WHERE disabled_at IS NULL AND password_hash IS NOT NULL
           AND must_change_password"""
    ).fetchone()
    if row is None or not row["n"]:
        return None
    return Finding(
        f"{row['n']} users of the portal still have the password that was given to them",
        "whoever saw the log of the first start may sign in",
        "sign in as them and choose another; radmeter user list shows who it is, radmeter user password sets one",
    )


def _host_of(url: str) -> str:
    from psycopg.conninfo import conninfo_to_dict

    return str(conninfo_to_dict(url).get("host") or "")


def _is_local(host: str) -> bool:
    if host in ("", "localhost") or host.startswith("/"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def certificate(ground: Ground) -> Finding | None:
    files = tls_files(ground.settings)
    if files is None:
        return None
    days = days_left(files)
    if days >= _CERTIFICATE_DAYS_MIN:
        return None
    return Finding(
        f"our DICOM certificate {'ended' if days < 0 else 'ends'} {abs(days)} days {'ago' if days < 0 else 'from now'}",
        "peers that check it will not send any more",
        f"put the next one into {files.certificate}; no restart is needed",
    )


def objects_kept(ground: Ground) -> Finding | None:
    problem = object_store_problem(ground.settings)
    if problem is None:
        return None
    return Finding(
        f"{ground.settings.objects_endpoint or ground.settings.objects}: {problem}",
        "C-STORE is refused (A700H), steps wait and are tried again; nothing is lost",
        "docs/objects.md, When it does not work: address, credentials, rights of the bucket, its network",
    )


def dicom_port(ground: Ground) -> Finding | None:
    settings = ground.settings
    if not ground.runs_here("gateway"):
        return None
    ports = [settings.dicom_port] if settings.dicom_plain else []
    ports += [settings.dicom_tls_port] if settings.dicom_tls_certificate else []
    return _silent_port(settings.dicom_host, ports, "the gateway does not answer", "senders cannot send")


def portal_port(ground: Ground) -> Finding | None:
    settings = ground.settings
    if not ground.runs_here("portal"):
        return None
    return _silent_port(
        settings.http_host, [settings.http_port], "the portal does not answer", "nobody can read results"
    )


def _silent_port(host: str, ports: list[int], what: str, means: str) -> Finding | None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 not bound
    silent = []
    for port in ports:
        try:
            socket.create_connection((host, port), timeout=2).close()
        except OSError:
            silent.append(f"{host}:{port}")
    if not silent:
        return None
    do = "is it running? `systemctl status radmeter`; another program may have the port: `ss -ltnp`"
    return Finding(f"{what} on {', '.join(silent)}", means, do)


CHECKS = (
    Check("the disk has room", room, needs_database=False),
    Check("the data directory can be written", writable, needs_database=False),
    Check("the DICOM ports answer", dicom_port, needs_database=False),
    Check("the portal answers", portal_port, needs_database=False),
    Check("our DICOM certificate lasts", certificate, needs_database=False),
    Check("secrets and images are closed to others", private_files, needs_database=False),
    Check("nothing in the settings is unsafe", safe_settings, needs_database=False),
    Check("given passwords were changed", passwords),
    Check("time zones are known", time_zones, needs_database=False),
    Check("the object store writes, lists, reads and removes", objects_kept, deep=True, needs_database=False),
)
