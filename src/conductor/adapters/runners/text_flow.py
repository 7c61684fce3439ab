"""Turn tokens into text that can be shown: whole characters only, and nothing that may yet become a stop text.

Decoding one token alone is wrong for two reasons: a character may need several tokens, and some tokenizers write a
space only between tokens. So a few tokens are decoded together with those before them, and what is new is told.
Source of the method: the two offsets of Hugging Face's text-generation-inference.
"""

from collections.abc import Callable, Sequence
from typing import Final

_HALF: Final = "�"
#: A character has at most four bytes, so tokens that are still no character after that many never become one.
_MOST_HELD: Final = 4


class TextFlow:
    """The text of one answer, as its tokens come.

    Args:
        decode: token ids to text, without control tokens.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []  # only those that may still matter
        self._told = 0

    def add(self, token: int) -> str:
        """What can be shown now."""
        self._tokens.append(token)
        whole, known = self._decode(self._tokens), self._decode(self._tokens[: self._told])
        end = len(self._tokens)
        if whole.endswith(_HALF):
            if end - self._told < _MOST_HELD:
                return ""
            end = self._told + 1  # this one is no character; those behind it may yet become one
            whole = self._decode(self._tokens[:end])
        elif len(whole) <= len(known):
            return ""
        self._tokens, self._told = self._tokens[self._told :], end - self._told
        return whole[len(known) :]

    def rest(self) -> str:
        """What was held back; half a character is not text."""
        whole, known = self._decode(self._tokens), self._decode(self._tokens[: self._told])
        self._tokens, self._told = [], 0
        return whole[len(known) :].rstrip(_HALF)


class StopTexts:
    """Ends an answer at the first of some texts, and holds back what may become one.

    Args:
        stop: texts that end it; empty ones are ignored.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(filter(None, stop))
        self._held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """What can be shown, and whether the answer has ended."""
        if not self._stop:
            return text, False
        text = self._held + text
        places = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if places:
            self._held = ""
            return text[: min(places)], True
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held], False

    def rest(self) -> str:
        """What was held back and became no stop text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How much of the text's end is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
