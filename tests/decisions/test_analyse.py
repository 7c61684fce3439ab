from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decisions.arrangement import HashingEncoder

from conductor.decisions.analyse import Analyst
from conductor.decisions.ports import Encodings, Proposal
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import Overloaded


class CountingEncoder(HashingEncoder):
    """Also writes down what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Encodings:
        self.batches.append(list(texts))
        return super().encode(texts)


class KeywordModel:
    """A language model of one rule: what mentions a sensor is work for a DSP."""

    name = "keyword-model"
    checksum = "ab" * 32

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        return [self._read(text) for text in texts]

    def _read(self, text: str) -> Proposal:
        device = DeviceType.DSP if "sensor" in text else DeviceType.CPU
        return Proposal(
            device_probabilities={device: 1.0},
            task_kind=TaskKind.SIGNAL_PROCESSING,
            priority=None,
            compute_units=None,
            duration_s=None,
        )


class BusyModel(KeywordModel):
    """Always has too much to do."""

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        raise Overloaded("the model is busy", retry_after_s=1.0)


def test_only_texts_that_are_not_kept_are_encoded_and_in_one_batch() -> None:
    encoder = CountingEncoder()
    analyst = Analyst(encoder)

    analyst.analyse(["sort a table", "encode a clip"])
    analyses = analyst.analyse(["encode a clip", "zip files", "zip files", "sort a table"])

    assert encoder.batches == [["sort a table", "encode a clip"], ["zip files"]]
    assert [analysis.description for analysis in analyses] == [
        "encode a clip",
        "zip files",
        "zip files",
        "sort a table",
    ]


def test_the_least_recently_used_analysis_is_given_up_first(encoder: HashingEncoder) -> None:
    analyst = Analyst(encoder, kept=2)
    analyst.analyse(["one", "two"])
    analyst.known("one")
    analyst.analyse(["three"])

    assert [analyst.known(text) is not None for text in ("one", "two", "three")] == [True, False, True]


def test_more_texts_than_are_kept_are_all_analysed(encoder: HashingEncoder) -> None:
    texts = [f"task number {number}" for number in range(10)]

    assert [analysis.description for analysis in Analyst(encoder, kept=3).analyse(texts)] == texts


def test_a_language_model_moves_the_shares_and_is_named(encoder: HashingEncoder) -> None:
    text = "work on the readings of a sensor"
    alone = Analyst(encoder).analyse([text])[0]
    together = Analyst(encoder, KeywordModel()).analyse([text])[0]
    dsp = list(DeviceType).index(DeviceType.DSP)

    assert together.device_probabilities[dsp] > 1.5 * alone.device_probabilities[dsp]
    assert together.encoder_probabilities == pytest.approx(alone.encoder_probabilities)
    assert [name for name, _ in together.models] == ["hashing-words", "keyword-model"]


def test_a_language_model_that_fails_is_left_out_and_noted(encoder: HashingEncoder) -> None:
    alone = Analyst(encoder).analyse(["sort a table"])[0]
    analysis = Analyst(encoder, BusyModel()).analyse(["sort a table"])[0]

    assert np.array_equal(analysis.device_probabilities, alone.device_probabilities)
    assert analysis.models == alone.models
    assert analysis.features.notes == ("the language model did not take part: the model is busy",)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=5))
def test_shares_of_any_text_are_a_distribution(texts: list[str]) -> None:
    for analysis in Analyst(HashingEncoder()).analyse(texts):
        assert float(analysis.device_probabilities.sum()) == pytest.approx(1.0)


def test_two_long_texts_with_the_same_beginning_are_kept_apart(encoder: HashingEncoder) -> None:
    analyst = Analyst(encoder)
    clips, rows = analyst.analyse(["a " * 5000 + "12 clips", "a " * 5000 + "7 rows"])

    assert (clips.features.total("count"), rows.features.total("count")) == (12, 7)
