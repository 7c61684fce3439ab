"""What every command needs: which installation is meant, and a console for people.

Whatever takes time to import (settings, rich's progress bars) is imported by the command that uses it: `--help` and
shell completion load this module too.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from conductor.domain.errors import InvalidInput, NotFound
from conductor.faces.cli.client import Client

if TYPE_CHECKING:
    from conductor.app.installation import Installation


@dataclass
class Context:
    """The options before the command."""

    data_dir: str | None
    config: str | None

    @cached_property
    def installation(self) -> "Installation":
        """The installation these options name."""
        from conductor.app.installation import Installation

        return Installation.find(data_dir=self.data_dir, config=self.config, environ=os.environ)

    def arguments(self) -> list[str]:
        """The options that make another process find the installation; it reads the settings, so this one need not."""
        chosen = (("--data-dir", self.data_dir), ("--config", self.config))
        return [f"{name}={value}" for name, value in chosen if value is not None]

    @cached_property
    def console(self) -> Console:
        """Standard output, for people."""
        return Console(highlight=False, emoji=False)

    @cached_property
    def notes(self) -> Console:
        """Standard error, for progress that must not mix with results."""
        return Console(stderr=True, highlight=False, emoji=False)

    @contextlib.contextmanager
    def server(self, *, embed: bool = True, work: bool = False) -> Iterator[Client]:
        """The running server, or an embedded one for the duration of the command; see `connected`."""
        from conductor.faces.cli.connection import connected

        with connected(self.installation, console=self.notes, embed=embed, work=work) as client:
            yield client


def of(context: typer.Context) -> Context:
    """The options of this call."""
    found = context.obj
    assert isinstance(found, Context)
    return found


def read_text(path: str) -> str:
    """A file's text, `-` for standard input.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it cannot be read, or is no UTF-8 text.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # the path is the user's own word
            return file.read()
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", field="input") from None
    except OSError as failure:
        raise InvalidInput(f"{path} cannot be read: {failure.strerror or failure}", field="input") from failure
    except UnicodeDecodeError as failure:
        where = failure.object[: failure.start].count(b"\n") + 1
        raise InvalidInput(f"{path} is no UTF-8 text: line {where} has other bytes", field="input") from failure


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Translate what goes wrong while a file of the user's choice is written.

    Raises:
        InvalidInput: it cannot be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as failure:
        raise InvalidInput(f"{path} cannot be written: {failure.strerror or failure}", field="output") from failure


def as_json(value: object) -> Any:
    """A domain value as plain JSON data."""
    import orjson

    return orjson.loads(orjson.dumps(value, default=sorted))
