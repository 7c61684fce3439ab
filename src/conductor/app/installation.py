"""Which installation is meant: its settings as far as they are known before its database is open, and its files.

Made by a face from its options and environment; `compose` builds the product on it. Commands that need no server (the
key, verification) work on it directly.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from conductor.adapters.access_key import read_key, rotate_key
from conductor.adapters.data_folder import DataPaths, check_unused
from conductor.adapters.data_folder import RunningServer as RunningServer
from conductor.adapters.data_folder import running_server as server_on
from conductor.app.settings.load import Loaded, load_settings
from conductor.app.settings.model import Settings
from conductor.app.settings.sources import Surroundings
from conductor.domain.errors import Conflict
from conductor.domain.json import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """An installation before it is opened. `overrides` are settings by dotted name from the command line."""

    around: Surroundings
    config: Path | None
    overrides: Mapping[str, JsonValue]
    settings: Settings

    @classmethod
    def find(
        cls,
        *,
        data_dir: str | Path | None = None,
        config: str | Path | None = None,
        environ: Mapping[str, str],
        overrides: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """The installation that options and environment name.

        Raises:
            SettingsError: a setting is unknown or impossible; names the place and the remedy.
        """
        around = Surroundings(
            environ=environ,
            hostname=socket.gethostname(),
            home=Path.home(),
            working_dir=Path.cwd(),
            logical_cores=len(os.sched_getaffinity(0)),
            user_id=os.getuid(),
        )
        given = dict(overrides or {})
        if data_dir is not None:
            given["data_dir"] = str(data_dir)
        chosen = None if config is None else Path(config)
        settings = load_settings(around, arguments=given, config=chosen).settings
        return cls(around=around, config=chosen, overrides=given, settings=settings)

    @property
    def data_dir(self) -> Path:
        """The folder of everything this installation keeps."""
        return self.settings.data_dir

    @property
    def paths(self) -> DataPaths:
        """Where things are below it."""
        return DataPaths(self.data_dir)

    def load(self, database: Mapping[str, JsonValue]) -> Loaded:
        """All settings, those of the database included."""
        return load_settings(self.around, database=database, arguments=self.overrides, config=self.config)

    def running_server(self) -> RunningServer | None:
        """The process that uses this installation now."""
        return server_on(self.data_dir)

    def check_free(self) -> None:
        """See that no process uses this installation, before anything else of it is claimed.

        Raises:
            Conflict: one does; says which, and where it serves.
        """
        check_unused(self.data_dir)

    def read_key(self) -> str | None:
        """The access key; None if none was made yet."""
        return read_key(self.paths.access_key, user_id=self.around.user_id)

    def rotate_key(self) -> Path:
        """Put a new access key in place of the old one; returns its file.

        Raises:
            Conflict: a server runs, which would go on with the old one.
        """
        running = self.running_server()
        if running is not None:
            raise Conflict(f"the server (pid {running.pid}) uses the old key; stop it first, then rotate the key")
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        rotate_key(self.paths.access_key)
        return self.paths.access_key

    def arguments(self) -> list[str]:
        """The options that make another process find this installation."""
        found = ["--data-dir", str(self.data_dir)]
        return found if self.config is None else [*found, "--config", str(self.config)]
