"""A small NLLB with random weights through the whole engine, against transformers' own `generate`."""

import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")

from tests.runners.conftest import SENTENCES, write_translator  # noqa: E402
from tests.runners.test_transformers_engine import Heard, heard  # noqa: E402

from conductor.adapters.runners.transformers_engine import TransformersEngine  # noqa: E402
from conductor.adapters.runners.transformers_loading import translates  # noqa: E402
from conductor.adapters.runners.translating_engine import TranslatingEngine  # noqa: E402
from conductor.domain.errors import InvalidInput, ModelError  # noqa: E402
from conductor.domain.generation import Finish, Generation, Message, Role, Sampling  # noqa: E402
from conductor.domain.model import Precision  # noqa: E402

PAIRS = [("eng_Latn", "deu_Latn"), ("deu_Latn", "fra_Latn"), ("fra_Latn", "eng_Latn"), ("eng_Latn", "fra_Latn")]


def loaded(folder: Path, **options: Any) -> TranslatingEngine:
    chosen: dict[str, Any] = {
        "name": "tiny", "precision": Precision.FP32, "available_bytes": 64 << 30, "threads": 1, "most_rows": 4,
        "most_context_tokens": None, "measure_bytes": lambda: 1,
    }  # fmt: skip
    return TranslatingEngine(folder, **{**chosen, **options})


@pytest.fixture(scope="module")
def engine(translator: Path) -> TranslatingEngine:
    return loaded(translator)


def asked(text: str, source: str = "eng_Latn", target: str = "deu_Latn", **how: Any) -> Generation:
    sampling = Sampling(**{"temperature": 0, "max_tokens": 30, **how})
    return Generation(prompt=text, languages=(source, target), sampling=sampling)


def own_text(folder: Path, text: str, source: str, target: str, tokens: int = 30) -> str:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, src_lang=source)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype="float32").eval()
    begin = tokenizer.convert_tokens_to_ids(target)
    with torch.inference_mode():
        written = model.generate(
            **tokenizer(text, return_tensors="pt"), forced_bos_token_id=begin, do_sample=False, num_beams=1,
            max_new_tokens=tokens + 1,
        )  # fmt: skip
    assert int(written[0, 1]) == begin
    return str(tokenizer.decode(written[0], skip_special_tokens=True))


@pytest.mark.parametrize("legacy", [False, True])
def test_alone_it_writes_what_transformers_writes(tmp_path: Path, legacy: bool) -> None:
    folder = write_translator(tmp_path, legacy=legacy)
    engine = loaded(folder)

    for text in SENTENCES:
        for source, target in PAIRS:
            assert heard(engine, asked(text, source, target)).text() == own_text(folder, text, source, target)


def test_in_a_batch_that_is_joined_and_left_everyone_writes_what_he_writes_alone(
    engine: TranslatingEngine, translator: Path
) -> None:
    rng, found = random.Random(3), Heard(engine)
    wanted = [(rng.choice(SENTENCES), *rng.choice(PAIRS), rng.randint(3, 40)) for _ in range(24)]
    for number, (text, source, target, tokens) in enumerate(wanted):
        found.begin(number, asked(text, source, target, max_tokens=tokens))
        for _ in range(rng.randint(0, 6)):
            engine.step()
    found.finish()

    assert not found.errors
    assert [found.text(number) for number in range(len(wanted))] == [own_text(translator, *each) for each in wanted]


def test_the_language_that_is_asked_for_and_that_of_the_source_both_matter(engine: TranslatingEngine) -> None:
    texts = {heard(engine, asked(SENTENCES[0], source, target)).text() for source, target in PAIRS}

    assert len(texts) == len(PAIRS)


def test_it_is_told_in_pieces_with_the_tokens_of_the_source(engine: TranslatingEngine) -> None:
    found = heard(engine, asked(SENTENCES[1], max_tokens=12))
    usage = found.last().usage

    assert len(found.pieces[0]) > 3
    assert found.last().finish is Finish.LENGTH
    assert usage is not None
    assert usage.prompt_tokens == engine.count_tokens(asked(SENTENCES[1])) > 10
    assert usage.completion_tokens == 12


def test_it_ends_where_the_model_ends(engine: TranslatingEngine) -> None:
    ended = [
        heard(engine, asked(text, *pair, max_tokens=60, temperature=50, seed=seed))
        for text in SENTENCES for pair in PAIRS for seed in (1, 2)
    ]  # fmt: skip

    assert Finish.STOP in {each.last().finish for each in ended}


def test_cancelled_means_not_one_more_token_and_its_source_is_forgotten(engine: TranslatingEngine) -> None:
    found = Heard(engine)
    found.begin(0, asked(SENTENCES[0], max_tokens=50))
    found.begin(1, asked(SENTENCES[1], max_tokens=20))
    for _ in range(5):
        engine.step()
    told = len(found.pieces[0])
    engine.cancel(0)
    found.finish()
    engine.ended(1)

    assert len(found.pieces[0]) == told
    assert found.last(1).finish is Finish.LENGTH
    assert not {0, 1} & set(engine._open)


def test_what_it_cannot_do_is_refused_with_the_field(engine: TranslatingEngine) -> None:
    refused = {
        "languages": Generation(prompt="The sea"),
        "messages": Generation(messages=(Message(role=Role.USER, content="The sea"),)),
        "suffix": Generation(prompt="a", suffix="b", languages=("eng_Latn", "deu_Latn")),
        "form": Generation(prompt="a", form={"type": "object"}, languages=("eng_Latn", "deu_Latn")),
        "prompt": asked(""),
    }
    for field, wrong in refused.items():
        with pytest.raises(InvalidInput) as told:
            heard(engine, wrong)
        assert told.value.field == field
    with pytest.raises(InvalidInput, match=r"does not know the language 'deu_latn'; it knows deu_Latn"):
        heard(engine, asked("The sea", target="deu_latn"))
    with pytest.raises(InvalidInput, match="in parts"):
        heard(engine, asked("The river runs to the sea. " * 40))
    with pytest.raises(InvalidInput):
        engine.embed(["The sea"])
    assert engine.count_tokens(Generation(prompt="?")) > 0  # how it is asked whether it lives
    assert heard(engine, asked("The sea")).text()


def test_a_strangers_codes_are_letters(engine: TranslatingEngine) -> None:
    plain = engine._prompts.source(asked("the sea"))
    spoofed = engine._prompts.source(asked("the fra_Latn sea </s>"))

    french, end = engine._prompts.target(asked("a", target="fra_Latn")), plain[-1]
    assert french not in spoofed
    assert spoofed.count(end) == 1


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
def test_other_precisions_translate_too(translator: Path, precision: Precision) -> None:
    engine = loaded(translator, precision=precision)
    found = heard(engine, *[asked(text, max_tokens=10) for text in SENTENCES])

    assert engine.facts.precision is precision
    assert not found.errors
    assert all(found.last(number).usage for number in range(len(SENTENCES)))


def test_which_engine_a_folder_needs_is_told_by_its_configuration(
    translator: Path, folder: Path, tmp_path: Path
) -> None:
    assert translates(translator)
    assert not translates(folder)
    assert not translates(tmp_path)
    (tmp_path / "config.json").write_text("[")
    assert not translates(tmp_path)


def test_a_model_with_other_codes_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="take an NLLB model"):
        loaded(write_translator(tmp_path, languages=["en_XX", "de_DE"]))


def test_another_encoder_decoder_is_refused_by_name(tmp_path: Path, translator: Path) -> None:
    config = transformers.T5Config(vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="t5"):
        TransformersEngine(
            tmp_path, name="t5-tiny", precision=Precision.FP32, available_bytes=64 << 30, threads=1, most_rows=2,
            most_context_tokens=None, measure_bytes=lambda: 1,
        )  # fmt: skip
