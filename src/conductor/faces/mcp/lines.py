"""Cut a stream of bytes into messages, one a line, without ever holding more than one message may have."""

from collections.abc import Iterator
from typing import Final

MOST_LINE_BYTES: Final = 8 * 1024 * 1024


class Lines:
    """Takes pieces as they come and gives whole lines; a line that is too long is given as None, once, and dropped."""

    def __init__(self, most_bytes: int = MOST_LINE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """The lines that this piece ends; empty ones are left out."""
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._add(part)
            yield from self._taken()
        self._add(rest)

    def end(self) -> Iterator[bytes | None]:
        """What was begun and never ended by a line's end."""
        yield from self._taken()

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most_bytes:
            self._begun.clear()
        else:
            self._begun.append(part)

    def _taken(self) -> Iterator[bytes | None]:
        line, size = b"".join(self._begun).strip(), self._size
        self._begun.clear()
        self._size = 0
        if size > self._most_bytes:
            yield None
        elif line:
            yield line
