"""A small Llama with random weights, its tokenizer trained here."""

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
