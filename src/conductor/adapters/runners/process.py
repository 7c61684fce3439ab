"""Run a model in an engine process of its own: start it, talk to it, notice when it dies, and leave nothing behind.

torch and llama.cpp can crash, swell or hang there and harm nothing. The engine ends when its standard input closes, so
it never outlives the server. What is said over the pipes is `frames`'; what the engine does is `worker`'s. A dead or
silent engine ends its generations with `ModelError`; starting it again is for whoever loads models.

A caller that reads slowly costs no more than its own answer: pieces it has not taken are joined.
"""

import asyncio
import signal
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from typing import Any, Final

import structlog

from conductor.adapters.runners import frames
from conductor.domain.clock import Clock
from conductor.domain.errors import ModelError
from conductor.domain.generation import Generation, Message, Piece, Usage
from conductor.serving.ports import RunnerFacts, Warmed

_ENDING_S: Final = 5.0
_LONGEST_COMPLAINT: Final = 2_000
#: The most that is read ahead of an engine that talks faster than we listen.
_READ_AHEAD: Final = 1 << 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCommand:
    """How engine processes are started.

    Args:
        program: `python -P -m conductor.app.serving.engine_process`; the model's arguments follow.
        environment: all that the engine sees; without secrets.
        loading_s: bound of loading.
        silence_s: an engine that is working and says nothing for that long is ended.
    """

    program: Sequence[str]
    environment: Mapping[str, str]
    loading_s: float = 900.0
    silence_s: float = 300.0


@dataclass(slots=True)
class _Mailbox:
    """What the engine said about one request and nobody has read yet."""

    messages: deque[Mapping[str, Any]] = field(default_factory=deque)
    has_some: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, message: Mapping[str, Any]) -> None:
        self.messages.append(message)
        self.has_some.set()


class ProcessRunner:
    """The `Runner` that an engine process computes; made by `start`.

    Attributes:
        notes: what is otherwise than it was asked for, a sentence each.
        facts: what the model is.
    """

    facts: RunnerFacts

    def __init__(
        self, process: asyncio.subprocess.Process, *, name: str, silence_s: float, clock: Clock
    ) -> None:  # fmt: skip
        self.notes: tuple[str, ...] = ()
        self._process = process
        self._name = name
        self._silence_s = silence_s
        self._clock = clock
        self._numbers = count(1)
        self._open: dict[int, _Mailbox] = {}
        self._said: deque[str] = deque(maxlen=5)
        self._heard_s = clock.monotonic_s()
        self._dead = ""  # why, once it is
        self._listening: list[asyncio.Task[None]] = []

    @property
    def process_id(self) -> int:
        """Of the engine."""
        return self._process.pid

    async def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        """As `Runner.generate`."""
        trace = str(structlog.contextvars.get_contextvars().get("trace_id", ""))
        number, box = await self._send({"do": "generate", "asked": frames.asked_as_data(asked), "trace": trace})
        ended = False
        try:
            while not ended:
                piece = _joined([self._piece(each) for each in await self._taken(box)])
                ended = piece.finish is not None
                yield piece
        finally:
            del self._open[number]
            if not ended and not self._dead:
                self._write({"do": "cancel", "id": number})

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """As `Runner.embed`."""
        answer = await self._asked({"do": "embed", "texts": list(texts)})
        return answer["vectors"], Usage(**answer["usage"])

    async def count_tokens(self, asked: Generation) -> int:
        """As `Runner.count_tokens`."""
        answer = await self._asked({"do": "count", "asked": frames.asked_as_data(asked)})
        return int(answer["count"])

    async def warm(self, beginning: Sequence[Message]) -> Warmed:
        """As `WarmingRunner.warm`."""
        answer = await self._asked({"do": "warm", "messages": frames.messages_as_data(beginning)})
        try:
            return Warmed(**answer["warmed"])
        except (KeyError, TypeError) as wrong:
            raise ModelError(f"the engine of {self._name} answered nonsense; unload the model and ask again") from wrong

    async def close(self) -> None:
        """End the engine; generations under way end with `ModelError`."""
        self._fail(f"the model {self._name} was unloaded meanwhile; ask again")
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_ENDING_S):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()
        finally:
            self._kill()
            for task in self._listening:
                task.cancel()
            await asyncio.gather(*self._listening, return_exceptions=True)

    async def _asked(self, request: dict[str, Any]) -> Mapping[str, Any]:
        number, box = await self._send(request)
        answered = False
        try:
            (answer,) = await self._taken(box)
            answered = True
            return answer
        finally:
            del self._open[number]
            if not answered and not self._dead:
                self._write({"do": "cancel", "id": number})

    async def _send(self, request: dict[str, Any]) -> tuple[int, _Mailbox]:
        if self._dead:
            raise ModelError(self._dead)
        number, box = next(self._numbers), _Mailbox()
        self._write({**request, "id": number})
        self._open[number] = box
        self._heard_s = max(self._heard_s, self._clock.monotonic_s())
        return number, box

    def _write(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, RuntimeError):  # a pipe that broke: `_listen` tells
            self._process.stdin.write(frames.frame(request))

    async def _taken(self, box: _Mailbox) -> list[Mapping[str, Any]]:
        """Everything that was said meanwhile, at least one message; raises what the engine or its death raised."""
        while not box.messages:
            try:
                async with asyncio.timeout(self._silence_s):
                    await box.has_some.wait()
            except TimeoutError:
                self._end_if_silent()
        if "error" in box.messages[0]:
            raise frames.error_of(box.messages[0]["error"])
        taken = list(takewhile(lambda said: "error" not in said, box.messages))  # an error is met at the next call
        for _ in taken:
            box.messages.popleft()
        if not box.messages:
            box.has_some.clear()
        return taken

    def _piece(self, said: Mapping[str, Any]) -> Piece:
        try:
            return frames.piece_of(said["piece"])
        except (ValueError, KeyError, TypeError) as wrong:
            raise ModelError(f"the engine of {self._name} answered nonsense; unload the model and ask again") from wrong

    def _end_if_silent(self) -> None:
        if self._clock.monotonic_s() - self._heard_s >= self._silence_s:
            self._fail(f"the model {self._name} did nothing for {self._silence_s:g} s and was ended; ask again")
            self._kill()

    async def listen(self, loading_s: float) -> None:
        """Wait until the model is loaded, then go on listening in tasks of our own, which `close` ends.

        Raises:
            ModelError, NotFound: it cannot be loaded, or not in time.
        """
        self._listening.append(asyncio.create_task(self._read_complaints()))
        try:
            async with asyncio.timeout(loading_s):
                first = await self._received()
        except TimeoutError:
            raise ModelError(
                f"the model {self._name} was not loaded within {loading_s:g} s; choose a smaller one"
            ) from None
        except (EOFError, ValueError, OSError) as gone:
            raise ModelError(await self._ending()) from gone
        if "error" in first:
            raise frames.error_of({**first["error"], "field": "model"})
        try:
            self.notes = tuple(map(str, first["notes"]))
            self.facts = replace(frames.facts_of(first["ready"]), notes=self.notes)
        except (ValueError, KeyError, TypeError) as wrong:
            raise ModelError(f"the engine of {self._name} began with nonsense") from wrong
        self._listening.append(asyncio.create_task(self._listen()))

    async def _listen(self) -> None:
        try:
            while True:
                said = await self._received()
                self._heard_s = self._clock.monotonic_s()
                if (box := self._open.get(said.get("id", 0))) is not None:
                    box.put(said)
                elif isinstance(computed := said.get("computed"), dict):
                    self._log(computed)
        except ValueError:
            self._fail(f"the engine of {self._name} talked nonsense and was ended; asking again loads it anew")
            self._kill()
        except (EOFError, OSError):
            self._fail(await self._ending())
            self._kill()

    def _log(self, computed: Mapping[str, Any]) -> None:
        """The engine's own account of an answer, under the trace of the request that asked for it."""
        log.debug("computed", model=self._name, engine_process=self._process.pid, **frames.figures_of(computed))

    async def _received(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = frames.length_of(await self._process.stdout.readexactly(frames.LENGTH.size))
        return frames.message(await self._process.stdout.readexactly(length))

    async def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        while said := await self._process.stderr.read(_LONGEST_COMPLAINT):
            lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
            self._said.extend(lines)
            log.debug("engine_said", model=self._name, engine_process=self._process.pid, lines=lines)

    async def _ending(self) -> str:
        """How the process ended, with its last words."""
        try:
            async with asyncio.timeout(_ENDING_S):
                code = await self._process.wait()
        except TimeoutError:
            return f"the engine of {self._name} closed its pipe; asking again loads it anew"
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        hint = "; perhaps it did not fit into memory: choose a smaller model" if how == "SIGKILL" else ""
        last = f"; it said: {' '.join(self._said)[-300:]}" if self._said else ""
        return f"the engine of {self._name} ended with {how}{hint}{last}; asking again loads it anew"

    def _fail(self, why: str) -> None:
        """Whoever waits is told, and whoever asks from now on."""
        self._dead = self._dead or why
        for box in self._open.values():
            box.put({"error": frames.error_as_data(ModelError(self._dead))})

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            if self._process.returncode is None:
                self._process.kill()


async def start(command: EngineCommand, arguments: Sequence[str], *, name: str, clock: Clock) -> ProcessRunner:
    """Start an engine and wait until its model is loaded; cancelling ends it.

    Args:
        arguments: of `worker.main`.
        name: how people call the model.

    Raises:
        NotFound, ModelError: the model cannot be loaded; names the remedy.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command.program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(command.environment),
            limit=_READ_AHEAD,
            start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
        )
    except OSError as refused:
        raise ModelError(f"the engine of {name} cannot be started: {refused}") from refused
    runner = ProcessRunner(process, name=name, silence_s=command.silence_s, clock=clock)
    try:
        await runner.listen(command.loading_s)
    except BaseException:  # cancelled while loading, too: nothing may be left behind
        await runner.close()
        raise
    return runner


def _joined(pieces: Sequence[Piece]) -> Piece:
    """Several pieces as one."""
    if len(pieces) == 1:
        return pieces[0]
    return Piece(
        text="".join(piece.text for piece in pieces),
        tool_calls=tuple(call for piece in pieces for call in piece.tool_calls),
        scores=tuple(score for piece in pieces for score in piece.scores),
        finish=pieces[-1].finish,
        usage=pieces[-1].usage,
        reasoning="".join(piece.reasoning for piece in pieces),
    )
