"""Which card holds which layers: against all ways there are, and on real models without weights."""

from collections.abc import Mapping
from itertools import combinations_with_replacement
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.adapters.minds.files import Weights
from conductor.adapters.runners.backend import only_these
from conductor.adapters.runners.cards import memory_on_cards, names_of, placement
from conductor.adapters.runners.layer_split import Block, blocks_of, split
from conductor.domain.errors import ModelError
from conductor.domain.model import Precision

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=7)
CARDS = st.lists(st.integers(0, 60), min_size=1, max_size=4)


def fullest(sizes: list[int], cards: list[int], borders: tuple[int, ...]) -> float | None:
    """The largest share of a card that is used where stretches end at `borders`; None where one does not fit."""
    edges = (0, *borders, len(sizes))
    shares = []
    for free, begin, end in zip(cards, edges, edges[1:], strict=False):
        held = sum(sizes[begin:end])
        if held > free:
            return None
        shares.append(held / free if held else 0.0)
    return max(shares)


@given(SIZES, CARDS)
@settings(deadline=None)
def test_no_other_way_leaves_more_room_on_the_fullest_card(sizes: list[int], cards: list[int]) -> None:
    ways = combinations_with_replacement(range(len(sizes) + 1), len(cards) - 1)
    best = min((way for each in ways if (way := fullest(sizes, cards, each)) is not None), default=None)

    found = split([Block(str(number), size) for number, size in enumerate(sizes)], cards)

    if found is None:
        assert best is None
        return
    numbers = [found[str(number)] for number in range(len(sizes))]
    assert numbers == sorted(numbers)
    held = [sum(size for size, card in zip(sizes, numbers, strict=True) if card == each) for each in range(len(cards))]
    assert all(count <= free for count, free in zip(held, cards, strict=True))
    assert max(count / free for count, free in zip(held, cards, strict=True) if count) == pytest.approx(best)


def test_what_shares_weights_lies_beside_them_and_what_has_none_lies_with_the_inputs() -> None:
    blocks = [Block("table", 4), Block("one", 5), Block("two", 5), Block("angles", 0), Block("head", 0, beside="table")]

    assert split(blocks, [10, 10]) == {"table": 0, "one": 0, "two": 1, "angles": 0, "head": 0}


def test_a_block_is_never_split() -> None:
    assert split([Block("large", 11)], [10, 10]) is None
    assert split([Block("one", 6), Block("two", 6), Block("three", 6)], [10, 10]) is None


def test_cards_are_called_what_they_are_called_outside_the_process() -> None:
    assert names_of({"": 1}, ["cuda:3", "cuda:5"]) == "cuda:5"
    assert names_of({"one": 0, "two": 1, "three": 1}, ["cuda:3", "cuda:5"]) == "cuda:3+cuda:5"
    assert names_of({"": 0}, ["cpu"]) == "cuda:0"  # a card that nobody counted
    assert names_of({"": "mps"}, ["cpu"]) == "mps"
    assert names_of({}, ["cpu"]) == "cpu"


def test_what_lies_on_which_card_is_told_by_the_names_outside() -> None:
    held = [0, 700, 300]
    cuda = SimpleNamespace(device_count=lambda: 3, memory_allocated=held.__getitem__)

    assert memory_on_cards(SimpleNamespace(cuda=cuda), ["cuda:2", "cuda:4", "cuda:7"]) == (
        ("cuda:4", 700),
        ("cuda:7", 300),
    )


class Cards:
    """Stands in for `torch`, of a machine that has cards with so many bytes free."""

    def __init__(self, torch: Any, *free_bytes: int) -> None:
        self.device = torch.device
        self.cuda = SimpleNamespace(mem_get_info=lambda number: (free_bytes[number], 1 << 40))


def placed(precision: Precision, *free_bytes: int) -> Mapping[str, Any]:
    torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    config = transformers.LlamaConfig(
        vocab_size=100, hidden_size=64, intermediate_size=128, num_hidden_layers=8, num_attention_heads=2
    )
    kind = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        numbers = sum(weight.numel() for weight in kind.from_config(config).parameters())
    weights = Weights((), numbers, 4 * numbers)
    cards = Cards(torch, *free_bytes)
    return placement(cards, kind, config, weights, precision, gpus=len(free_bytes), metal=False)


def test_one_card_is_enough_where_it_fits_and_the_emptiest_is_taken() -> None:
    assert placed(Precision.FP32, 2_000_000, 3_000_000) == {"": 1}


def test_what_fits_on_none_is_split_over_all_that_are_seen() -> None:
    pytest.importorskip("accelerate", reason="the extra `hf` is not whole")
    found = placed(Precision.FP32, 500_000, 1_200_000)

    layers = [found[f"model.layers.{number}"] for number in range(8)]
    assert layers == sorted(layers)
    assert 1 <= layers.count(0) < layers.count(1)


def test_what_fits_on_all_together_not_is_refused_with_both_figures() -> None:
    with pytest.raises(ModelError, match=r"1\.3 MiB in FP32 but its cards have .* KiB .*several machines"):
        placed(Precision.FP32, 400_000, 400_000)


def test_a_process_sees_the_cards_that_were_chosen_and_no_others() -> None:
    assert only_these(["cuda:1"])["CUDA_VISIBLE_DEVICES"] == "1"
    assert only_these(["cuda:3", "cuda:1"])["HIP_VISIBLE_DEVICES"] == "3,1"
    assert only_these(["cuda:0"])["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert only_these(["cpu"]) == {}


@pytest.mark.parametrize("tied", [True, False])
def test_the_blocks_of_a_model_are_all_of_it_and_its_layers_are_whole(tied: bool) -> None:
    torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)

    blocks = blocks_of(model, Precision.FP32)

    names = [block.name for block in blocks if block.bytes or block.beside]
    layers = [f"model.layers.{number}" for number in range(3)]
    assert names == ["model.embed_tokens", *layers, "model.norm", "lm_head"]
    assert sum(block.bytes for block in blocks) == 4 * sum(weight.numel() for weight in model.parameters())
    assert blocks[-1].beside == ("model.embed_tokens" if tied else "")
    small = blocks_of(model, Precision.INT4)
    assert small[0].bytes == 300 * 32 * 2
    assert small[1].bytes < blocks[1].bytes / 6


def test_a_translator_is_split_between_its_layers_too() -> None:
    torch = pytest.importorskip("torch", reason="the extra `hf` is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra `hf` is not installed")
    config = transformers.M2M100Config(
        vocab_size=300, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.AutoModelForSeq2SeqLM.from_config(config)

    found = split(blocks_of(model, Precision.FP32), [150_000, 150_000])

    assert found is not None
    tables = {name: card for name, card in found.items() if name.endswith(("shared", "embed_tokens", "lm_head"))}
    assert len(tables) == 4
    assert set(tables.values()) == {0}
    assert found["model.decoder.layers.1"] == 1
