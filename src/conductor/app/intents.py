"""Tell the intents of many texts, without a server and without recording anything."""

from collections.abc import Iterable, Iterator

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.intent_reader.reader import LinearIntentReader
from conductor.decisions.converse.intents import read_intents
from conductor.decisions.converse.rows import read_utterances
from conductor.domain.json import JsonObject


class IntentBatch:
    """The usable rows of `{"id", "text"}`, read as they are iterated over: one `{"id", "intent"}` after the other.

    `faults` tells what is wrong with the other rows, by line and field.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        rows, self.faults = read_utterances(lines)
        self._rows = [(row.row_id, row.text) for row in rows]
        self._reader = LinearIntentReader(OnnxEncoder())

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[JsonObject]:
        return read_intents(self._reader, self._rows)
