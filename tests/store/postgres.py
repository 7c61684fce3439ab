"""A PostgreSQL of our own for the tests: started in a new folder, reached through a socket in it, removed at the end."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

OLDEST = 15


def find_programs() -> Path | None:
    """The folder of the newest installed server programs that we support."""
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path is not None:
        installed.append(Path(on_path).resolve().parent)
    by_version = {_version(folder): folder for folder in installed}
    newest = max(by_version, default=0)
    return by_version[newest] if newest >= OLDEST else None


def _version(folder: Path) -> int:
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", said)
    return int(found[0]) if found else 0


class Cluster:
    """One server process with its data. It refuses to run as root, and is then run as another user."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="conductor-pg-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "--pgdata", self._data, "--username", "conductor", "--auth", "trust", "--encoding", "UTF8")
        self.start()

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c max_connections=40"
        log = self.folder / "log"
        self._run("pg_ctl", "start", "-w", "-s", "--pgdata", self._data, "--log", log, "--options", options)

    def stop(self) -> None:
        """End it as a power cut would: nothing is flushed, nobody is waited for."""
        self._run("pg_ctl", "stop", "-w", "-s", "--pgdata", self._data, "--mode", "immediate")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def empty_database(self) -> str:
        """The address of the one database, emptied; a new one for each test would fill the disk."""
        empty = "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        self._run("psql", "--host", self.folder, "--username", "conductor", "-c", empty, "postgres")
        return f"postgresql://conductor@/postgres?host={self.folder}"

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self._programs / program, *map(str, arguments)],
            check=True,
            cwd=self.folder,
            user=self._user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


def _unprivileged_user() -> str:
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
