"""One answer while it is being written: from tokens to pieces, and why it ends.

An answer ends with the model's own end, a stop text, a grammar that is satisfied, its bound of tokens or the end of the
context. What is sent is whole characters, never part of a stop text, and no text where it is a wish for tools.
"""

from collections.abc import Callable, Sequence
from typing import Any

from conductor.adapters.runners.choosing_tokens import Chooser
from conductor.adapters.runners.text_flow import StopTexts, TextFlow
from conductor.adapters.runners.tool_calls import ToolSieve
from conductor.domain.errors import ConductorError
from conductor.domain.generation import Finish, Piece, TokenScore, Usage

Emit = Callable[[Piece | ConductorError], None]


class Writing:
    """A `batch.Text` that tells its pieces.

    Args:
        prompt: token ids, at least one.
        most_tokens: of the answer.
        ends: token ids that end it.
        decode: token ids to text, without control tokens.
        sieve: keeps wishes for tools apart.
        emit: told each piece, the last one with `finish`.
        prompt_tokens: told as read; None tells how long the prompt is.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        chooser: Chooser,
        most_tokens: int,
        ends: frozenset[int],
        decode: Callable[[Sequence[int]], str],
        stop: Sequence[str],
        sieve: ToolSieve,
        emit: Emit,
        prompt_tokens: int | None = None,
    ) -> None:
        self.tokens = list(prompt)
        self.cached_tokens: int | None = None
        self._prompt_tokens = len(prompt) if prompt_tokens is None else prompt_tokens
        self._first = len(prompt)
        self._chooser = chooser
        self._last = len(prompt) + most_tokens
        self._ends = ends
        self._flow = TextFlow(decode)
        self._stop = StopTexts(stop)
        self._sieve = sieve
        self._emit = emit
        self._scores: list[TokenScore] = []

    def add(self, scores: Any, likeliest: int) -> bool:
        """Write one more token; whether the answer has ended."""
        if self._chooser.is_plain and bool(scores[likeliest].isfinite()):
            token, score = likeliest, None
        else:
            token, score = self._chooser.choose(scores, self.tokens)
        if token in self._ends:
            return self._end(Finish.STOP)
        self.tokens.append(token)
        if score is not None:
            self._scores.append(score)
        complete = self._chooser.accept(token)
        text, stopped = self._stop.add(self._flow.add(token))
        self._tell(self._sieve.add(text))
        if stopped:
            return self._end(Finish.STOP, held=False)
        if complete:
            return self._end(Finish.STOP)
        return self._end(Finish.LENGTH) if len(self.tokens) >= self._last else False

    def fail(self, error: ConductorError) -> None:
        """It ends because of an error."""
        self._emit(error)

    def _tell(self, text: str) -> None:
        if text:
            self._emit(Piece(text=text, scores=self._taken()))

    def _end(self, finish: Finish, *, held: bool = True) -> bool:
        text = ""
        if held:
            text, stopped = self._stop.add(self._flow.rest())
            text += "" if stopped else self._stop.rest()
            finish = Finish.STOP if stopped else finish
        text = self._sieve.add(text)
        rest, calls = self._sieve.rest()
        usage = Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=len(self.tokens) - self._first,
            cached_tokens=self.cached_tokens or 0,
        )
        finish = Finish.TOOL_CALLS if calls else finish
        self._emit(Piece(text=text + rest, tool_calls=calls, scores=self._taken(), finish=finish, usage=usage))
        return True

    def _taken(self) -> tuple[TokenScore, ...]:
        scores, self._scores = tuple(self._scores), []
        return scores
