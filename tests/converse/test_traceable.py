"""No number leaves that no fact bears out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.decisions.converse.traceable import Facts, keep_traceable, untraceable
from conductor.decisions.reasoning import share_words
from conductor.domain.units import format_bytes, format_duration

FACTS = Facts(
    counts=frozenset({12.0, 3.0}),
    shares=frozenset({0.954}),
    celsius=frozenset({71.6}),
    seconds=frozenset({75.2, 0.0042}),
    byte_counts=frozenset({1536.0}),
    names=frozenset({"node-7", "NVIDIA H100 80GB"}),
    quotes=frozenset({"Encode 400 clips, 97 % done"}),
)


@pytest.mark.parametrize(
    "text",
    [
        "12 tasks queued.",
        "twelve tasks queued",
        "95 % busy",
        "95% busy",
        "95.4 percent",
        "a score of 0.95",
        "72 °C",
        "1 min 15 s",
        "75.2 s",
        "75 seconds",
        "4.2 ms",
        "1.5 KiB",
        "1,536 bytes",
        "node-7 has an NVIDIA H100 80GB",
        "About “Encode 400 clips, 97 % done”",
        "No one and none of these.",
        "",
    ],
)
def test_what_the_facts_bear_out_may_be_said(text: str) -> None:
    assert untraceable(text, FACTS) == ()


@pytest.mark.parametrize(
    "text",
    [
        "13 tasks queued.",
        "thirteen tasks queued",
        "96 % busy",
        "12 % busy",  # a count is no share
        "12 °C",
        "95 s",
        "-12 tasks",
        "95.5 %",
        "0.96",
        "1 min 16 s",
        "1 min 15 min",
        "75 min",
        "1.6 KiB",
        "1.5 MiB",
        "１３ tasks",  # full-width digits
        "١٣ tasks",
        "12½ tasks",
        "12.0001",
        "node-8",
        "H264",
        "Encode 400 clips, 97 % done",  # a description without its quotation marks
        "“Encode 400 clips, 97 % done and more”",
        "1e9",
        "twice as fast",
        "12,000",
        "a dozen and seven",
    ],
)
def test_what_they_do_not_is_found(text: str) -> None:
    assert untraceable(text, FACTS) != ()


def test_a_sentence_with_a_foreign_number_goes_and_its_neighbours_stay() -> None:
    checked = keep_traceable("12 tasks wait. It is 40 % slower. node-7 is at 72 °C.\nAll is 99 % fine.\nBye.", FACTS)

    assert checked.text == "12 tasks wait. node-7 is at 72 °C.\nBye."
    assert checked.dropped == ("It is 40 % slower.", "All is 99 % fine.")


def test_a_name_that_is_only_a_number_opens_no_door() -> None:
    assert untraceable("42 tasks failed", Facts(names=frozenset({"42", "twenty"}))) == ("42",)
    assert untraceable("twenty tasks failed", Facts(names=frozenset({"42", "twenty"}))) == ("twenty",)


@given(st.floats(0, 1e9), st.floats(0, 1e15), st.integers(0, 10**12))
def test_every_figure_is_traceable_as_our_formatting_writes_it(seconds: float, size: float, count: int) -> None:
    facts = Facts(seconds=frozenset({seconds}), byte_counts=frozenset({size}), counts=frozenset({float(count)}))
    said = f"It took {format_duration(seconds)}, moved {format_bytes(size)} and made {count:,} files."

    assert untraceable(said, facts) == ()


@given(st.floats(0, 1), st.integers(0, 3))
def test_a_share_is_traceable_at_every_precision(share: float, places: int) -> None:
    assert untraceable(f"{share * 100:.{places}f} % busy", Facts(shares=frozenset({share}))) == ()


@given(st.floats(0, 1))
def test_a_share_is_traceable_as_decisions_write_it(share: float) -> None:
    assert untraceable(f"a GPU ({share_words(share)})", Facts(shares=frozenset({share}))) == ()


@pytest.mark.parametrize("text", ["> 99.9 % busy", "< 0.1 % busy"])
def test_next_to_all_and_next_to_none_are_said_of_such_shares_only(text: str) -> None:
    assert untraceable(text, Facts(shares=frozenset({0.95, 0.002}), counts=frozenset({0.1, 99.9}))) == (text[:-5],)


@given(st.text(max_size=300))
def test_what_remains_of_any_text_is_traceable(text: str) -> None:
    assert untraceable(keep_traceable(text, FACTS).text, FACTS) == ()
