"""Decide where a code completion ends: at the end of the sensible unit, and never beyond the text after the cursor.

The unit, from the cursor on:
- text follows on the cursor's line: the rest of that line;
- the cursor's line, or the line before an empty one, opens a block: that block with its closing bracket;
- the cursor's line has code: that statement with the block it opens;
- the cursor stands on an empty line inside a block: the rest of the block;
- the cursor stands at the left margin: one top-level statement with its block, and neighbours without a blank line.

Indentation and brackets decide, in every language alike. What is decided of a text is never taken back when more of it
comes, so it can be shown while it is written.

Not covered: strings over several lines that begin before the cursor's line.
"""

import re
from dataclasses import dataclass
from typing import Final

from conductor.serving.code.brackets import CLOSERS, OPENERS, brackets_in

_OPENS_BLOCK: Final = re.compile(r"(?:[:{(\[]|\b(?:do|then|begin)|=>|->)\s*$")
_GOES_ON: Final = re.compile(r"(?:else|elif|elsif|elseif|except|finally|catch|rescue|ensure|end|fi|done|esac)\b")
#: Character literals look like unclosed ones until they end; so much is waited for.
_LOOK_AHEAD: Final = {"rust": 12, "cpp": 12, "haskell": 12, "julia": 12, "kotlin": 12}


@dataclass(frozen=True, slots=True)
class Shown:
    """How much of what was written belongs to the unit for certain, and whether the unit has ended there."""

    characters: int
    ended: bool


class Unit:
    """The unit that begins at one cursor.

    Args:
        prefix: text before the cursor; suffix: text after it.
    """

    def __init__(self, prefix: str, suffix: str, language: str) -> None:
        self._language = language
        self._look_ahead = _LOOK_AHEAD.get(language, 0)
        lines = prefix.split("\n")
        line = lines[-1]
        before = next((earlier for earlier in reversed(lines[:-1]) if earlier.strip()), "")
        after_block_opens = not line.strip() and bool(_OPENS_BLOCK.search(before))
        self._head = before + "\n" + line if after_block_opens else line
        self._home = _indentation(before if after_block_opens else line)
        self._inside = not line.strip() and not after_block_opens and self._home > 0
        self._top_level = not line.strip() and not after_block_opens and self._home == 0
        rest, _, later = suffix.partition("\n")
        self._rest = rest.strip()
        self._one_line = bool(re.search(r"\w", self._rest))
        self._next_line = self._rest or next(
            (following.strip() for following in later.split("\n") if following.strip()), ""
        )
        self._closed_later = len(self._next_line) - len(self._next_line.lstrip(")]}"))

    def shown(self, written: str, *, final: bool = False) -> Shown:
        """What may be shown of `written`; with `final` nothing more will come."""
        if self._one_line:
            return self._shown_of_line(written, final=final)
        depths, cut = self._depths(written, final=final)
        if cut is not None:
            return Shown(self._lines(written[:cut], depths, final=True).characters, ended=True)
        certain = len(written) if final else max(len(written) - self._look_ahead, 0)
        return self._lines(written[:certain], depths, final=final)

    def _shown_of_line(self, written: str, *, final: bool) -> Shown:
        line, newline, _ = written.partition("\n")
        if newline or final:
            if line.rstrip().endswith(self._rest):  # the model wrote what stands there already
                line = line.rstrip()[: -len(self._rest)]
            return Shown(len(line), ended=True)
        return Shown(max(len(line.rstrip()) - len(self._rest), 0), ended=False)

    def _depths(self, written: str, *, final: bool) -> tuple[list[tuple[int, int]], int | None]:
        """After which character of `written` how many brackets are open; and where one closes that the suffix closes."""
        certain = len(written) if final else len(written) - self._look_ahead
        depth, least, depths = 0, 0, [(-1, 0)]
        for bracket in brackets_in(self._head + written, self._language)[0]:
            position = bracket.position - len(self._head)
            if position >= certain:
                break
            depth += 1 if bracket.character in OPENERS else -1
            if position < 0:
                least = min(max(depth, 0), self._closed_later)
            elif self._closed_later and bracket.character == self._next_line[0] and depth < least:
                return depths, position
            depth = max(depth, 0)
            depths.append((position, depth))
        return depths, None

    def _lines(self, written: str, depths: list[tuple[int, int]], *, final: bool) -> Shown:
        lines = written.split("\n")
        at_margin = self._head.rpartition("\n")[2].strip() == ""
        start, kept, blank_before, neighbours = 0, 0, False, self._top_level
        for number, line in enumerate(lines):
            decided = final or number < len(lines) - 1
            text_end = start + len(line.rstrip())
            if not line.strip():
                blank_before = number > 0
            elif number == 0 and not at_margin:
                kept = text_end
            else:
                if kept == 0 and at_margin:  # the first line with text belongs, unless it is the suffix's
                    belongs, neighbours = True, neighbours and _indentation(line) == 0
                else:
                    belongs = self._belongs(
                        line, _depth_before(depths, start), neighbours=neighbours and not blank_before, whole=decided
                    )
                if decided and (self._is_next(line) or not belongs):
                    return Shown(kept, ended=True)
                if decided or (belongs and not self._may_be_next(line)):
                    kept = text_end
                blank_before = False
            start += len(line) + 1
        return Shown(kept, ended=final)

    def _belongs(self, line: str, depth: int, *, neighbours: bool, whole: bool) -> bool:
        """Whether a line does; of one that is not yet whole only what cannot change is believed."""
        indentation, text = _indentation(line), line.strip()
        if depth > 0 or indentation > self._home:
            return True
        if self._inside:
            return indentation == self._home and text[0] not in CLOSERS
        if whole and indentation == self._home and _GOES_ON.match(text):
            return True
        return neighbours and indentation == 0

    def _is_next(self, line: str) -> bool:
        return len(self._next_line) > 2 and bool(re.search(r"\w", self._next_line)) and line.strip() == self._next_line

    def _may_be_next(self, line: str) -> bool:
        return len(self._next_line) > 2 and self._next_line.startswith(line.strip())


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _depth_before(depths: list[tuple[int, int]], position: int) -> int:
    """How many brackets are open before the character at `position`."""
    return next(depth for at, depth in reversed(depths) if at < position)
