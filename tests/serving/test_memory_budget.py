"""The arithmetic of memory: what a model needs, what experience makes of it, and on which devices it fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.model import Precision
from conductor.domain.units import GIB, MIB
from conductor.serving.lifetimes.memory_budget import Corrections, fitting_devices, memory_need
from conductor.serving.ports import Attention, MemoryNeed, ModelHeader

HEADER = ModelHeader(
    architecture="llama",
    fixed=False,
    stored_bytes=2_300,
    matrices=1_000,
    tables=100,
    vectors=50,
    other_bytes=7,
    context_tokens=4_096,
    attention=Attention(layers=2, heads=4, head_width=16),
    precision=Precision.FP16,
)
FIXED = ModelHeader(
    architecture="llama",
    fixed=True,
    stored_bytes=700,
    matrices=1_000,
    tables=100,
    vectors=50,
    other_bytes=0,
    context_tokens=None,
    attention=None,
    precision=Precision.INT4,
)
NEED = MemoryNeed(weights_bytes=8 * GIB, context_bytes=2 * GIB, overhead_bytes=0)


@pytest.mark.parametrize(
    ("precision", "weights"),
    [
        (Precision.FP32, 4_000 + 600 + 7),
        (Precision.BF16, 2_000 + 300 + 7),
        (Precision.INT8, 1_063 + 300 + 7),  # 1,062.5 and what is kept in 16 bits
        (Precision.INT4, 563 + 300 + 7),
    ],
)
def test_weights_take_the_bytes_of_their_precision_and_tables_are_not_quantised(
    precision: Precision, weights: int
) -> None:
    assert memory_need(HEADER, precision, backend="transformers").weights_bytes == weights


def test_a_file_with_its_own_precision_takes_what_is_stored() -> None:
    for precision in Precision:
        assert memory_need(FIXED, precision, backend="llama.cpp") == MemoryNeed(
            weights_bytes=700, context_bytes=0, overhead_bytes=150 * MIB
        )


def test_the_cache_holds_keys_and_values_of_all_layers_at_the_context_that_is_kept() -> None:
    def cache(**kept: float) -> int:
        return memory_need(HEADER, Precision.FP16, backend="any", **kept).context_bytes  # type: ignore[arg-type]

    assert cache() == 2 * 2 * 4 * 16 * 4_096 * 2
    assert cache(most_context_tokens=1_024) == 2 * 2 * 4 * 16 * 1_024 * 2
    assert cache(most_context_tokens=99_999) == cache()
    assert cache(cache_value_bytes=1) == cache() // 2
    assert memory_need(HEADER, Precision.FP32, backend="any").context_bytes == 2 * cache()


def test_nothing_measured_means_the_estimate_and_a_tenth_to_spare() -> None:
    expected = Corrections().expect("transformers", Precision.FP16, NEED)

    assert (expected.bytes, expected.ratio, expected.observations) == (10 * GIB, 1.0, 0)
    assert expected.margin_bytes == GIB
    assert expected.with_margin_bytes == 11 * GIB


def after(*measured_gib: float, backend: str = "transformers") -> Corrections:
    corrections = Corrections()
    for gib in measured_gib:
        corrections.observe(backend, Precision.FP16, NEED, int(gib * GIB))
    return corrections


def expected_gib(corrections: Corrections) -> float:
    return corrections.expect("transformers", Precision.FP16, NEED).bytes / GIB


def test_a_backend_that_takes_more_than_estimated_is_learned() -> None:
    assert expected_gib(after(12, 12, 12)) == pytest.approx(12)


def test_one_odd_measurement_does_not_rule() -> None:
    assert expected_gib(after(10, 10, 10, 10, 39)) == pytest.approx(10)
    assert expected_gib(after(20)) == pytest.approx(15)  # alone, it counts half


def test_a_cache_that_is_not_filled_yet_is_still_kept_free() -> None:
    # A backend that takes its cache's memory as it fills measures 8 of the 10 GiB after loading.
    assert expected_gib(after(8, 8, 8)) == pytest.approx(10)
    # Weights that take less are believed, the cache's arithmetic is not corrected downwards.
    assert expected_gib(after(6, 6, 6)) == pytest.approx(8)


def test_what_was_measured_elsewhere_or_nowhere_teaches_nothing() -> None:
    assert expected_gib(after(12, 12, 12, backend="llama.cpp")) == pytest.approx(10)
    assert expected_gib(after(0, 0, 0)) == pytest.approx(10)
    other = Corrections()
    other.observe("transformers", Precision.INT4, NEED, 20 * GIB)
    assert expected_gib(other) == pytest.approx(10)


def test_the_margin_grows_with_the_spread_and_shrinks_with_practice() -> None:
    def margin(corrections: Corrections) -> float:
        expected = corrections.expect("transformers", Precision.FP16, NEED)
        return expected.margin_bytes / expected.bytes

    assert margin(after(*[10] * 20)) < margin(after(10, 10)) < margin(Corrections())
    assert margin(after(*[9, 10, 11] * 5)) > margin(after(*[10] * 15))


def test_what_was_learned_survives_a_restart_and_old_news_is_forgotten() -> None:
    learned = after(*[20] * 40, *[11] * 32)

    again = Corrections(learned.observations())

    assert expected_gib(again) == expected_gib(learned) == pytest.approx(11)
    assert len(list(again.observations())) == 32


@given(
    measured=st.lists(st.integers(1, 10**13), max_size=60), weights=st.integers(1, 10**12), cache=st.integers(0, 10**11)
)
def test_whatever_was_measured_the_expectation_stays_within_reason(
    measured: list[int], weights: int, cache: int
) -> None:
    need = MemoryNeed(weights_bytes=weights, context_bytes=cache, overhead_bytes=0)
    corrections = Corrections()
    for count in measured:
        corrections.observe("any", Precision.FP16, need, count)

    expected = corrections.expect("any", Precision.FP16, need)

    assert need.total_bytes // 4 <= expected.bytes <= need.total_bytes * 4 + 1
    assert 0 < expected.margin_bytes <= expected.bytes // 2 + 1


def test_a_model_goes_to_the_first_device_that_has_room() -> None:
    free = {"cuda:0": 5, "cuda:1": 9, "cpu": 99}
    assert fitting_devices(5, free, ["cuda:0", "cuda:1"]) == ("cuda:0",)
    assert fitting_devices(6, free, ["cuda:0", "cuda:1"]) == ("cuda:1",)


def test_a_model_larger_than_one_device_is_split_over_devices_of_one_kind() -> None:
    free = {"cuda:0": 5, "cuda:1": 9, "cuda:2": 9, "cpu": 20}
    assert fitting_devices(14, free, ["cuda:0", "cuda:1", "cuda:2"]) == ("cuda:0", "cuda:1")
    assert fitting_devices(24, free, ["cuda:0", "cuda:1", "cpu"]) == ()
    assert fitting_devices(14, free | {"cuda:0": -3}, ["cuda:0", "cuda:1", "cuda:2"]) == ("cuda:1", "cuda:2")
    assert fitting_devices(1, {}, ["cuda:0"]) == ()
