"""Fill in the decision form with the language model, token by token, under the form's own grammar.

After the text come five answers, one token each, then up to three words of the text that speak for the device. Only what
the grammar allows is weighed: the answers of the field that is due, and the words that stand in the text. Whatever the
text says, the result is a valid form. Separators and the rest of a word that is already certain cost no step of their
own: they are fed together with what comes next.

Covered: batches of texts, texts of any length (cut), texts without any word. Not covered: what the answers are worth;
that is `decisions`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from conductor.adapters.mind_llama.decoder import Continuation, Decoder
from conductor.adapters.mind_llama.vocabulary import FloatArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_CUES: Final = 3
TEXT_TOKENS: Final = 128
_MOST_WORDS: Final = 96
_WORD: Final = re.compile(r"[^\s,;:!?()\[\]{}\"'“”„«»`]{2,40}")


@dataclass(frozen=True, slots=True)
class Tongue:
    """Token ids that carry the form: the answers of each field in order, the separator of words, and the end."""

    fields: tuple[tuple[int, ...], ...]
    separator: int
    end: int


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled-in form: for each field the probabilities of its answers, and the cue words."""

    probabilities: tuple[npt.NDArray[np.float64], ...]
    cues: tuple[str, ...]


def fill(
    decoder: Decoder, tokenizer: "Tokenizer", tongue: Tongue, texts: Sequence[str], temperatures: Sequence[float]
) -> list[Filled]:
    """Fill in one form per text in one batch.

    Args:
        temperatures: by which the logits of each field are divided; choosing the likeliest is not affected.
    """
    sequence = decoder.begin(len(texts))
    hidden = sequence.extend([_cut(encoding.ids, tongue.end) for encoding in tokenizer.encode_batch(list(texts))])
    columns: list[npt.NDArray[np.float64]] = []
    for answers, temperature in zip(tongue.fields, temperatures, strict=True):
        logits = hidden @ decoder.vocabulary.rows(answers).T
        columns.append(_softmax(logits / temperature))
        chosen = [answers[answer] for answer in logits.argmax(axis=1)]
        hidden = sequence.extend([[token] for token in chosen])
    cues = _cues(decoder, tokenizer, tongue, texts, sequence, hidden)
    return [Filled(tuple(column[row] for column in columns), cues[row]) for row in range(len(texts))]


def _cut(ids: list[int], end: int) -> list[int]:
    return ids if len(ids) <= TEXT_TOKENS else [*ids[: TEXT_TOKENS - 1], end]


@dataclass(slots=True)
class _Quoting:
    """The words a row may still quote, by their tokens, and those it has quoted."""

    left: dict[tuple[int, ...], str]
    quoted: list[str] = field(default_factory=list)
    ended: bool = False


def _cues(
    decoder: Decoder,
    tokenizer: "Tokenizer",
    tongue: Tongue,
    texts: Sequence[str],
    sequence: Continuation,
    hidden: FloatArray,
) -> list[tuple[str, ...]]:
    """Let every row quote words of its text until it ends or has quoted enough."""
    rows = [_Quoting(_words(tokenizer, text)) for text in texts]
    for _ in range(MOST_CUES):
        feeds: list[list[int]] = []
        for quoting, state in zip(rows, hidden, strict=True):
            word = None if quoting.ended else _next_word(decoder, tongue, quoting, state)
            if word is None:
                quoting.ended = True
                feeds.append([])
            else:
                quoting.quoted.append(quoting.left.pop(word))
                feeds.append([*word, tongue.separator])
        if not any(feeds) or all(len(quoting.quoted) >= MOST_CUES or quoting.ended for quoting in rows):
            break
        hidden = sequence.extend(feeds)
    return [tuple(quoting.quoted) for quoting in rows]


def _next_word(decoder: Decoder, tongue: Tongue, quoting: _Quoting, state: FloatArray) -> tuple[int, ...] | None:
    """The word whose first token is likeliest, the longest where several begin with it; None to end."""
    firsts = sorted({word[0] for word in quoting.left})
    if not firsts:
        return None
    options = [tongue.end, *firsts] if quoting.quoted else firsts
    logits = decoder.vocabulary.rows(options) @ state
    best = options[int(logits.argmax())]
    if best == tongue.end:
        return None
    return max((word for word in quoting.left if word[0] == best), key=len)


def _words(tokenizer: "Tokenizer", text: str) -> dict[tuple[int, ...], str]:
    words = list(dict.fromkeys(_WORD.findall(text)))[:_MOST_WORDS]
    if not words:
        return {}
    encoded = tokenizer.encode_batch(words, add_special_tokens=False)
    return {tuple(found.ids): word for word, found in zip(words, encoded, strict=True) if found.ids}


def _softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
