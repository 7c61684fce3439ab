"""Give foreign words the meaning of their English ones before training starts.

The base was trained on English: Chinese characters are unknown to it, Russian is spelled letter by letter. About 150
words that decide where work runs stand in `data/lexicon.tsv` in thirteen languages. They become vocabulary rows that
start from the English rows (`base.py`) and replace English words while training (`augment.py`). Forms are separated by
`/`; the first is a whole word, the others are stems to which the language adds endings.

Not covered: word order, ambiguity; what these tables get wrong, training corrects.
"""

from collections import Counter
from collections.abc import Iterator

from recipes.encoder.base import NewToken
from recipes.encoder.data import DATA, Row


def _lines() -> Iterator[tuple[str, list[list[str]]]]:
    lines = (DATA / "lexicon.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        english, *languages = line.split("\t")
        yield english, [cell.split("/") for cell in languages]


def new_tokens() -> list[NewToken]:
    """Every single foreign word of the lexicon once; of two meanings the first counts."""
    tokens: dict[str, NewToken] = {}
    for english, languages in _lines():
        for word in (form for forms in languages for form in forms):
            if " " not in word and len(word) > 1 and word.lower() != english:
                tokens.setdefault(word, NewToken(word, english))
    return list(tokens.values())


def frequent_characters(rows: list[Row], known: frozenset[str], at_least: int = 2) -> list[NewToken]:
    """Chinese and Japanese characters that occur in `rows` and that the base does not know."""
    counts = Counter(c for row in rows for c in set(row.text) if "\u4e00" <= c <= "\u9fff" and c not in known)
    return [NewToken(character, "") for character, count in sorted(counts.items()) if count >= at_least]


def by_english_word() -> dict[str, list[str]]:
    """English word → its first form in each language, in the order of the file."""
    return {english: [forms[0] for forms in languages] for english, languages in _lines()}
