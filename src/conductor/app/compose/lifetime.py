"""Begin the product in order and end it in the opposite order, however it ends.

What was opened is closed by the `undo` that every part registers with when it opens something; the background tasks end
before all of that.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.app.compose.background import at_work
from conductor.app.compose.execution import set_up_execution
from conductor.app.compose.fleet import find_fleet
from conductor.app.compose.foundation import Foundation, lay_foundation
from conductor.app.compose.listening import listen
from conductor.app.compose.minds import wake_minds
from conductor.app.compose.parts import Parts
from conductor.app.compose.record import open_record
from conductor.app.compose.serving import set_up_serving
from conductor.app.compose.use_cases import build_conductor
from conductor.app.conductor import Conductor
from conductor.app.installation import Installation
from conductor.domain.errors import StorageError


@contextlib.asynccontextmanager
async def running(
    installation: Installation, *, url: str | None = None, dispatch: bool = True
) -> AsyncIterator[Conductor]:
    """The product, running for the duration of the block.

    Args:
        installation: its settings and files.
        url: told to other processes of this user.
        dispatch: False only looks: waiting tasks stay waiting, nothing is executed, no model is loaded.

    Raises:
        Conflict: another process uses the installation.
        SettingsError, StorageError, LedgerError: it cannot start; the message says why and what to do.
    """
    encoder = OnnxEncoder()
    async with contextlib.AsyncExitStack() as undo:
        # Reading and checking the weights takes as long as the database and the machine together: beside them.
        reading = asyncio.get_running_loop().run_in_executor(None, _read, encoder)
        undo.push_async_callback(asyncio.wait, [reading])
        foundation = await lay_foundation(installation, undo)
        parts = await _parts(foundation, undo, encoder, dispatch=dispatch)
        conductor = build_conductor(parts)
        listen(parts, conductor)
        await undo.enter_async_context(at_work(parts, conductor, dispatch=dispatch))
        if url is not None:
            foundation.folder.announce(url)
        yield conductor


async def _parts(
    foundation: Foundation, undo: contextlib.AsyncExitStack, encoder: OnnxEncoder, *, dispatch: bool
) -> Parts:
    fleet = await find_fleet(foundation)
    execution = await set_up_execution(foundation, fleet, encoder, undo)
    record = await open_record(foundation, undo)
    minds = await wake_minds(foundation, fleet, record, encoder, undo)
    serving = await set_up_serving(foundation, record, encoder, undo, loads=dispatch)
    return Parts(foundation=foundation, fleet=fleet, execution=execution, record=record, minds=minds, serving=serving)


def _read(encoder: OnnxEncoder) -> None:
    with contextlib.suppress(StorageError):  # whoever uses it first is told
        encoder.checksum  # noqa: B018  # the first look loads it
