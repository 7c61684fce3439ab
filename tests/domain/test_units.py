import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.domain.errors import InvalidInput
from conductor.domain.units import GIB, KIB, format_bytes, format_duration, parse_bytes, parse_duration_s


@given(st.integers(0, 2**80))
def test_a_plain_number_of_bytes_is_read_exactly(count: int) -> None:
    assert parse_bytes(str(count)) == count
    assert parse_bytes(f" {count} KiB ") == count * KIB


@given(st.integers(0, 2**50))
def test_a_written_size_is_read_back_to_the_digits_shown(count: int) -> None:
    written = format_bytes(count)
    unit = {"B": 1, "KiB": KIB, "MiB": KIB**2, "GiB": GIB, "TiB": KIB * GIB}[written.split()[1]]

    assert abs(parse_bytes(written) - count) <= 0.05 * unit + 1


@given(st.floats(1e-4, 59.9))
def test_a_written_duration_is_read_back_to_the_digits_shown(seconds: float) -> None:
    assert parse_duration_s(format_duration(seconds)) == pytest.approx(seconds, rel=0.05, abs=0.00006)


@pytest.mark.parametrize(
    ("text", "count"),
    [("512M", 512 * KIB**2), ("2 GiB", 2 * GIB), ("1.5k", 1536), ("10 MB", 10**7), ("1tb", 10**12), ("0", 0)],
)
def test_sizes_are_read_with_binary_and_decimal_units(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("250ms", 0.25), ("5min", 300.0), ("1.5h", 5400.0), ("2 d", 172_800.0)]
)
def test_durations_are_read_with_their_units(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1e3", "5 parsecs", "1.2.3", "1,000", "٣", "M", "9" * 400 + " parsecs"]
)
def test_what_is_no_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"limits.memory is .*; write a number with a unit") as refused:
        parse_bytes(text, field="limits.memory")
    assert refused.value.field == "limits.memory"
    with pytest.raises(InvalidInput, match=r"limits.time is .*; write a number with a unit"):
        parse_duration_s(text, field="limits.time")


def test_an_endless_number_is_no_duration() -> None:
    with pytest.raises(InvalidInput, match="duration is"):
        parse_duration_s("9" * 400)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0042, "4.2 ms"),
        (0.25, "250 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 0 s"),
        (75.0, "1 min 15 s"),
        (3599.7, "1 h 0 min"),
        (3725.0, "1 h 2 min"),
    ],
)
def test_durations_are_written_in_the_unit_people_use(seconds: float, written: str) -> None:
    assert format_duration(seconds) == written


@pytest.mark.parametrize(
    ("count", "written"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * GIB, "3.0 GiB"), (KIB**4, "1.0 TiB")]
)
def test_sizes_are_written_in_binary_units(count: int, written: str) -> None:
    assert format_bytes(count) == written
