"""The workload `embed`: texts to vectors with our own encoder, and their nearest label where labels are given.

Specification: `{"texts": [...]}` or `{"file": path, "column": name?}`, with optional `compare` (labels or prototype
sentences as a list, or `{label: [sentences]}`), `output` (a file that gets one JSON line per text) and `directory`
(where relative paths start).

Runs in this process, in a worker thread: trusted code on data, in batches, so that it can be cancelled and bounded
between two of them. Not covered: files that do not fit in memory; processor time of the encoder's own threads.
"""

import asyncio
import csv
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from conductor.adapters.workloads import fields
from conductor.adapters.workloads.sizes import path_size
from conductor.decisions.ports import FloatArray, TextEncoder
from conductor.domain.clock import Clock
from conductor.domain.errors import InvalidInput
from conductor.domain.event import TaskOutput
from conductor.domain.json import JsonObject, JsonValue
from conductor.domain.node import NodeId
from conductor.domain.outcome import Ending, Outcome
from conductor.domain.task import Task
from conductor.domain.units import GIB, format_bytes
from conductor.domain.workload import Limits, WorkProfile
from conductor.scheduling.ports import OutputListener

BATCH: Final = 32
MAX_LISTED: Final = 1000
SHOWN_CHARACTERS: Final = 200
MAX_FILE_BYTES: Final = GIB


class EmbedKind:
    """Embeds texts with the encoder the decisions use."""

    name = "embed"
    executes_code = False

    def __init__(self, encoder: TextEncoder, *, node_id: NodeId, clock: Clock) -> None:
        self._encoder, self._node_id, self._clock = encoder, node_id, clock

    def check(self, spec: JsonObject) -> JsonObject:
        """See `WorkloadKind.check`; a file must exist and have the column now."""
        fields.refuse_unknown(spec, ("texts", "file", "column", "compare", "output", "directory"))
        if (spec.get("texts") is None) == (spec.get("file") is None):
            raise InvalidInput("give either workload.texts or workload.file", field="workload.texts")
        complete: dict[str, JsonValue] = {"column": fields.text(spec, "column") or "text"}
        base = fields.directory(spec) or Path.cwd()
        if spec.get("texts") is not None:
            complete["texts"] = fields.texts(spec["texts"], "workload.texts")
            if not complete["texts"]:
                raise InvalidInput("workload.texts is empty; give at least one text", field="workload.texts")
        else:
            complete["file"] = str(_check_file(base / (fields.text(spec, "file") or ""), str(complete["column"])))
        if spec.get("compare") is not None:
            complete["compare"] = {label: list(lines) for label, lines in _prototypes(spec["compare"]).items()}
        if output := fields.text(spec, "output"):
            if not (base / output).parent.is_dir():
                raise InvalidInput(
                    f"workload.output {output!r} lies in a folder that does not exist; create it first",
                    field="workload.output",
                )
            complete["output"] = str(base / output)
        return complete

    def profile(self, spec: JsonObject) -> WorkProfile:
        """See `WorkloadKind.profile`."""
        texts, file = spec.get("texts"), spec.get("file")
        sizes: dict[str, float] = {}
        if isinstance(texts, list | tuple):
            sizes = {"texts": float(len(texts)), "input_bytes": float(sum(len(str(text)) for text in texts))}
        elif isinstance(file, str):
            sizes = {"input_bytes": float(path_size(Path(file))[0])}
        return WorkProfile(
            signature=f"embed:{self._encoder.name}{' compare' if spec.get('compare') else ''}",
            sizes={name: size for name, size in sizes.items() if size > 0},
        )

    def inline(self, task: Task) -> Outcome | None:
        """Never: even one batch would hold up the event loop."""
        return None

    async def run(self, task: Task, emit: OutputListener) -> Outcome:
        """See `WorkloadKind.run`."""
        workload = task.submission.workload
        assert workload is not None
        began_unix_s, began_s = self._clock.now_unix_s(), self._clock.monotonic_s()
        scoring = _Scoring(self._encoder)
        ending, message = await self._score(task, workload.spec, workload.limits, scoring, emit)
        return Outcome(
            ending=ending,
            message=message,
            node_id=self._node_id,
            started_at_unix_s=began_unix_s,
            duration_s=self._clock.monotonic_s() - began_s,
            cpu_time_s=scoring.cpu_time_s,
            result=scoring.result() if ending is Ending.SUCCEEDED else None,
            confinement="in-process",
        )

    async def _score(
        self, task: Task, spec: JsonObject, limits: Limits, scoring: "_Scoring", emit: OutputListener
    ) -> tuple[Ending, str]:
        deadline_s = self._clock.monotonic_s() + limits.wall_time_s
        output = fields.text(spec, "output")
        try:
            texts = await asyncio.to_thread(_read_texts, spec)
            await asyncio.to_thread(scoring.open, _prototypes(spec.get("compare") or {}), output)
            for start in range(0, len(texts), BATCH):
                if self._clock.monotonic_s() > deadline_s:
                    return Ending.WALL_TIME, _too_long(start, len(texts), limits)
                # A cancelled call stops here; the batch at work in the thread is the last.
                await asyncio.to_thread(scoring.take, texts[start : start + BATCH])
                done = min(start + BATCH, len(texts))
                emit(TaskOutput(task_id=task.task_id, stream="stdout", text=f"{done} of {len(texts)} texts\n"))
        except OSError as error:
            return Ending.EXCEPTION, f"{error}; check the file, its rights and the space on its disk"
        except InvalidInput as error:  # the file changed since it was checked
            return Ending.CANNOT_START, error.message
        finally:
            scoring.close()
        return Ending.SUCCEEDED, f"{len(texts)} texts embedded"


def _too_long(done: int, total: int, limits: Limits) -> str:
    return (
        f"the task ran longer than its limit of {limits.wall_time_s:g} s and was stopped after {done} of {total} "
        "texts; raise limits.wall_time_s"
    )


@dataclass(slots=True)
class _Scoring:
    """What accumulates over the batches."""

    encoder: TextEncoder
    labels: list[str] = field(default_factory=list)
    directions: FloatArray | None = None  # [labels, width], unit rows
    counts: Counter[str] = field(default_factory=Counter)
    listed: list[JsonObject] = field(default_factory=list)
    texts: int = 0
    width: int = 0
    cpu_time_s: float = 0.0
    output: TextIO | None = None

    def open(self, prototypes: Mapping[str, list[str]], output: str | None) -> None:
        """Encode the prototypes: a label points where the mean of its sentences points."""
        if prototypes:
            self.labels = list(prototypes)
            means = np.stack([self._encode(lines).mean(axis=0) for lines in prototypes.values()])
            self.directions = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        if output is not None:
            self.output = Path(output).open("w", encoding="utf-8")  # noqa: SIM115 (closed by `close`)

    def take(self, batch: list[str]) -> None:
        """Encode and compare one batch."""
        vectors = self._encode(batch)  # [batch, width]
        self.texts += len(batch)
        self.width = int(vectors.shape[1])
        found: list[JsonObject] = [{"text": text[:SHOWN_CHARACTERS]} for text in batch]
        if self.directions is not None:
            cosines = vectors @ self.directions.T  # [batch, labels]
            best = cosines.argmax(axis=1)
            self.counts.update(self.labels[index] for index in best)
            found = [
                {**item, "label": self.labels[index], "score": round(float(row[index]), 4)}
                for item, index, row in zip(found, best, cosines, strict=True)
            ]
            self.listed += found[: MAX_LISTED - len(self.listed)]
        if self.output is not None:
            for item, vector in zip(found, vectors, strict=True):
                line = {**item, "vector": [round(float(value), 6) for value in vector]}
                self.output.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _encode(self, texts: list[str]) -> FloatArray:
        before_s = time.thread_time()
        vectors = self.encoder.encode(texts).embeddings
        self.cpu_time_s += time.thread_time() - before_s
        return vectors

    def result(self) -> JsonObject:
        """Counts, and the first thousand texts with their labels."""
        result: dict[str, JsonValue] = {"texts": self.texts, "width": self.width, "encoder": self.encoder.name}
        if self.labels:
            result |= {"labels": {label: self.counts[label] for label in self.labels}, "items": self.listed}
        return result

    def close(self) -> None:
        """Close the output file."""
        if self.output is not None:
            self.output.close()
            self.output = None


def _prototypes(value: JsonValue) -> dict[str, list[str]]:
    """`["good", "bad"]` or `{"good": ["I love it", …], …}` as label → sentences.

    Raises:
        InvalidInput: it is neither, or a label has no sentence.
    """
    if isinstance(value, dict):
        found = {label: fields.texts(lines, f"workload.compare.{label}") for label, lines in value.items()}
    else:
        found = {label: [label] for label in fields.texts(value, "workload.compare")}
    for label, lines in found.items():
        if not lines:
            raise InvalidInput(f"workload.compare.{label} is empty", field=f"workload.compare.{label}")
    return found


def _check_file(path: Path, column: str) -> Path:
    if path.suffix not in (".csv", ".jsonl", ".txt"):
        raise InvalidInput(f"workload.file is {path.name!r}; .csv, .jsonl and .txt can be read", field="workload.file")
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}; give its full path or the directory", field="workload.file")
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        most = format_bytes(MAX_FILE_BYTES)
        raise InvalidInput(f"{path} has {format_bytes(size)}; at most {most} are read: split it", field="workload.file")
    if next(_lines_of(path, column), None) is None:
        raise InvalidInput(f"{path} holds no text", field="workload.file")
    return path


def _read_texts(spec: JsonObject) -> list[str]:
    file = fields.text(spec, "file")
    if file is None:
        return fields.texts(spec.get("texts"), "workload.texts")
    return list(_lines_of(Path(file), str(spec.get("column") or "text")))


def _lines_of(path: Path, column: str) -> Iterator[str]:
    """The texts of a file; empty ones are left out.

    Raises:
        InvalidInput: the column is missing, or a line is no JSON object; the message gives the line.
    """
    content = StringIO(path.read_text(encoding="utf-8-sig", errors="replace"))
    if path.suffix == ".csv":
        rows = csv.DictReader(content)
        if column not in (rows.fieldnames or ()):
            has = ", ".join(rows.fieldnames or ()) or "no header"
            raise InvalidInput(f"{path.name} has no column {column!r}; it has {has}", field="workload.column")
        yield from (row[column] for row in rows if (row[column] or "").strip())
    elif path.suffix == ".jsonl":
        for number, line in enumerate(content, start=1):
            if line.strip():
                yield _field_of(line, column, f"{path.name} line {number}")
    else:
        yield from (line.strip() for line in content if line.strip())


def _field_of(line: str, column: str, where: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InvalidInput(f"{where} is no JSON: {error}", field="workload.file") from error
    if not isinstance(row, dict) or not isinstance(row.get(column), str):
        raise InvalidInput(f"{where} has no text in {column!r}", field="workload.column")
    return str(row[column])
