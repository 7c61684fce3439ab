"""Kept answers need no model, are given only for the same files of it, and only whole ones are kept."""

from contextlib import aclosing
from itertools import count

import pytest
from tests.openai.scripted import KeywordReader, Script, ScriptedDesk, ScriptedRunner, Table

from conductor.adapters.clock import SystemClock
from conductor.app.serving.cache_use import CacheUse
from conductor.app.serving.kept_answers import KeptAnswers
from conductor.app.serving.open_call import whole
from conductor.app.serving.serve import Serving
from conductor.domain.errors import ModelError
from conductor.domain.generation import Generation, Message, Piece, Role, ToolCall, Usage
from conductor.domain.json import JsonObject
from conductor.serving.answer_cache import AnswerCache
from conductor.serving.engines.conversational_chat import ConversationalChat
from conductor.serving.engines.translation import Translation
from conductor.serving.registry import Registry

HELLO = Generation(messages=(Message(role=Role.USER, content="hello"),))


class Stand:
    """A `Serving` with a cache, over models that write what they are told to."""

    def __init__(self, script: Script) -> None:
        self.script, clock, ids = script, SystemClock(), count()
        #: Of every model; None where they cannot be told.
        self.files: tuple[tuple[str, int], ...] | None = (("model.gguf", 1),)
        desk, registry = ScriptedDesk(script), Registry(clock=clock)
        engines = [kind(desk) for kind in (ConversationalChat, Translation)]
        self.serving = Serving(
            desk=desk,
            engines={engine.category: engine for engine in engines},
            table=Table(),
            registry=registry,
            reader=KeywordReader(),
            clock=clock,
            new_id=lambda: f"{next(ids)}",
            kept=KeptAnswers(
                AnswerCache(clock=clock, most_bytes=100_000, most_age_s=60.0),
                clock=clock,
                files_of=lambda _model: self.files,
                made_by="tests",
            ),
        )

    async def chat(self, asked: Generation = HELLO, **said: object) -> tuple[list[Piece], str]:
        use = CacheUse()
        call = await self.serving.converse("conversational_chat", asked, said={"temperature": 0.0, **said}, cache=use)
        async with aclosing(call.parts) as parts:
            return [piece async for _, piece in parts], use.outcome

    @property
    def cache(self) -> JsonObject:
        return self.serving.statistics()["cache"]  # type: ignore[return-value]


@pytest.fixture
def stand(script: Script) -> Stand:
    return Stand(script)


@pytest.mark.anyio
async def test_a_kept_answer_has_the_same_pieces_and_no_model_is_taken_for_it(stand: Stand) -> None:
    stand.script.tool_calls = (ToolCall(call_id="1", name="look", arguments="{}"),)
    stand.script.thoughts = ("hm, ",)
    made, told = await stand.chat(top_scores=2)
    assert told == "miss"
    stand.script.words, stand.script.stumbles = ("never",), 9
    kept, told = await stand.chat(top_scores=2)
    assert told == "hit"
    assert len(stand.script.asked) == 1
    assert kept[:-1] == made[:-1]
    assert kept[0].reasoning == "hm, "
    assert kept[1].scores[0].top[1][1] == float("-inf")
    assert made[-1].usage is not None
    assert kept[-1].usage is not None
    assert kept[-1].usage.completion_tokens == made[-1].usage.completion_tokens
    assert kept[-1].usage.cached_tokens == made[-1].usage.prompt_tokens


@pytest.mark.anyio
async def test_sampling_is_part_of_what_is_asked(stand: Stand) -> None:
    for said in ({}, {"max_tokens": 2}, {"stop": ("!",)}, {"top_scores": 1}, {"frequency_penalty": 0.5}):
        assert (await stand.chat(**said))[1] == "miss"
        assert (await stand.chat(**said))[1] == "hit"
    assert (await stand.chat(temperature=0.1))[1] == "bypass"


@pytest.mark.anyio
async def test_a_model_whose_files_were_replaced_is_asked_anew(stand: Stand) -> None:
    await stand.chat()
    stand.files = (("model.gguf", 2),)
    assert (await stand.chat())[1] == "miss"
    stand.files = None
    assert (await stand.chat())[1] == "bypass"


@pytest.mark.anyio
async def test_neither_a_failed_answer_nor_one_that_was_left_is_kept(stand: Stand) -> None:
    stand.script.fail_after = 2
    with pytest.raises(ModelError):
        await stand.chat()
    stand.script.fail_after = None
    call = await stand.serving.converse("conversational_chat", HELLO, said={"temperature": 0.0})
    async with aclosing(call.parts) as parts:
        await anext(parts)
    assert stand.cache["memory"]["entries"] == 0  # type: ignore[index,call-overload]
    assert (await stand.chat())[1] == "miss"


@pytest.mark.anyio
async def test_an_answer_that_was_written_while_its_model_was_unloaded_is_not_kept(stand: Stand) -> None:
    call = await stand.serving.converse("conversational_chat", HELLO, said={"temperature": 0.0})
    async with aclosing(call.parts) as parts:
        await anext(parts)
        await stand.serving.unload("conversational_chat")
        assert [piece async for _, piece in parts][-1].finish is not None
    assert (await stand.chat())[1] == "miss"


@pytest.mark.anyio
async def test_an_engine_with_other_options_is_asked_anew(stand: Stand) -> None:
    async def work(**options: str) -> str:
        use = CacheUse()
        answer = await whole(
            await stand.serving.work("translation", "Good day", options={"source": "en", **options}, cache=use)
        )
        assert answer.text
        return use.outcome

    assert [await work(target="de"), await work(target="de"), await work(target="fr")] == ["miss", "hit", "miss"]


@pytest.mark.anyio
async def test_where_another_model_answers_with_other_widths_all_texts_are_embedded_anew(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, _ = await stand.serving.embed("embeddings", ["a", "bb"])
    use = CacheUse()
    assert (await stand.serving.embed("embeddings", ["bb", "a"], cache=use))[1] == first[::-1]
    assert use.outcome == "hit"

    async def wider(_self: object, texts: list[str]) -> tuple[list[list[float]], Usage]:
        return [[1.0, 0.0] for _ in texts], Usage(prompt_tokens=len(texts), completion_tokens=0)

    monkeypatch.setattr(ScriptedRunner, "embed", wider)
    _, vectors, usage = await stand.serving.embed("embeddings", ["a", "new"])
    assert vectors == [[1.0, 0.0], [1.0, 0.0]]
    assert usage.prompt_tokens == 2
    use = CacheUse()
    assert (await stand.serving.embed("embeddings", ["new", "a"], cache=use))[1] == vectors
    assert use.outcome == "hit"


@pytest.mark.parametrize(
    ("header", "looks", "keeps"),
    [
        ("", True, True),
        ("no-cache", False, True),
        ("NO-STORE, max-age=0", False, False),
        ("private,no-cache", False, True),
        ("x-no-store", True, True),
    ],
)
def test_the_header_says_whether_to_look_and_to_keep(header: str, looks: bool, keeps: bool) -> None:
    use = CacheUse.of(header)
    assert (use.looks, use.keeps) == (looks, keeps)
