"""A PostgreSQL of our own, from the machine's packages: made in a temporary directory, gone after the run."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSIONS = Path("/usr/lib/postgresql")


def binaries() -> Path | None:
    """Where initdb and pg_ctl are, if anywhere; Debian keeps them out of PATH."""
    found = sorted(VERSIONS.glob("*/bin/pg_ctl"))
    on_path = shutil.which("pg_ctl")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def unprivileged() -> str | None:
    """A user to run as: PostgreSQL refuses to be root's. None: we are nobody special ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("there is no user to run PostgreSQL as")


class Postgres:
    """A running server, reached through a socket in its directory."""

    def __init__(self, directory: Path, programs: Path, user: str | None) -> None:
        self._directory, self._programs, self._user = directory, programs, user
        self.url = f"postgresql://muybridge@/postgres?host={directory}"

    def run(self, *command: str) -> None:
        program, *arguments = command
        log = self._directory / "run.log"
        with log.open("ab") as output:
            subprocess.run(
                [self._programs / program, *arguments],
                user=self._user,
                cwd=self._directory,
                check=True,
                stdout=output,
                stderr=output,
                timeout=120,
            )

    def start(self) -> None:
        options = f"-k {self._directory} -c listen_addresses= -c max_connections=50"
        data = str(self._directory / "data")
        self.run("pg_ctl", "start", "-w", "-t", "100", "-D", data, "-o", options, "-l", f"{data}/server.log")

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self._directory / "data"))


@contextmanager
def postgres(directory: Path) -> Iterator[Postgres]:
    """A new, empty server."""
    programs = binaries()
    assert programs is not None
    user = unprivileged()
    if user is not None:
        shutil.chown(directory, user)
    server = Postgres(directory, programs, user)
    server.run("initdb", "-D", str(directory / "data"), "-U", "muybridge", "-A", "trust", "--no-sync")
    server.start()
    try:
        yield server
    finally:
        server.stop()
