"""`conductor mcp`: serve MCP on standard input and output, for desktop assistants."""

import os
import sys

import typer

from conductor.faces.cli import context as contexts


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp")(mcp)


def mcp(context: typer.Context) -> None:
    """Serve MCP on standard input and output. Uses the running server, or starts one for as long as this runs."""
    arguments = contexts.of(context).arguments()
    sys.stdout.flush()
    # MCP is a face of its own: this process becomes it, so that standard input and signals need no forwarding.
    os.execv(sys.executable, [sys.executable, "-m", "conductor.faces.mcp", *arguments])  # noqa: S606
