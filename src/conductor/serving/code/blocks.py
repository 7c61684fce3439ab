"""Take the code out of what a model wrote: its fenced blocks, each with language and file name where they are given.

Fences as CommonMark 0.31 has them: three or more backticks or tildes, closed by at least as many. A fence that is never
closed reaches to the end and is said to be open. Text without a fence is one block where it looks like code.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conductor.serving.code.language import UNKNOWN, detect
from conductor.serving.code.languages import language_named

_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$")
_LONGEST_INFO: Final = 200
_MOST_BLOCKS: Final = 100
_FILE_NAME: Final = re.compile(
    r"(?:^|[\s:=\"'`(*])((?:[\w.-]+/)*[\w-]+\.[A-Za-z]\w{0,9}|Dockerfile|Makefile)(?=$|[\s\"'`)*:,])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBlock:
    """One block; `language` is `unknown` where nothing tells it, `open` where its fence was never closed."""

    code: str
    language: str
    file_name: str = ""
    open: bool = False


def code_blocks(written: str) -> tuple[CodeBlock, ...]:
    """The blocks in order, the first hundred of them; linear in the length of the text."""
    blocks: list[CodeBlock] = []
    lines: list[str] = []
    fence, info, before, previous = "", "", "", ""
    for line in written.splitlines():
        if len(blocks) == _MOST_BLOCKS:
            return tuple(blocks)
        match = _FENCE.match(line)
        if not fence:
            if match and not (match[1][0] == "`" and "`" in match[2]):
                fence, info, before, lines = match[1], match[2].strip()[:_LONGEST_INFO], previous, []
            elif line.strip():
                previous = line
        elif match and match[1][0] == fence[0] and len(match[1]) >= len(fence) and not match[2].strip():
            blocks.append(_block(lines, info, before, still_open=False))
            fence, previous = "", ""
        else:
            lines.append(line)
    if fence:
        blocks.append(_block(lines, info, before, still_open=True))
    if not blocks and (found := detect(written)).name != UNKNOWN:
        blocks.append(CodeBlock(code=written.strip("\n") + "\n", language=found.name))
    return tuple(blocks)


def main_block(blocks: Sequence[CodeBlock], language: str) -> CodeBlock | None:
    """The longest in the wanted language; without one the longest of all."""
    wanted = [block for block in blocks if block.language == language]
    return max(wanted or blocks, key=lambda block: len(block.code), default=None)


def _block(lines: list[str], info: str, before: str, *, still_open: bool) -> CodeBlock:
    code = "\n".join(lines) + "\n" if lines else ""
    word, _, rest = info.partition(" ")
    word, _, attached = word.partition(":")
    file_name = _FILE_NAME.search(attached or rest) or _FILE_NAME.search(before if len(before) < 120 else "")
    named = language_named(word.strip("{}."))
    name = file_name[1] if file_name else ""
    language = named.name if named else (word.lower()[:40] or detect(code, name).name)
    return CodeBlock(code=code, language=language, file_name=name, open=still_open)
