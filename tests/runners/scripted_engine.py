"""A program that serves a scripted engine over the real pipes: it repeats the last message, and reads a letter a step."""

import os
import sys
from collections.abc import Sequence

from conductor.adapters.runners.beginnings import Tell
from conductor.adapters.runners.worker import Worker
from conductor.adapters.runners.writing import Emit
from conductor.domain.errors import ModelError
from conductor.domain.generation import Finish, Generation, Message, Piece, Usage
from conductor.domain.model import ModelName
from conductor.serving.ports import RunnerFacts, Warmed

#: A beginning with this in it kills the process in its middle; one with the other fails.
KILLS, FAILS = "kill", "fail"


class ScriptedEngine:
    notes: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.facts = RunnerFacts(
            backend="transformers", device="cpu", precision=None, context_tokens=1_000, memory_bytes=1, constrains=False,
            embeds=False, fills_in=False, model=ModelName(name),
        )  # fmt: skip
        self._read: dict[str, int] = {}
        self._warming: tuple[int, str, int, Tell] | None = None
        self._asked: list[tuple[int, str, Emit]] = []

    @property
    def has_work(self) -> bool:
        return self._warming is not None or bool(self._asked)

    def begin(self, number: int, asked: Generation, emit: Emit) -> None:
        self._end_warming()
        self._asked.append((number, "".join(message.content for message in asked.messages), emit))

    def warm(self, number: int, beginning: Sequence[Message], tell: Tell) -> None:
        text = "".join(message.content for message in beginning)
        known = self._read.get(text, 0)
        self._warming = number, text, known, tell
        if self._asked or known == len(text):
            self._end_warming()

    def cancel(self, number: int) -> None:
        if self._warming is not None and self._warming[0] == number:
            self._end_warming()
        self._asked = [each for each in self._asked if each[0] != number]

    def ended(self, number: int) -> None:
        self._asked = [each for each in self._asked if each[0] != number]

    def step(self) -> None:
        if self._warming is not None:
            _, text, _, tell = self._warming
            self._read[text] = self._read.get(text, 0) + 1
            if KILLS in text and self._read[text] > 3:
                os.kill(os.getpid(), 9)
            if FAILS in text and self._read[text] > 3:
                self._warming = None
                tell(ModelError("it stumbled"))
            elif self._read[text] == len(text):
                self._end_warming()
        for _, said, emit in list(self._asked):
            known = max((count for text, count in self._read.items() if said.startswith(text)), default=0)
            emit(_answer(said, known))

    def count_tokens(self, asked: Generation) -> int:
        return 1

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        raise ModelError("it embeds nothing")

    def _end_warming(self) -> None:
        if self._warming is not None:
            _, text, known, tell = self._warming
            self._warming = None
            tell(Warmed(len(text), known, self._read.get(text, 0)))


def _answer(said: str, known: int) -> Piece:
    usage = Usage(prompt_tokens=len(said), completion_tokens=1, cached_tokens=known)
    return Piece(text=said, finish=Finish.STOP, usage=usage)


if __name__ == "__main__":
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.exit(Worker(sys.stdin.buffer, sink).run(lambda: ScriptedEngine(sys.argv[-1])))
