"""Alter a training text the way hurried people would, without altering the work it asks for.

Covered: typing slips, lost accents, case, punctuation, polite frames, words of another language (`lexicon.py`).
Not covered: deleting words: a single word often decides the label.
"""

import random
import unicodedata
from collections.abc import Mapping, Sequence

BEFORE = ("please ", "pls ", "can you ", "need to ", "how to ", "job: ", "TODO: ", "hi, ", "task: ", "I want to ")
AFTER = (" please", " thx", " asap", ", thanks", " (urgent)", " - help?", "!", "?", " before friday", " tonight")


def altered(text: str, rng: random.Random, foreign: Mapping[str, Sequence[str]]) -> str:
    """One random alteration of `text`; about a third of the texts come back as they are."""
    if rng.random() < 0.35:
        return text
    if foreign and rng.random() < 0.3:
        text = _with_foreign_words(text, rng, foreign)
    if rng.random() < 0.25:
        text = _with_slip(text, rng)
    if rng.random() < 0.2:
        text = rng.choice((str.lower, str.upper, str.title, _without_accents))(text)
    if rng.random() < 0.1:
        text = rng.choice(BEFORE) + text
    if rng.random() < 0.1:
        text = text.rstrip(".!?") + rng.choice(AFTER)
    return text


def _with_slip(text: str, rng: random.Random) -> str:
    if len(text) < 8:
        return text
    at = rng.randrange(1, len(text) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def _with_foreign_words(text: str, rng: random.Random, foreign: Mapping[str, Sequence[str]]) -> str:
    """Replace the English words that the lexicon knows by one language's, each with an even chance.

    Source: code-switching augmentation, Qin et al. 2020, arXiv:2006.06402.
    """
    column = rng.randrange(len(next(iter(foreign.values()))))
    words = text.split(" ")
    for index, word in enumerate(words):
        forms = foreign.get(word.lower().strip(".,:;!?()"))
        if forms and forms[column] and rng.random() < 0.6:
            words[index] = forms[column]
    return " ".join(words)
