"""Measure beforehand what the duration of a workload may depend on: numbers in its arguments, bytes in its inputs.

Covered: command lines of the usual shapes (options, `name=value`, `-i input`, times, `1280x720`), arguments of
callables. Not covered: inputs a program finds by itself, and pipes.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from conductor.domain.json import JsonValue

MAX_FOLDER_ENTRIES: Final = 10_000
MAX_WORD_CHARACTERS: Final = 80
#: Programs whose first file argument says what they really run.
INTERPRETERS: Final = re.compile(r"(python|pypy|ruby|perl|lua|node|php)[0-9.]*|(ba|da|z)?sh|Rscript|julia|deno|bun")

_NUMBER = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(%|[a-zA-Z]{1,3})?")
_FRAME = re.compile(r"(\d+)[xX](\d+)")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)")
_FILE_LIKE = re.compile(r".*\.[A-Za-z][A-Za-z0-9]{0,5}")


def number_in(word: str) -> float | None:
    """`23` → 23, `5M` → 5, `1280x720` → 921600, `00:01:30` → 90; None if the word is no number."""
    if frame := _FRAME.fullmatch(word):
        return float(int(frame[1]) * int(frame[2]))
    if clock := _CLOCK.fullmatch(word):
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if number := _NUMBER.fullmatch(word):
        unit = number[2] or ""
        value = float(word.removesuffix(unit))
        return value if math.isfinite(value) else None
    return None


def command_signature(argv: Sequence[str]) -> str:
    """Program and options without numbers and paths, in order: the same recipe on another file is the same text."""
    program = Path(argv[0]).name
    words = [program]
    if INTERPRETERS.fullmatch(program):
        words += [Path(argument).name for argument in argv[1:2] if not argument.startswith("-")]
    for argument in argv[1:]:
        words += [_shortened(part) for part in _constant_part(argument)]
    return "command:" + " ".join(words)


def _constant_part(argument: str) -> Iterator[str]:
    name, equals, value = argument.partition("=")
    if argument.startswith("-") and number_in(argument) is None:
        if not equals:
            yield argument
        elif number_in(value) is not None or _is_path(value):
            yield f"{name}="
        else:
            yield argument
    elif number_in(argument) is None and not _is_path(argument):
        yield argument


def _is_path(word: str) -> bool:
    return not any(char.isspace() for char in word) and ("/" in word or _FILE_LIKE.fullmatch(word) is not None)


def _shortened(word: str) -> str:
    if len(word) <= MAX_WORD_CHARACTERS and not any(char.isspace() for char in word):
        return word
    return "#" + hashlib.sha256(word.encode(errors="surrogatepass")).hexdigest()[:12]


def command_sizes(argv: Sequence[str], *, directory: Path, stdin_bytes: int) -> dict[str, float]:
    """`input_bytes`, and every number by the option before it (`arg.crf`) or by its position (`arg.2`)."""
    sizes = {"input_bytes": float(stdin_bytes + sum(path_size(path)[0] for path in _inputs(argv, directory)))}
    for position, argument in enumerate(argv[1:], start=1):
        name, equals, value = argument.partition("=")
        if equals and argument.startswith("-"):
            key, word = name.lstrip("-"), value
        else:
            before = argv[position - 1]
            is_value = position > 1 and before.startswith("-") and number_in(before) is None
            key, word = (before.lstrip("-") if is_value else str(position)), argument
        _put(sizes, f"arg.{key}", number_in(word))
    return {name: size for name, size in sizes.items() if size > 0}


def _inputs(argv: Sequence[str], directory: Path) -> list[Path]:
    """Existing files among the arguments, less the one that is an output of an earlier run.

    With `-i` (ffmpeg and its like) inputs are what follows it. Otherwise the last of several existing files is taken
    for the output.
    """
    after_i = [argv[index + 1] for index, word in enumerate(argv[:-1]) if word == "-i"]
    if after_i:
        return [path for path in (directory / word for word in after_i) if _exists(path)]
    words = [word.partition("=")[2] if word.startswith("-") else word for word in argv[1:]]
    named = [(index, directory / word) for index, word in enumerate(words) if word and len(word) < 4096]
    found = [(index, path) for index, path in named if _exists(path)]
    if len(found) >= 2 and found[-1][0] == len(words) - 1 and found[-1][1].is_file():
        found.pop()
    return [path for _, path in found]


def callable_sizes(arguments: Mapping[str, JsonValue], *, directory: Path) -> dict[str, float]:
    """Numbers by name, lengths of lists, bytes and file counts of arguments that name existing files or folders."""
    sizes: dict[str, float] = {}
    for name, value in arguments.items():
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float):
            _put(sizes, f"arg.{name}", float(value))
        elif isinstance(value, list | tuple | dict):
            _put(sizes, f"arg.{name}.len", float(len(value)))
        elif isinstance(value, str) and 0 < len(value) < 4096 and "\0" not in value and _exists(directory / value):
            total, files = path_size(directory / value)
            _put(sizes, f"arg.{name}.bytes", float(total))
            _put(sizes, f"arg.{name}.files", float(files))
    return sizes


def path_size(path: Path) -> tuple[int, int]:
    """(bytes, files) of a file, or of a folder with all below it; a folder is read up to 10,000 entries."""
    total = files = seen = 0
    with suppress(OSError):
        if not path.is_dir():
            return path.stat().st_size, 1
        for folder, _, names in os.walk(path):
            for name in names:
                with suppress(OSError):
                    total += Path(folder, name).lstat().st_size
                    files += 1
            seen += len(names) + 1
            if seen > MAX_FOLDER_ENTRIES:
                break
    return total, files


def _exists(path: Path) -> bool:
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):
        return False


def _put(sizes: dict[str, float], name: str, value: float | None) -> None:
    if value is not None and value > 0 and math.isfinite(value):
        sizes[name] = value
