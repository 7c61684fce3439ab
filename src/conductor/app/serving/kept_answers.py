"""Give answers that are certain to come out the same again without asking a model: what is looked up, replayed and kept.

An answer is determined where its temperature is 0 and nothing is remembered from earlier calls, and it stands for the whole
request as the model got it: messages with the persona in force, sampling, form, tools, options, model, precision, the
model's files on this machine and our own version. Texts for embeddings are kept one by one. Only whole answers are kept: not
those that failed, nor those that somebody left before their end.

Not covered: requests that the gateway passes on unread, which reach whoever serves the model each time; what a caller may
say of it (`cache_use`); for how long answers are kept and which give way (`serving.answer_cache`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

from conductor.app.serving.accounts import Account
from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.kept_bodies import body_of_parts, body_of_vector, parts_of_body, vector_of_body
from conductor.domain.clock import Clock
from conductor.domain.generation import Generation, Piece, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import ModelName, ServedModel
from conductor.serving.answer_cache import AnswerCache, Turn, key_of
from conductor.serving.engine import Answer, EngineOptions
from conductor.serving.ports import KeptAnswer

#: Tells a model's files; None where they cannot be told, and nothing is kept then. Blocking.
FilesOf = Callable[[ModelName], Sequence[Sequence[str | int]] | None]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a call's answer is kept, if it is."""

    key: str
    model: ModelName
    turn: Turn


class KeptAnswers:
    """What is kept of whom.

    Args:
        cache: None keeps nothing.
        made_by: our own version; another one may answer otherwise.
    """

    def __init__(self, cache: AnswerCache | None, *, clock: Clock, files_of: FilesOf, made_by: str) -> None:
        self._cache = cache
        self._clock = clock
        self._files_of = files_of
        self._made_by = made_by
        self._also_forget: list[Callable[[], None]] = []

    def on_forget(self, also: Callable[[], None]) -> None:
        """Call `also` whenever something is forgotten: who remembers answers for himself does not know whose they are."""
        self._also_forget.append(also)

    def forget(self, model: ModelName | None = None) -> int:
        """Forget one model's answers, or all; how many of them were in memory."""
        for also in self._also_forget:
            also()
        return 0 if self._cache is None else self._cache.forget(model)

    def as_json(self) -> JsonObject:
        """Counts by level; empty where nothing is kept."""
        return {} if self._cache is None else self._cache.as_json()

    # Answers in words.

    async def conversation(self, row: ServedModel | None, asked: Generation, use: CacheUse) -> Slot | None:
        """Where a conversation's answer is kept; None where it is not determined, or nobody wants it."""
        if asked.sampling.temperature != 0:
            return None
        return await self._slot(row, use, {"asked": asked})

    async def work(
        self, row: ServedModel | None, prompt: str, options: EngineOptions, persona: str, use: CacheUse
    ) -> Slot | None:
        """Where an engine's answer is kept; None where nobody wants it. Whether it is determined, the engine says."""
        category = None if row is None else str(row.category)
        request = {"work": category, "prompt": prompt, "options": options, "persona": persona}
        return await self._slot(row, use, request)

    async def parts(
        self,
        slot: Slot | None,
        use: CacheUse,
        account: Account,
        make: Callable[[], AsyncGenerator[Piece | Answer, None]],
    ) -> AsyncGenerator[Piece | Answer, None]:
        """The kept answer, piece by piece as it was written; or the one that is made now, which is kept if it ends well."""
        known = await self._known(slot, use)
        if known is not None:
            account.is_cached = True
            for part in known:
                yield part
            return
        keeps, written = slot is not None and use.keeps, list[Piece | Answer]()
        async with aclosing(make()) as parts:
            async for part in parts:
                if keeps:
                    written.append(part)
                yield part
        if slot is not None and any(isinstance(part, Answer) or part.finish is not None for part in written):
            self._keep(slot, written)

    def _keep(self, slot: Slot, parts: Sequence[Piece | Answer]) -> None:
        assert self._cache is not None, "there is no slot without a cache"
        try:
            body = body_of_parts(parts)
        except (TypeError, ValueError):  # facts are an engine's, which is anybody's code; it costs only the next caller
            return
        self._cache.keep(slot.key, slot.model, body, slot.turn)

    async def _known(self, slot: Slot | None, use: CacheUse) -> list[Piece | Answer] | None:
        found = await self._found(slot, use)
        return None if found is None else parts_of_body(found.body)

    # Embeddings.

    async def vectors(
        self,
        row: ServedModel | None,
        texts: Sequence[str],
        use: CacheUse,
        account: Account,
        make: Callable[[Sequence[str]], Awaitable[tuple[list[list[float]], Usage]]],
    ) -> tuple[list[list[float]], Usage]:
        """Unit vectors in the order of the texts; `make` embeds those that are not known.

        Tokens are told by the model for all its texts together; each is taken for its share of them by length.
        """
        turn_and_model = await self._model(row, use)
        if turn_and_model is None or row is None or self._cache is None:
            use.passed()
            return await make(texts)
        turn, model = turn_and_model
        slots = [Slot(key_of({**model, "embed": text}), row.name, turn) for text in texts]
        known = [vector_of_body(found.body) if (found := await self._found(slot, use)) else None for slot in slots]
        missing = [place for place, one in enumerate(known) if one is None]
        account.is_cached = not missing
        made = Usage(prompt_tokens=0, completion_tokens=0)
        if missing:
            vectors, made = await make([texts[place] for place in missing])
            widths = {len(vector) for vector in vectors} | {len(one[0]) for one in known if one is not None}
            if len(widths) > 1:  # another model answers there now
                self._cache.forget(row.name)
                turn = self._cache.turn(row.name)
                missing, (vectors, made) = list(range(len(texts))), await make(texts)
            shares = _shares(made.prompt_tokens, [1 + len(texts[place]) for place in missing])
            for place, vector, tokens in zip(missing, vectors, shares, strict=True):
                known[place] = (vector, 0)
                if use.keeps:
                    self._cache.keep(slots[place].key, row.name, body_of_vector(vector, tokens), turn)
        whole = [one for one in known if one is not None]
        cached_tokens = sum(tokens for _, tokens in whole)
        usage = replace(
            made, prompt_tokens=made.prompt_tokens + cached_tokens, cached_tokens=made.cached_tokens + cached_tokens
        )
        return [vector for vector, _ in whole], usage

    # Both.

    async def _slot(self, row: ServedModel | None, use: CacheUse, request: Mapping[str, Any]) -> Slot | None:
        turn_and_model = await self._model(row, use)
        if turn_and_model is None or row is None:
            return None
        turn, model = turn_and_model
        try:
            return Slot(key_of({**model, **request}), row.name, turn)
        except (TypeError, ValueError):  # options are an engine's, which is anybody's code
            return None

    async def _model(self, row: ServedModel | None, use: CacheUse) -> tuple[Turn, dict[str, Any]] | None:
        """What of the model is part of each key, and the turn from which on its answers count."""
        if self._cache is None or row is None or not (use.looks or use.keeps):
            return None
        turn = self._cache.turn(row.name)
        files = await asyncio.to_thread(self._files_of, row.name)
        if files is None:
            return None
        model = {"made_by": self._made_by, "model": row.name, "precision": row.precision.value, "files": files}
        return turn, model

    async def _found(self, slot: Slot | None, use: CacheUse) -> KeptAnswer | None:
        if slot is None or self._cache is None or not use.looks:
            use.passed()
            return None
        found = await self._cache.find(slot.key, slot.model)
        if found is None:
            use.missed()
        else:
            use.found(max(0.0, self._clock.now_unix_s() - found.kept_at_unix_s))
        return found


def _shares(tokens: int, lengths: Sequence[int]) -> list[int]:
    """Whole shares by length, whose sum is exact."""
    whole = sum(lengths)
    ends = [tokens * so_far // whole for so_far in accumulate(lengths)]
    return [end - begin for begin, end in pairwise([0, *ends])]
