"""The inside of an engine process: takes requests from its standard input, computes, and tells on its standard output.

One thread computes, and looks for new requests and for cancelled ones between two tokens. Another only reads, so that
the end of the server is noticed even in the middle of a computation; the process ends then, at once. Which engine it is
and where the model lies is `app.serving.engine_process`'s to find out.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, BinaryIO, Final, Protocol

from conductor.adapters.runners import frames
from conductor.adapters.runners.beginnings import Tell
from conductor.adapters.runners.writing import Emit
from conductor.domain.errors import ConductorError, ModelError
from conductor.domain.generation import Generation, Message, Piece, Usage
from conductor.serving.ports import RunnerFacts, Warmed

#: How torch and llama.cpp tell of failures, among other things.
FAILURES: Final = (ConductorError, RuntimeError, MemoryError)
_SIGN_OF_LIFE_S: Final = 5.0


class Engine(Protocol):
    """A loaded model, inside its process."""

    facts: RunnerFacts
    notes: tuple[str, ...]

    @property
    def has_work(self) -> bool:
        """Whether `step` would do something."""
        ...

    def begin(self, number: int, asked: Generation, emit: Emit) -> None:
        """Have an answer written; `emit` may be called from any thread. Raises what `Runner.generate` does."""
        ...

    def warm(self, number: int, beginning: Sequence[Message], tell: Tell) -> None:
        """Read what conversations begin with, behind all answers; as `WarmingRunner.warm`."""
        ...

    def cancel(self, number: int) -> None:
        """Stop an answer, or a beginning, within one token."""
        ...

    def ended(self, number: int) -> None:
        """Its last piece or its error was told."""
        ...

    def step(self) -> None:
        """Compute a little for everybody."""
        ...

    def count_tokens(self, asked: Generation) -> int:
        """As `Runner.count_tokens`."""
        ...

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """As `Runner.embed`."""
        ...


class Worker:
    """Serves one engine over two pipes.

    Args:
        source: frames of the server.
        sink: frames to the server.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._writing = threading.Lock()
        self._told_s = time.monotonic()
        self._requests: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._open: set[int] = set()
        threading.Thread(target=self._read, daemon=True).start()

    def run(self, load: Callable[[], Engine]) -> int:
        """Load and serve until the server is gone; the exit code is 1 if the model cannot be loaded."""
        try:
            engine = load()
        except FAILURES as failed:
            self._send({"error": frames.error_as_data(_as_ours(failed))})
            return 1
        self._send({"ready": frames.facts_as_data(engine.facts), "notes": engine.notes})
        while True:
            for request in self._taken(wait=not engine.has_work):
                self._do(engine, request)
            if engine.has_work:
                engine.step()
            if self._open and time.monotonic() - self._told_s > _SIGN_OF_LIFE_S:
                self._send({})

    def _taken(self, *, wait: bool) -> list[Mapping[str, Any]]:
        """Requests that have come; waits for one if there is nothing else to do, but not without a sign of life."""
        taken = []
        try:
            if wait:
                taken.append(self._requests.get(timeout=_SIGN_OF_LIFE_S if self._open else None))
            while True:
                taken.append(self._requests.get_nowait())
        except queue.Empty:
            return taken

    def _do(self, engine: Engine, request: Mapping[str, Any]) -> None:
        number = request["id"]
        try:
            match request["do"]:
                case "generate":
                    self._open.add(number)
                    engine.begin(
                        number,
                        frames.asked_of(request["asked"]),
                        self._teller(engine, number, str(request.get("trace", ""))),
                    )
                case "warm":
                    self._open.add(number)
                    engine.warm(number, frames.messages_of(request["messages"]), partial(self._warmed, number))
                case "cancel":
                    self._open.discard(number)
                    engine.cancel(number)
                case "count":
                    self._send({"id": number, "count": engine.count_tokens(frames.asked_of(request["asked"]))})
                case "embed":
                    vectors, usage = engine.embed(request["texts"])
                    self._send({"id": number, "vectors": vectors, "usage": asdict(usage)})
        except FAILURES as failed:
            self._open.discard(number)
            self._send({"id": number, "error": frames.error_as_data(_as_ours(failed))})

    def _warmed(self, number: int, became: Warmed | ConductorError) -> None:
        self._open.discard(number)
        if isinstance(became, ConductorError):
            self._send({"id": number, "error": frames.error_as_data(became)})
        else:
            self._send({"id": number, "warmed": asdict(became)})

    def _teller(self, engine: Engine, number: int, trace: str) -> Emit:
        began_s = time.monotonic()
        first_s: float | None = None

        def tell(said: Piece | ConductorError) -> None:
            nonlocal first_s
            first_s = time.monotonic() if first_s is None else first_s
            if isinstance(said, ConductorError):
                self._send({"id": number, "error": frames.error_as_data(said)})
            else:
                self._send({"id": number, "piece": frames.piece_as_data(said)})
                if said.finish is None:
                    return
            self._send({"computed": _computed(said, trace, first_s - began_s, time.monotonic() - began_s)})
            self._open.discard(number)
            engine.ended(number)

        return tell

    def _send(self, message: Mapping[str, Any]) -> None:
        with self._writing:
            self._sink.write(frames.frame(message))
            self._sink.flush()
            self._told_s = time.monotonic()

    def _read(self) -> None:
        """Runs beside the computation, so that the end of the server is noticed at once."""
        try:
            while head := self._source.read(frames.LENGTH.size):
                self._requests.put(frames.message(self._source.read(frames.length_of(head))))
        finally:
            os._exit(0)


def _computed(last: Piece | ConductorError, trace: str, first_s: float, duration_s: float) -> dict[str, Any]:
    """What the server's log is told of an answer."""
    figures: dict[str, Any] = {"trace": trace, "first_token_ms": round(first_s * 1000)}
    figures["duration_ms"] = round(duration_s * 1000)
    if isinstance(last, ConductorError):
        return figures | {"error_code": last.code}
    usage = {} if last.usage is None else asdict(last.usage)
    return figures | usage | {"finish": None if last.finish is None else last.finish.value}


def _as_ours(failed: BaseException) -> ConductorError:
    if isinstance(failed, ConductorError):
        return failed
    return ModelError(f"its computation failed: {str(failed)[:200]}; choose a smaller model or ask for less")
