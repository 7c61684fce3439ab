"""Engine processes with a model that translates, and the cards that engine processes are given."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `hf` is not installed")
pytest.importorskip("transformers", reason="the extra `hf` is not installed")

from tests.runners.conftest import SENTENCES
from tests.runners.test_process import backend, command
from tests.serving.engines.told_model import OneModelDesk

from conductor.adapters.runners import frames
from conductor.adapters.runners.process import ProcessRunner
from conductor.domain.errors import InvalidInput, ModelError
from conductor.domain.generation import Finish, Generation, Sampling
from conductor.domain.model import ModelName, Precision
from conductor.serving.engines.translation import Translation, TranslationOptions
from conductor.serving.ports import PlacingBackend, RunnerFacts


@pytest.fixture
async def runner(translator: Path, tmp_path: Path) -> AsyncIterator[ProcessRunner]:
    loaded = await backend(tmp_path).load_on(["cpu"], ModelName(str(translator)), Precision.FP32)
    try:
        yield loaded
    finally:
        await loaded.close()


def asked(text: str, target: str = "deu_Latn", tokens: int = 20) -> Generation:
    sampling = Sampling(max_tokens=tokens, temperature=0)
    return Generation(prompt=text, languages=("eng_Latn", target), sampling=sampling)


async def written(runner: ProcessRunner, wanted: Generation) -> str:
    return "".join([piece.text async for piece in runner.generate(wanted)])


@pytest.mark.anyio
async def test_it_says_that_it_translates_and_does_so_for_several_at_a_time(runner: ProcessRunner) -> None:
    wanted = [asked(text, target) for text in SENTENCES for target in ("deu_Latn", "fra_Latn")]
    alone = [await written(runner, each) for each in wanted]

    assert (runner.facts.translates, runner.facts.embeds, runner.facts.constrains) == (True, False, False)
    assert (runner.facts.device, runner.facts.context_tokens) == ("cpu", 64)
    assert await asyncio.gather(*[written(runner, each) for each in wanted]) == alone
    assert len(set(alone)) > len(SENTENCES)
    with pytest.raises(InvalidInput, match="from which language into which"):
        await written(runner, Generation(prompt="The sea"))


@pytest.mark.anyio
async def test_who_goes_away_stops_it_and_disturbs_nobody(runner: ProcessRunner) -> None:
    alone = await written(runner, asked(SENTENCES[1], tokens=40))
    staying = asyncio.create_task(written(runner, asked(SENTENCES[1], tokens=40)))
    for _ in range(20):
        async with aclosing(runner.generate(asked(SENTENCES[0], tokens=60))) as leaving:
            await anext(leaving)

    assert await staying == alone
    pieces = [piece async for piece in runner.generate(asked(SENTENCES[0], tokens=5))]
    assert pieces[-1].finish is Finish.LENGTH


@pytest.mark.anyio
async def test_the_engine_for_translations_asks_it_by_codes_one_sentence_at_a_time(runner: ProcessRunner) -> None:
    options = TranslationOptions(source="en", target="German", sampling=Sampling(max_tokens=12, temperature=0))

    answer = await Translation(OneModelDesk(runner)).generate("The river runs. The sea is one.\n\n{name}!", options)

    first = await written(runner, asked("The river runs.", tokens=12))
    assert first
    assert answer.text.startswith(first)
    assert answer.facts["target"] == "deu_Latn"
    assert answer.usage.completion_tokens > 12
    assert any("length limit" in note for note in answer.notes)


@pytest.mark.anyio
async def test_a_batch_is_computed_together_and_is_what_each_text_is_alone(runner: ProcessRunner) -> None:
    sampling = Sampling(max_tokens=15, temperature=0)
    engine = Translation(OneModelDesk(runner))
    alone = [
        (await engine.generate(text, TranslationOptions(source="en", target="fr", sampling=sampling))).text
        for text in SENTENCES
    ]

    options = TranslationOptions(source="en", target="fr", sampling=sampling, texts=(*SENTENCES, "far too long " * 60))
    together = await engine.generate("", options)

    texts = together.facts["texts"]
    assert isinstance(texts, list)
    assert [text["translation"] for text in texts[:-1]] == alone
    assert together.text.startswith("\n\n".join(alone))
    assert together.usage.completion_tokens >= 15 * len(SENTENCES)


def test_facts_come_out_of_the_pipe_as_they_went_in() -> None:
    facts = RunnerFacts(
        backend="transformers", device="cuda:0+cuda:1", precision=Precision.INT4, context_tokens=9, memory_bytes=3,
        constrains=True, embeds=False, fills_in=True, model=ModelName("m"), notes=("so",), translates=True,
        memory_on=(("cuda:0", 1), ("cuda:1", 2)),
    )  # fmt: skip

    assert frames.facts_of(frames.message(frames.frame(frames.facts_as_data(facts))[4:])) == facts


@pytest.mark.anyio
async def test_an_engine_process_sees_the_cards_it_was_given_and_is_told_their_names(
    folder: Path, tmp_path: Path
) -> None:
    script = "import os, sys; sys.exit(os.environ['CUDA_VISIBLE_DEVICES'] + ' of ' + ' '.join(sys.argv[-3:]))"
    telling = backend(tmp_path, command(sys.executable, "-c", script))

    assert isinstance(telling, PlacingBackend)
    with pytest.raises(ModelError, match=r"it said: 1,3 of --devices cuda:1 cuda:3"):
        await telling.load_on(["cuda:1", "cuda:3"], ModelName(str(folder)), Precision.FP32)
