"""Start a server program on a free port and wait until it is ready.

The port is chosen here and may be taken before the program has it: another is tried then.
"""

import asyncio
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog

from conductor.adapters.endpoints.client import EndpointClient
from conductor.adapters.servers import keeper
from conductor.adapters.servers.process import Bounds, ServerProcess
from conductor.domain.clock import Clock
from conductor.domain.errors import ModelError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a program is started on a port.

    Args:
        arguments: the executable's path and all that follows.
        environment: all that it sees; with the key of its port, without any other secret.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]


async def start(
    launch: Callable[[int], Launch],
    client: EndpointClient,
    *,
    program: str,
    model: str,
    secret: str,
    clock: Clock,
    bounds: Bounds,
) -> ServerProcess:
    """Start a program and wait until it is ready; cancelling ends it.

    Args:
        launch: how it is started on a port.
        client: knows the key of all ports that it may be started on.
        program, model: as people call them.
        secret: that key, which must not appear in messages.

    Raises:
        ModelError: it cannot be started, ends, hangs, or takes too long; with its last words.
    """
    for further in reversed(range(bounds.ports)):
        port = unused_port()
        running = await _begun(launch(port), program=program, model=model, port=port, secret=secret, bounds=bounds)
        try:
            await running.ready(client, clock, bounds)
        except BaseException as failed:  # cancelled while it loads, too: nothing may be left behind
            await running.close("it was not ready in time")
            if further and isinstance(failed, ModelError) and _is_taken(port):
                log.info("model_server_port_taken", program=program, model=model, port=port)
                continue
            raise
        return running
    raise AssertionError("the last attempt returns or raises")


async def _begun(
    launch: Launch, *, program: str, model: str, port: int, secret: str, bounds: Bounds
) -> ServerProcess:  # fmt: skip
    try:
        kept = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(Path(keeper.__file__)), str(bounds.grace_s), *launch.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(launch.environment),
            start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
        )  # fmt: skip
    except OSError as refused:
        raise ModelError(f"{program} cannot be started: {refused}", field="model") from refused
    return ServerProcess(kept, program=program, model=model, port=port, secret=secret)


def unused_port() -> int:
    """A port of the loopback address that nobody has right now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as looked:
        looked.bind(("127.0.0.1", 0))
        return int(looked.getsockname()[1])


def _is_taken(port: int) -> bool:
    """Whether somebody listens there."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
