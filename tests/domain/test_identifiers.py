from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.identifiers import RANDOM_BITS, task_id

moments = st.integers(0, 2**48 - 1)
bits = st.integers(0, 2**RANDOM_BITS - 1)


@given(moments, bits, moments, bits)
def test_identifiers_sort_by_the_time_they_were_made(first_ms: int, bits: int, then_ms: int, others: int) -> None:
    if first_ms < then_ms:
        assert task_id(first_ms, bits) < task_id(then_ms, others)
    elif first_ms == then_ms:
        assert (task_id(first_ms, bits) < task_id(then_ms, others)) == (bits < others)


@given(moments, bits, moments, bits)
def test_different_moments_or_bits_give_different_identifiers(a_ms: int, a: int, b_ms: int, b: int) -> None:
    assert (task_id(a_ms, a) == task_id(b_ms, b)) == ((a_ms, a) == (b_ms, b))


@given(moments, bits)
def test_identifiers_are_nineteen_lower_case_letters_and_digits(ms: int, bits: int) -> None:
    identifier = task_id(ms, bits)

    assert len(identifier) == 19
    assert identifier[0] == "t"
    assert set(identifier[1:]) <= set("0123456789abcdefghjkmnpqrstvwxyz")


def test_an_identifier_spells_time_and_bits_as_one_number() -> None:
    assert task_id(0, 0) == "t000000000000000000"
    assert task_id(0, 2**RANDOM_BITS - 1) == "t0000000003zzzzzzzz"
    assert task_id(1, 0) == "t000000000400000000"
