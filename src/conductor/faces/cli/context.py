"""What every command needs: which installation is meant, and a console for people."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import typer
from rich.console import Console

from conductor.app.installation import Installation
from conductor.faces.cli.client import Client


@dataclass
class Context:
    """The options before the command."""

    data_dir: str | None
    config: str | None

    @cached_property
    def installation(self) -> Installation:
        """The installation these options name."""
        return Installation.find(data_dir=self.data_dir, config=self.config, environ=os.environ)

    @cached_property
    def console(self) -> Console:
        """Standard output, for people."""
        return Console(highlight=False)

    @cached_property
    def notes(self) -> Console:
        """Standard error, for progress that must not mix with results."""
        return Console(stderr=True, highlight=False)

    @contextlib.contextmanager
    def server(self, *, embed: bool = True) -> Iterator[Client]:
        """The running server, or an embedded one for the duration of the command."""
        from conductor.faces.cli.connection import connected

        with connected(self.installation, console=self.notes, embed=embed) as client:
            yield client


def of(context: typer.Context) -> Context:
    """The options of this call."""
    found = context.obj
    assert isinstance(found, Context)
    return found


def read_text(path: str) -> str:
    """A file's text, `-` for standard input."""
    if path == "-":
        return sys.stdin.read()
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  # the path is the user's own word
        return file.read()


def as_json(value: object) -> Any:
    """A domain value as plain JSON data."""
    import orjson

    return orjson.loads(orjson.dumps(value, default=sorted))
