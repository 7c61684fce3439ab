"""Serve MCP on standard input and output: `python -m conductor.faces.mcp`, which is what `conductor mcp` becomes.

Nothing but protocol reaches standard output: whatever else would be printed goes to standard error.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from conductor.app.installation import Installation
from conductor.domain.errors import ConductorError, SettingsError
from conductor.faces.mcp.relay import Relay
from conductor.faces.mcp.stdio import StdioServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the input ends or a signal comes; returns the exit code."""
    options = _options(arguments)
    try:
        installation = Installation.find(data_dir=options.data_dir, config=options.config, environ=os.environ)
    except ConductorError as error:
        sys.stderr.write(f"conductor: {error.message}\n")
        return 2 if isinstance(error, SettingsError) else 1
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        asyncio.run(_serve(Relay(installation), output))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130
    return 0


async def _serve(relay: Relay, output: int) -> None:
    task = asyncio.current_task()
    assert task is not None
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    try:
        await StdioServer(relay.answer, read_from=0, write_to=output).serve()
    finally:
        await relay.close()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conductor mcp", description="Serve MCP on standard input and output.")
    parser.add_argument("--data-dir")
    parser.add_argument("--config")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
