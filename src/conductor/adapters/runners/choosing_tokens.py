"""Choose a text's next token from the model's scores, by the wishes of its own request and nobody else's.

Order: repetition penalty, penalties of frequency and presence, then as in transformers grammar, temperature, nucleus. A
request's draws come from its own generator, so the same seed gives the same text whoever else is in the batch. Log
probabilities that are told are the model's own, before any of this.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from conductor.domain.errors import ModelError
from conductor.domain.generation import Sampling, TokenScore

#: The nucleus is looked for among so many tokens first; sorting a whole vocabulary costs milliseconds.
_FIRST_LOOK: Final = 256


class Grammar(Protocol):
    """What may be written next, and what has been."""

    def allowed(self, size: int) -> Any:
        """Bool [size], true for tokens that may follow."""
        ...

    def accept(self, token: int) -> bool:
        """Go on with a token; whether the text is complete now and nothing may follow."""
        ...


class Chooser:
    """Chooses one text's tokens.

    Args:
        torch: the module.
        decode: token ids to text, for the scores that are told.
        grammar: None allows everything.
    """

    def __init__(
        self, torch: Any, sampling: Sampling, *, decode: Callable[[Sequence[int]], str], grammar: Grammar | None
    ) -> None:
        self._torch = torch
        self._sampling = sampling
        self._decode = decode
        self._grammar = grammar
        self._random = torch.Generator()
        self._random.manual_seed(secrets.randbits(62) if sampling.seed is None else sampling.seed % (1 << 63))
        self._counts: Counter[int] | None = None
        if sampling.frequency_penalty or sampling.presence_penalty:
            self._counts = Counter()

    @property
    def is_plain(self) -> bool:
        """Whether it always takes the likeliest token, and tells nothing of it."""
        wishes = self._sampling
        return (
            wishes.temperature <= 0
            and wishes.repetition_penalty == 1.0
            and self._counts is None
            and wishes.top_scores is None
            and self._grammar is None
        )

    def choose(self, scores: Any, tokens: Sequence[int]) -> tuple[int, TokenScore | None]:
        """The next token.

        Args:
            scores: float32 [vocabulary] on the processor.
            tokens: the text so far, with the prompt.

        Raises:
            ModelError: the scores are no numbers.
        """
        torch, wishes = self._torch, self._sampling
        own = scores
        if wishes.repetition_penalty != 1.0:
            used = torch.tensor(sorted(set(tokens)))
            found = scores[used]
            weakened = torch.where(found < 0, found * wishes.repetition_penalty, found / wishes.repetition_penalty)
            scores = scores.index_copy(0, used, weakened)
        if self._counts:
            written, counts = torch.tensor([*self._counts]), torch.tensor([*self._counts.values()], dtype=scores.dtype)
            scores = scores.index_add(0, written, -(counts * wishes.frequency_penalty + wishes.presence_penalty))
        if self._grammar is not None:
            scores = scores.masked_fill(~self._grammar.allowed(len(scores)), float("-inf"))
        token = int(scores.argmax()) if wishes.temperature <= 0 else self._drawn(scores)
        if not torch.isfinite(scores[token]):
            raise ModelError("the model computed no numbers; load it in another precision (BF16 or FP32)")
        if self._counts is not None:
            self._counts[token] += 1
        return token, None if wishes.top_scores is None else self._told(own, token, wishes.top_scores)

    def accept(self, token: int) -> bool:
        """Whether the text is complete with this token."""
        return self._grammar is not None and self._grammar.accept(token)

    def _drawn(self, scores: Any) -> int:
        torch, wishes = self._torch, self._sampling
        shares = torch.softmax((scores / wishes.temperature).double(), dim=-1)
        order = None
        if wishes.top_p < 1:
            for size in (min(_FIRST_LOOK, len(shares)), len(shares)):
                best, order = shares.topk(size)
                sums = best.cumsum(0)
                if float(sums[-1]) >= wishes.top_p:
                    break
            keep = int((sums - best < wishes.top_p).sum())  # the token that crosses the bound belongs to it
            shares = best[: max(1, keep)]
        sums = shares.cumsum(0)
        drawn = torch.rand(1, generator=self._random, dtype=torch.float64) * sums[-1]
        place = min(int(torch.searchsorted(sums, drawn, right=True)), len(sums) - 1)
        return place if order is None else int(order[place])

    def _told(self, scores: Any, token: int, count: int) -> TokenScore:
        logs = self._torch.log_softmax(scores, dim=-1)
        best, ids = logs.topk(min(count, len(logs)))
        top = tuple((self._decode([int(each)]), float(log)) for log, each in zip(best, ids, strict=True))
        return TokenScore(self._decode([token]), float(logs[token]), top)
