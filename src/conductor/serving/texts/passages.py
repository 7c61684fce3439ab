"""Cut a long text into passages and rank them by how well they fit a question, with BM25 of our own.

Covered: any script; Chinese, Japanese and Thai, which set no spaces, are read as pairs of characters.
Not covered: synonyms and inflection. A passage is only found by words that it shares with the question.

Source: Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", section 3.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from conductor.serving.texts.splitting import sentences

_K1: Final = 1.2
_B: Final = 0.75
_WORDS_OF_A_PASSAGE: Final = 120
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_WORD: Final = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage and where it begins in its text."""

    text: str
    start: int


def passages(text: str) -> list[Passage]:
    """Paragraphs, long ones by sentences in about 120 words; put together they are the text."""
    found: list[Passage] = []
    start, words = 0, 0
    at = 0
    for sentence in sentences(text):
        at += len(sentence)
        words += len(terms(sentence))
        if sentence.endswith("\n\n") or words >= _WORDS_OF_A_PASSAGE:
            found.append(Passage(text[start:at], start))
            start, words = at, 0
    return [*found, Passage(text[start:], start)] if start < len(text) else found


def terms(text: str) -> list[str]:
    """The words of a text in lower case; where no spaces are set, pairs of characters."""
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        runs = _UNSPACED.findall(word)
        if not runs:
            found.append(word)
        for run in runs:
            found += [run[at : at + 2] for at in range(max(1, len(run) - 1))]
    return found


def ranked(question: str, texts: Sequence[str]) -> list[tuple[int, float]]:
    """Places of the texts with their BM25 scores, best first; of equals the earlier one."""
    counted = [Counter(terms(text)) for text in texts]
    lengths = [counts.total() for counts in counted]
    mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
    wanted = set(terms(question))
    weights = {term: _weight(sum(term in counts for counts in counted), len(texts)) for term in wanted}
    scores = [
        sum(
            weights[term] * counts[term] * (_K1 + 1) / (counts[term] + _K1 * (1 - _B + _B * length / mean))
            for term in wanted & counts.keys()
        )
        for counts, length in zip(counted, lengths, strict=True)
    ]
    return sorted(enumerate(scores), key=lambda one: (-one[1], one[0]))


def _weight(containing: int, total: int) -> float:
    return log(1.0 + (total - containing + 0.5) / (containing + 0.5))
