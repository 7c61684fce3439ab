"""Read the labelled task descriptions and turn them into arrays.

Decides the file format, what counts as the same text, and which files may be trained on. Writing the texts and the
labelling rules are people's work (`README.md` beside this file); augmentation is `augment.py`.

Covered: rows checked on reading, duplicates across files refused. Never among the training rows: `holdout.jsonl`, which
selects and calibrates models, and `judge.jsonl` and `traps.jsonl`, which do nothing but judge them.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from conductor.domain.device import DeviceType, TaskKind

DATA = Path(__file__).parent / "data"
TRAINING_FILES = (
    "forum",
    "readme",
    "tickets",
    "misleading",
    "european",
    "world",
    "glossary",
    "stack",
    "cookbook",
    "languages",
    "hard",
    "everyday",
)
HOLDOUT_FILE = "holdout"
#: More misleading texts by the writer of `hard`; with those below it chose how encoder and language model are joined.
ASIDE_FILE = "aside"
#: Usual texts, and texts whose words mislead.
JUDGE_FILES = ("judge", "traps")
DEVICES = tuple(DeviceType)
KINDS = tuple(TaskKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One labelled task description; `accept` holds `best` and at most one other device."""

    id: str
    text: str
    accept: tuple[DeviceType, ...]
    best: DeviceType
    task_kind: TaskKind
    hard: bool
    lang: str
    voice: str


def read_rows(path: Path, voice: str | None = None) -> list[Row]:
    """Rows of one JSONL file in order.

    Raises:
        ValueError: a line breaks the format; the message names file and line.
    """
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(_row(json.loads(line), voice or path.stem))
        except (KeyError, ValueError) as wrong:
            raise ValueError(f"{path.name} line {number}: {wrong}") from wrong
    return rows


def _row(raw: dict[str, object], voice: str) -> Row:
    accept = raw["accept"]
    if not isinstance(accept, list) or not 1 <= len(accept) <= 2:
        raise ValueError(f"accept must be a list of one or two devices, not {accept!r}")
    row = Row(
        id=str(raw["id"]),
        text=str(raw["text"]),
        accept=tuple(DeviceType(device) for device in accept),
        best=DeviceType(str(raw["best"])),
        task_kind=TaskKind(str(raw["task_kind"])),
        hard=bool(raw["hard"]),
        lang=str(raw["lang"]),
        voice=str(raw.get("voice", voice)),
    )
    if row.best not in row.accept or not row.text.strip():
        raise ValueError(f"{row.id}: best must be in accept, and the text must not be empty")
    return row


def training_rows() -> list[Row]:
    """Every row that may be trained on; a text that stands twice is an error."""
    rows = [row for name in TRAINING_FILES for row in read_rows(DATA / f"{name}.jsonl")]
    seen: dict[str, str] = {}
    for row in rows:
        key = text_key(row.text)
        if key in seen:
            raise ValueError(f"{row.id} repeats {seen[key]}")
        seen[key] = row.id
    return rows


def holdout_rows() -> list[Row]:
    """Rows that select and calibrate, written by someone who had not read the training rows."""
    return read_rows(DATA / f"{HOLDOUT_FILE}.jsonl")


def aside_rows() -> list[Row]:
    """Misleading rows that nothing is trained on; they help to choose how two models are joined."""
    return read_rows(DATA / f"{ASIDE_FILE}.jsonl")


def judge_rows() -> dict[str, list[Row]]:
    """Rows that only judge: other writers', who read none of the others; nothing is trained on or chosen by them."""
    return {name: read_rows(DATA / f"{name}.jsonl") for name in JUDGE_FILES}


def text_key(text: str) -> str:
    """Digest of what remains of a text without case, accents, punctuation and word order."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    words = sorted(re.findall(r"\w+", "".join(c for c in plain if not unicodedata.combining(c))))
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def file_digests() -> dict[str, str]:
    """SHA-256 of every data file, for the card."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(DATA.glob("*.jsonl"))}


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of n rows as arrays.

    Args:
        accept: float32 [n, 6], one where the device is accepted.
        best: int64 [n], column of the best device.
        kind: int64 [n], column of the task kind.
    """

    accept: npt.NDArray[np.float32]
    best: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]


def targets(rows: Sequence[Row]) -> Targets:
    """Labels of `rows` in the column order of `DeviceType` and `TaskKind`."""
    accept = np.zeros((len(rows), len(DEVICES)), np.float32)
    for index, row in enumerate(rows):
        accept[index, [DEVICES.index(device) for device in row.accept]] = 1.0
    best = np.array([DEVICES.index(row.best) for row in rows], np.int64)
    kind = np.array([KINDS.index(row.task_kind) for row in rows], np.int64)
    return Targets(accept, best, kind)


def general_sentences() -> list[str]:
    """Sentences that are no tasks (reviews, news, small talk); they keep the embedding general."""
    return [line for line in (DATA / "general.txt").read_text(encoding="utf-8").splitlines() if line]
