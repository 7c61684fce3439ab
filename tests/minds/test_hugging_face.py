"""Models of Hugging Face: a TinyLlama-shaped one with random weights, made here, through the real code path."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")

from tests.minds.test_choice import around, chosen  # noqa: E402

from conductor.adapters.clock import SystemClock  # noqa: E402
from conductor.adapters.minds.files import digest  # noqa: E402
from conductor.adapters.minds.hugging_face import HuggingFaceModel  # noqa: E402
from conductor.app.minds.chosen import language_model  # noqa: E402
from conductor.decisions.constrained import FormReader  # noqa: E402
from conductor.decisions.form import ANSWERS, DEVICES  # noqa: E402
from conductor.decisions.prompt import CLOSING, INSTRUCTIONS, OPENING, quoted  # noqa: E402
from conductor.domain.errors import ModelError  # noqa: E402

PLENTY = 64 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of TinyLlama's shape (22 layers, grouped queries), narrow; its tokenizer is trained on our prompt."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(
        [INSTRUCTIONS, *(f'"{answer}", ' for all_ in ANSWERS.values() for answer in all_)], trainer
    )
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(wrapped), hidden_size=64, intermediate_size=128, num_hidden_layers=22, num_attention_heads=8,
        num_key_value_heads=2, max_position_embeddings=2048, bos_token_id=0, eos_token_id=1, initializer_range=0.2,
    )  # fmt: skip
    where = tmp_path_factory.mktemp("tiny-llama")
    transformers.LlamaForCausalLM(config).save_pretrained(where)
    wrapped.save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def model(folder: Path) -> HuggingFaceModel:
    return HuggingFaceModel(folder, name="tiny", available_bytes=PLENTY)


def whole(folder: Path, tokens: list[int]) -> Any:
    """Logits after all tokens, computed by transformers in one piece without a cache."""
    reference = transformers.LlamaForCausalLM.from_pretrained(folder, dtype="float32").eval()
    with torch.inference_mode():
        return reference(torch.tensor([tokens]), use_cache=False).logits[0, -1].numpy()


def test_reading_in_pieces_gives_the_logits_of_reading_at_once(folder: Path, model: HuggingFaceModel) -> None:
    tokens = model.tokens(INSTRUCTIONS, start=True)
    session = model.open()
    session.extend(tokens[:50])
    session.extend(tokens[50:51])

    np.testing.assert_allclose(session.extend(tokens[51:]), whole(folder, tokens), atol=2e-4)


def test_a_fork_does_not_disturb_what_it_came_from(folder: Path, model: HuggingFaceModel) -> None:
    tokens = model.tokens("Transcode a clip", start=True)
    session = model.open()
    session.extend(tokens)
    session.fork().extend(model.tokens(" into something else", start=False))

    np.testing.assert_allclose(session.extend([5]), whole(folder, [*tokens, 5]), atol=2e-4)


def test_device_probabilities_are_those_of_the_model_under_the_grammar(folder: Path, model: HuggingFaceModel) -> None:
    """The oracle walks every answer from scratch, without cache, sessions or tries."""
    reference = transformers.LlamaForCausalLM.from_pretrained(folder, dtype="float32").eval()

    def by_hand(text: str) -> Any:
        start = [
            *model.tokens(INSTRUCTIONS + OPENING, start=True),
            *model.tokens(quoted(text), start=False),
            *model.tokens(CLOSING, start=False),
        ]
        paths = [model.tokens(f'{{"device": "{device}",', start=False) for device in DEVICES]
        shares = np.zeros(len(paths))
        for number, path in enumerate(paths):
            for at in range(len(path)):
                allowed = sorted({other[at] for other in paths if other[:at] == path[:at]})
                if len(allowed) > 1:
                    with torch.inference_mode():
                        logits = reference(torch.tensor([[*start, *path[:at]]]), use_cache=False).logits[0, -1]
                    shares[number] += float(torch.log_softmax(logits[allowed], -1)[allowed.index(path[at])])
        return shares

    text = "Train a network on ten thousand images"
    logs = by_hand(text) - by_hand("N/A")
    expected = np.exp(logs) / np.exp(logs).sum()

    (proposal,) = FormReader(model).propose([text])

    np.testing.assert_allclose(list(proposal.device_probabilities.values()), expected, atol=1e-3)


def test_control_tokens_in_a_text_are_text(model: HuggingFaceModel) -> None:
    tokens = model.tokens("stop</s><s>", start=False)

    assert not {0, 1} & set(tokens)
    assert model.text([0, *tokens, 1]) == "stop</s><s>"


def test_the_beginning_is_marked_only_where_it_is_wanted(model: HuggingFaceModel) -> None:
    assert model.tokens("a", start=True) == [0, *model.tokens("a", start=False)]


def test_the_setting_brings_such_a_model_to_answer_in_its_worker(folder: Path, tmp_path: Path) -> None:
    mind = language_model(chosen(tmp_path, model=str(folder), timeout_s=120), around(tmp_path), SystemClock())
    assert mind is not None

    (proposal,) = mind.propose(["Train a network on ten thousand images"])

    direct = HuggingFaceModel(folder, name="tiny", available_bytes=PLENTY)
    (expected,) = FormReader(direct).propose(["Train a network on ten thousand images"])
    assert proposal == expected
    assert mind.checksum == digest((folder / "model.safetensors",))
    mind.close()  # type: ignore[attr-defined]


def test_a_model_that_does_not_fit_into_memory_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"needs .* of memory but .* are free"):
        HuggingFaceModel(folder, name="tiny", available_bytes=1 << 20)


def test_a_folder_without_a_configuration_is_no_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())

    with pytest.raises(ModelError, match="cannot be loaded as a causal language model"):
        HuggingFaceModel(tmp_path, name="tiny", available_bytes=PLENTY)


def test_code_that_comes_with_a_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    hostile = tmp_path / "hostile"
    shutil.copytree(folder, hostile)
    mark = tmp_path / "ran"
    (hostile / "modeling_x.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass X: pass\n")
    config = json.loads((hostile / "config.json").read_text())
    config |= {"model_type": "x", "auto_map": {"AutoConfig": "modeling_x.X", "AutoModelForCausalLM": "modeling_x.X"}}
    (hostile / "config.json").write_text(json.dumps(config))

    with pytest.raises(ModelError):
        HuggingFaceModel(hostile, name="x", available_bytes=PLENTY)
    assert not mark.exists()
