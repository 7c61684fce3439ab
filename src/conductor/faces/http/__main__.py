"""Run the server: `python -m conductor.faces.http`, which is what `conductor serve` becomes.

Prints the address once it listens. With `--embedded` it takes a free port and ends when its standard input closes, so it
never outlives the command that started it; what it still runs then is cut off, and repeated at the next start. With
`--look-only` it executes nothing at all, with `--skip-model-loading` it answers everything that needs no model, and with
`--mcp-only` it becomes the MCP server on standard input and output.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence

import uvicorn
import uvloop

from conductor.app.compose import running
from conductor.app.conductor import Conductor
from conductor.app.installation import Installation
from conductor.app.logs import configure_logging
from conductor.app.server_process import settle_in
from conductor.app.settings.model import Settings
from conductor.app.supervised import Supervision, supervised
from conductor.domain.errors import ConductorError, SettingsError
from conductor.faces.http.one_write import OneWrite
from conductor.faces.http.server import create_app
from conductor.faces.mcp.endpoint import McpEndpoint

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit code."""
    options = _options(arguments)
    if options.mcp_only:
        _become_mcp(options)
    overrides = {
        "server.host": options.host,
        "server.port": 0 if options.embedded else options.port,
        "log.level": "warning" if options.embedded and options.log_level is None else options.log_level,
        "server.require_key": False if options.no_key else None,
        "executor.drain_s": 0.0 if options.embedded else None,
        "serving.load_models": False if options.skip_model_loading else None,
        "serving.preload": False if options.embedded else None,
    }
    try:
        installation = Installation.find(
            data_dir=options.data_dir,
            config=options.config,
            environ=os.environ,
            overrides={name: value for name, value in overrides.items() if value is not None},
        )
        configure_logging(installation.settings)
        settle_in()
        uvloop.run(serve(installation, embedded=options.embedded, dispatch=not options.look_only))
    except ConductorError as error:
        return _complaint(error)
    except ExceptionGroup as group:  # a background task of the running server failed
        ours, others = group.split(ConductorError)
        if ours is None or others is not None:
            raise
        return _complaint(next(_leaves(ours)))
    except KeyboardInterrupt:
        return 130
    return 0


def _complaint(error: ConductorError) -> int:
    sys.stderr.write(f"conductor: {error.message}\n")
    return 2 if isinstance(error, SettingsError) else 1


def _leaves(group: ExceptionGroup[ConductorError]) -> Iterator[ConductorError]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


class _Server(uvicorn.Server):
    """uvicorn without its own signals: after them it would raise the signal again, before tasks and store have ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`."""
        yield

    def stop(self) -> None:
        """Take no more requests and end those under way."""
        self.should_exit = True


async def serve(installation: Installation, *, embedded: bool, dispatch: bool = True) -> None:
    """Compose, listen, say so, and serve until a signal comes (or, embedded, until standard input closes)."""
    settings = installation.settings
    installation.check_free()
    listener = _listen(settings)
    with listener:
        port = listener.getsockname()[1]
        url = f"http://{_shown(settings.server.host)}:{port}"
        # One that only looks is told to nobody: work handed to it would wait. It is gone in a moment; others wait for that.
        async with running(installation, url=url if dispatch else None, dispatch=dispatch) as conductor:
            app = create_app(
                conductor,
                hosts=LOOPBACK | {_shown(settings.server.host).lower()},
                beside={"/mcp": McpEndpoint.of(conductor, conductor.serving)},
            )
            server = _Server(
                uvicorn.Config(
                    app,
                    http=OneWrite,
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    timeout_graceful_shutdown=5,
                    ws="none",
                )
            )
            for name in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(name, server.stop)
            async with supervised(conductor, url, os.environ) as supervision, asyncio.TaskGroup() as group:
                group.create_task(_announce(server, conductor, url, supervision, embedded=embedded))
                if embedded:
                    group.create_task(_end_with_input(server))
                await server.serve(sockets=[listener])
                server.should_exit = True


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets this only on sockets it made itself; without it a kept-alive connection waits 40 ms for every answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((settings.server.host.strip("[]"), settings.server.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {settings.server.host}:{settings.server.port}: {error.strerror}; "
            "choose another with --port (0 takes a free one)",
            field="server.port",
        ) from error
    return listener


async def _announce(
    server: uvicorn.Server, conductor: Conductor, url: str, supervision: Supervision, *, embedded: bool
) -> None:
    while not server.started:
        if server.should_exit:
            return
        await asyncio.sleep(0.01)
    supervision.ready()
    if embedded:
        sys.stdout.write(f"{url}\n")
    else:
        token = conductor.access.issue_login()
        sys.stdout.write(f"Conductor serves {url}\n")
        if token is not None:
            sys.stdout.write(f"Open in a browser (once, within ten minutes): {url}/login?token={token}\n")
    sys.stdout.flush()


async def _end_with_input(server: uvicorn.Server) -> None:
    """Wait for the end of standard input in a way that does not keep the process alive by itself."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    while not server.should_exit:
        try:
            async with asyncio.timeout(0.5):
                await ended.wait()
        except TimeoutError:
            continue
        ended.clear()
        if not os.read(sys.stdin.fileno(), 1024):
            break
    loop.remove_reader(sys.stdin.fileno())
    server.should_exit = True


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _become_mcp(options: argparse.Namespace) -> None:
    chosen = [("--data-dir", options.data_dir), ("--config", options.config)]
    further = [part for name, value in chosen if value is not None for part in (name, value)]
    os.execv(sys.executable, [sys.executable, "-m", "conductor.faces.mcp", *further])  # noqa: S606


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="conductor serve", description="Serve the HTTP API and run tasks.", allow_abbrev=False
    )
    parser.add_argument("--data-dir", help="where tasks, ledger, key and SETTINGS.md lie")
    parser.add_argument("--config", help="a file with settings")
    parser.add_argument("--host", help="address to listen on; 127.0.0.1 by default")
    parser.add_argument("--port", type=int, help="8000 by default; 0 takes a free one")
    parser.add_argument("--log-level", type=str.lower, choices=["debug", "info", "warning", "error"])
    flags = {
        "--no-key": "answer without a key: loopback only, and nothing that executes code",
        "--embedded": "take a free port, and end when standard input closes",
        "--look-only": "execute nothing",
        "--skip-model-loading": "load no model: everything that needs none is served",
        "--mcp-only": "serve MCP on standard input and output instead",
    }
    for name, meaning in flags.items():
        parser.add_argument(name, action="store_true", help=meaning)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
