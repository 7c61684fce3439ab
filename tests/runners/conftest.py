"""A small Llama with random weights, its tokenizer trained here."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

TEXTS = [
    "The river runs to the sea, and the sea is patient with rivers.",
    '{"name": "Ada", "age": 36, "tags": ["a", "b"], "ok": true}',
    "user system assistant tool def return import numbers 0 1 2 3 4 5 6 7 8 9",
]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
    "{% if tools %}<|tools|>{{ tools | tojson }}</s>{% endif %}<|assistant|>"
)
MARKS = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|tools|>"]
GAP_MARKS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def write_folder(where: Path, *, context: int = 512, **shape: int) -> Path:
    """A Llama folder; `shape` overrides its configuration."""
    torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=[*MARKS, *GAP_MARKS], initial_alphabet=alphabet)
    )
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    wrapped.chat_template = TEMPLATE
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 8,
        "num_key_value_heads": 2, "initializer_range": 0.2, **shape,
    }  # fmt: skip
    config = transformers.LlamaConfig(
        vocab_size=len(wrapped), max_position_embeddings=context, bos_token_id=0, eos_token_id=1, **sizes
    )
    transformers.LlamaForCausalLM(config).save_pretrained(where)
    wrapped.save_pretrained(where)
    return where


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny-llama"))


LANGUAGES = ["eng_Latn", "deu_Latn", "fra_Latn"]
SENTENCES = [
    "The river runs to the sea.",
    "Der Fluss läuft zum Meer, und das Meer hat Geduld.",
    "La mer est patiente avec les rivières.",
    "One two three four five six seven eight nine ten numbers and words.",
]


def write_translator(where: Path, *, context: int = 64, legacy: bool = False, languages: Sequence[str] = ()) -> Path:
    """An NLLB folder with random weights; `legacy` as its tokenizer was first published: the language at the end."""
    torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    trained.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=160, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    )
    known = json.loads(trained.to_str())["model"]
    tokenizer = transformers.NllbTokenizer(
        vocab=known["vocab"],
        merges=[tuple(pair) for pair in known["merges"]],
        extra_special_tokens=list(languages or LANGUAGES),
        src_lang=(languages or LANGUAGES)[0],
        legacy_behaviour=legacy,
    )
    torch.manual_seed(0)
    config = transformers.M2M100Config(
        vocab_size=len(tokenizer), max_position_embeddings=context, d_model=64, encoder_layers=2, decoder_layers=3,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, init_std=0.4,
        encoder_layerdrop=0.0, decoder_layerdrop=0.0, decoder_start_token_id=2,
    )  # fmt: skip
    transformers.M2M100ForConditionalGeneration(config).save_pretrained(where)
    tokenizer.save_pretrained(where)
    return where


@pytest.fixture(scope="session")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_translator(tmp_path_factory.mktemp("tiny-nllb"))
