"""Tell the intents of many texts, without a server and without recording anything."""

from collections.abc import Iterable, Iterator

from conductor.adapters.encoder_onnx.encoder import OnnxEncoder
from conductor.adapters.intent_reader.reader import LinearIntentReader
from conductor.decisions.batch import read_rows
from conductor.decisions.converse.intents import read_intents
from conductor.domain.json import JsonObject


class IntentBatch:
    """Parsed rows of `{"id", "text"}`, read as they are iterated over: one `{"id", "intent"}` after the other.

    Raises:
        InvalidInput: a line is malformed; names line and field.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._rows = [(row.row_id, row.text) for row in read_rows(lines)]
        self._reader = LinearIntentReader(OnnxEncoder())

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[JsonObject]:
        return read_intents(self._reader, self._rows)
