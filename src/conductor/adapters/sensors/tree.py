"""Read small files of a kernel's file tree (`/proc`, `/sys`, `/dev`) below a root that is handed in.

A sensor that is missing, forbidden or broken reads as None or as an empty list, never as an exception: on somebody's
board anything may be absent, and a driver may answer any read with any error. What the files mean is for the callers.

Covered: text, numbers, folder listings, symbolic links. Not covered: opening devices, ioctl.
"""

import re
from pathlib import Path

_LARGEST_READ_BYTES = 1 << 20


class Tree:
    """A file tree as the kernel shows it; `/` on a live machine, a recorded folder in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where `name` (relative, such as `proc/stat`) lies."""
        return self.root / name

    def text(self, name: str) -> str | None:
        """The file's text without surrounding blanks and NULs (device-tree strings end in one)."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(_LARGEST_READ_BYTES).decode(errors="replace").strip(" \t\r\n\0")
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """The file's text as an integer, decimal or with a `0x` prefix."""
        try:
            return int(self.text(name) or "", 0)
        except ValueError:
            return None

    def table(self, name: str) -> dict[str, int]:
        """Lines of `name value`, as in `memory.stat` or a topology's `properties`; other lines are passed over."""
        pairs = (line.split() for line in (self.text(name) or "").splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}

    def names(self, folder: str, pattern: str = "") -> list[str]:
        """Entries of a folder that begin with the regular expression `pattern`, `zone2` before `zone10`."""
        try:
            found = [entry.name for entry in self.path(folder).iterdir()]
        except OSError:
            return []
        return sorted((name for name in found if re.match(pattern, name)), key=_natural)

    def target(self, name: str) -> str | None:
        """The last part of what a symbolic link points to: a driver's name, or a device's address on its bus."""
        try:
            return self.path(name).readlink().name
        except OSError:
            return None

    def exists(self, name: str) -> bool:
        """Whether there is such a file, folder or device node."""
        try:
            return self.path(name).exists()
        except OSError:  # the folder around it is closed to us
            return False


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Order names by their numbers: digits compare as numbers, everything else as text."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))
