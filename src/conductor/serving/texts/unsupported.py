"""Find what a summary says and its source does not: numbers and names that do not occur there.

Numbers are compared by value (`numerals`), and number words of the source count. Names are words in capitals that the
source nowhere has, not even in small letters.

Not covered: numbers written as words in the summary; a lone name that begins a sentence, where every word has a capital;
names in scripts without capitals; languages that capitalise all nouns, German above all, where a name looks like any noun
(`names_can_be_told` says so). Rounded numbers are told, rightly: the source does not have them.
"""

import re
from collections.abc import Iterator
from typing import Final

from conductor.serving.texts.numerals import numbers
from conductor.serving.texts.quotations import Span
from conductor.serving.texts.splitting import sentences

#: By value; English, German, French and Spanish.
_NUMBER_WORD_LISTS: Final = (
    "zero null", "one ein eine un una uno", "two zwei deux dos", "three drei trois tres", "four vier quatre cuatro",
    "five fünf cinq cinco", "six sechs seis", "seven sieben sept siete", "eight acht huit ocho", "nine neun neuf nueve",
    "ten zehn dix diez", "eleven elf onze once", "twelve zwölf douze doce",
)  # fmt: skip
_NUMBER_WORDS: Final = {word: value for value, words in enumerate(_NUMBER_WORD_LISTS) for word in words.split()}
_WORD: Final = re.compile(r"[^\W\d_](?:[\w'’-]*\w)?")
_CAPITAL_WORDS: Final = re.compile(r"(?<![\w'’-])[^\W\d_a-z](?:[\w'’-]*\w)?(?:\s+[^\W\d_a-z](?:[\w'’-]*\w)?)*")
_MOST_NOUNS_IN_CAPITALS: Final = 0.2
_FEW_WORDS: Final = 12
#: Months and weekdays are capitalised in English and are no names; a wrong one comes with a wrong number anyway.
_NO_NAMES: Final = frozenset(
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
     "december", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "i"]
)  # fmt: skip


def unsupported_numbers(summary: str, source: str) -> list[Span]:
    """Where the summary has numbers that the source has not."""
    known = {value for _, values in numbers(source) for value in values}
    known |= {str(_NUMBER_WORDS[word]) for word in _words(source) & _NUMBER_WORDS.keys()}
    return [at for at, values in numbers(summary) if not known & values and not _numbers_a_list(at, summary)]


def unsupported_names(summary: str, source: str) -> list[Span]:
    """Where the summary has names that the source has not; empty where names cannot be told."""
    if not names_can_be_told(source):
        return []
    known = _words(source)
    found: list[Span] = []
    at = 0
    for sentence in sentences(summary):
        for name in _names(sentence):
            strange = [word for word in _WORD.finditer(name[0]) if _is_strange(word[0], known)]
            if strange:
                start = at + name.start()
                found.append(Span(start + strange[0].start(), start + strange[-1].end()))
        at += len(sentence)
    return found


def names_can_be_told(source: str) -> bool:
    """Whether capitals mark names in this text: its script has them, and does not give them to every noun."""
    inner = [word for sentence in sentences(source) for word in _WORD.findall(sentence)[1:]]
    capital = sum(word[0].isupper() for word in inner)
    small = sum(word[0].islower() for word in inner)
    if small == 0:
        return False
    return len(inner) < _FEW_WORDS or capital / (capital + small) < _MOST_NOUNS_IN_CAPITALS


def _names(sentence: str) -> Iterator[re.Match[str]]:
    first = _WORD.search(sentence)
    for name in _CAPITAL_WORDS.finditer(sentence):
        # The first word of a sentence has its capital from there, unless more of them follow.
        if first is not None and name.start() == first.start() and " " not in name[0].strip():
            continue
        yield name


def _is_strange(word: str, known: set[str]) -> bool:
    if not (word[0].isupper() or word[0].istitle()):
        return False
    low = word.casefold()
    stem = low.removesuffix("'s").removesuffix("’s")
    return not known & {low, stem, f"{stem}s", stem.removesuffix("s")} and low not in _NO_NAMES and len(word) > 1


def _words(text: str) -> set[str]:
    words = {word.casefold() for word in _WORD.findall(text)}
    parts = {part for word in words for part in re.split(r"['’-]", word)}
    return words | parts


def _numbers_a_list(at: Span, text: str) -> bool:
    before = text[text.rfind("\n", 0, at.start) + 1 : at.start]
    return not before.strip() and re.match(r"[.)]\s", text[at.end : at.end + 2]) is not None
