"""Read a description for what can be read without a model: language, quantities, media, operations, hurry.

Decides nothing about devices; the features feed estimates, priority and reasoning. Which device the work needs is the
encoder's judgement, because surface words mislead in a third of all descriptions.

Covered: texts of any length and script; beyond `READ_CHARACTERS` the beginning and the end are read.
Not covered: words of media and operations outside the languages of `vocabulary`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from conductor.decisions.languages import Language, language_of
from conductor.decisions.quantities import Quantity, quantities_in
from conductor.decisions.urgency import Urgency, urgency_of
from conductor.decisions.vocabulary import (
    BATCH_FRAGMENTS,
    BATCH_WORDS,
    MEDIA_EXTENSIONS,
    MEDIA_FRAGMENTS,
    MEDIA_WORDS,
    VERB_FRAGMENTS,
    VERBS,
)

READ_CHARACTERS: Final = 4000
_END_CHARACTERS: Final = 1000
_WORD: Final = re.compile(r"[^\W\d_]+")
_EXTENSION: Final = re.compile(
    r"(?<=[\w*)])\.([a-z][a-z0-9]{1,10})(?!\w)|(?<!\w)([a-z]{2,5}[0-9]?)(?!\w)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a description says on its surface.

    `media` and `verbs` keep the order of the text, each once; `notes` tells what was left out of the reading.
    """

    language: Language
    quantities: tuple[Quantity, ...]
    media: tuple[str, ...]
    verbs: tuple[str, ...]
    batch: bool
    urgency: Urgency
    notes: tuple[str, ...] = ()

    def total(self, name: str) -> float | None:
        """The largest quantity of one name; the smaller ones of the same name are usually parts of it or settings."""
        return max((found.value for found in self.quantities if found.name == name), default=None)

    def sizes(self) -> dict[str, float]:
        """The positive quantities, named `text.count`, `text.bytes` and so on, for the estimator."""
        totals = {f"text.{found.name}": self.total(found.name) or 0.0 for found in self.quantities}
        return {name: value for name, value in totals.items() if value > 0}


def readable(text: str) -> tuple[str, tuple[str, ...]]:
    """The part of a text that is read, and a note when that is not all of it."""
    if len(text) <= READ_CHARACTERS:
        return text, ()
    part = text[: READ_CHARACTERS - _END_CHARACTERS] + "\n" + text[-_END_CHARACTERS:]
    return part, (f"of {len(text)} characters, the first and the last were read, {READ_CHARACTERS} in all",)


def features_of(text: str) -> Features:
    """Read a description; linear in its length, bounded by `READ_CHARACTERS`, never fails."""
    part, notes = readable(text)
    words = [word.lower() for word in _WORD.findall(part)]
    urgency = urgency_of(part)
    if urgency.commands:
        notes = (*notes, "orders to the scheduler in the description were left out")
    return Features(
        language=language_of(part),
        quantities=quantities_in(part),
        media=_media(part, words),
        verbs=_found(words, part, VERBS, VERB_FRAGMENTS),
        batch=not BATCH_WORDS.isdisjoint(words) or any(fragment in part for fragment in BATCH_FRAGMENTS),
        urgency=urgency,
        notes=notes,
    )


def _media(text: str, words: list[str]) -> tuple[str, ...]:
    named = _found(words, text, MEDIA_WORDS, MEDIA_FRAGMENTS)
    endings = (match[1] or match[2] for match in _EXTENSION.finditer(text))
    by_extension = (MEDIA_EXTENSIONS[ending.lower()] for ending in endings if ending.lower() in MEDIA_EXTENSIONS)
    return tuple(dict.fromkeys((*named, *by_extension)))


def _found(
    words: list[str], text: str, table: Mapping[str, str], fragments: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    by_word = (table[word] for word in words if word in table)
    by_fragment = (name for name, parts in fragments.items() if any(part in text for part in parts))
    return tuple(dict.fromkeys((*by_word, *by_fragment)))
