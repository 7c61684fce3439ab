"""Read the files of a batch: its requests line by line, what is wrong with them, and which of them were answered.

Blocking: callers use threads. Answering is `batch_work`'s.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from conductor.adapters.document_folder import DocumentFolder
from conductor.app.serving.batch import Batch
from conductor.domain.errors import InvalidInput, StorageError

_MOST_ERRORS_TOLD: Final = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch."""

    custom_id: str
    body: dict[str, Any]


class BatchLines:
    """The lines of batches.

    Args:
        folder: where the bytes of the files are.
        most_lines: of one batch.
    """

    def __init__(self, folder: DocumentFolder, *, most_lines: int) -> None:
        self._folder, self._most_lines = folder, most_lines

    def faults(self, batch: Batch) -> list[dict[str, Any]]:
        """What is wrong with the lines; counts them. Errors as `requests`."""
        faults: list[dict[str, Any]] = []
        seen: set[str] = set()
        batch.total = 0
        for number, raw in enumerate(self._input(batch), start=1):
            if not raw.strip():
                continue
            batch.total += 1
            if batch.total > self._most_lines:
                return [told("too_many_lines", f"a batch may have {self._most_lines:,} lines here; split it")]
            try:
                _note_id(_read(raw, batch.endpoint).custom_id, seen)
            except InvalidInput as fault:
                faults.append(told("invalid_line", fault.message, line=number, param=fault.field))
                if len(faults) >= _MOST_ERRORS_TOLD:
                    break
        return faults or ([] if batch.total else [told("empty_file", "the file has no line")])

    def requests(self, batch: Batch, *, without: frozenset[str]) -> Iterator[Line]:
        """The requests but those with these ids; several threads may take from it.

        Raises:
            StorageError: the file with the requests was deleted meanwhile.
        """
        lines = (_read(raw, batch.endpoint) for raw in self._input(batch) if raw.strip())
        return _Locked(line for line in lines if line.custom_id not in without)

    def _input(self, batch: Batch) -> Iterator[bytes]:
        if not self._folder.content(batch.input_file_id).exists():
            raise StorageError(f"{batch.input_file_id}, with the lines of this batch, was deleted; send it again")
        return self._folder.lines(batch.input_file_id)

    def answered(self, batch: Batch) -> frozenset[str]:
        """Ids of the lines that an earlier run answered; counts them.

        Raises:
            StorageError: what it wrote cannot be read any more.
        """
        found = []
        for file_id in (batch.output_file_id, batch.error_file_id):
            self._folder.drop_torn_line(file_id)
            try:
                found.append([str(orjson.loads(raw)["custom_id"]) for raw in self._folder.lines(file_id)])
            except (ValueError, KeyError, TypeError) as damaged:
                raise StorageError(f"{file_id}, with the answers so far, is damaged; send the batch again") from damaged
        batch.completed, batch.failed = len(found[0]), len(found[1])
        return frozenset(found[0] + found[1])


def told(code: str, message: str, *, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    """One of a batch's errors, in OpenAI's form."""
    return {"code": code, "message": message, "line": line, "param": param}


class _Locked:
    """One iterator for several threads."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        with self._lock:
            return next(self._lines)


def _read(raw: bytes, endpoint: str) -> Line:
    """One line of an input file.

    Raises:
        InvalidInput: it is no request for the endpoint.
    """
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError as broken:
        raise InvalidInput(f"the line is no JSON: {broken}"[:300]) from None
    if not isinstance(line, dict):
        raise InvalidInput("the line is no JSON object")
    custom_id, body = line.get("custom_id"), line.get("body")
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= 512:
        raise InvalidInput("custom_id must be text of 1 to 512 characters", field="custom_id")
    if line.get("method") != "POST":
        raise InvalidInput("method must be POST", field="method")
    if line.get("url") != endpoint:
        raise InvalidInput(f"url must be {endpoint}, as the batch's endpoint", field="url")
    if not isinstance(body, dict):
        raise InvalidInput("body must be an object", field="body")
    if body.get("stream"):
        raise InvalidInput("a batch cannot stream; leave stream out", field="body.stream")
    return Line(custom_id, body)


def _note_id(custom_id: str, seen: set[str]) -> None:
    if custom_id in seen:
        raise InvalidInput(f"the custom_id {custom_id[:100]!r} was used before", field="custom_id")
    seen.add(custom_id)
