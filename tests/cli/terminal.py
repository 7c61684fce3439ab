"""A person at a terminal: runs the real command on a data folder of its own and reads what it prints."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Terminal:
    """Commands on one data folder, from one working folder."""

    data_dir: Path
    here: Path
    columns: int = 80

    def conductor(self, *words: str, stdin: str = "") -> Said:
        """Run one command to its end."""
        done = subprocess.run(
            self.line(*words), input=stdin, capture_output=True, text=True, cwd=self.here, env=self.environment(),
            timeout=PATIENCE_S,
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start one command; the caller ends it."""
        return subprocess.Popen(
            self.line(*words), stdout=subprocess.PIPE, text=True, cwd=self.here, env=self.environment(), **options
        )

    @staticmethod
    def line(*words: str) -> list[str]:
        return [sys.executable, "-m", "conductor.faces.cli.main", *words]

    def environment(self) -> dict[str, str]:
        """Ours without settings of ours, with the folder and the width."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONDUCTOR_")}
        return kept | {"CONDUCTOR_DATA_DIR": str(self.data_dir), "COLUMNS": str(self.columns)}
