"""Run the shipped sentence encoder: texts in; unit vectors, device and task kind probabilities out.

Decides how texts are cut and batched, and how little memory and how few threads that takes. What the probabilities
mean for a decision is the room `decisions`; how the weights came about is `docs/encoder-card.md`.

Covered: texts of any length and content (what is beyond the first 1,024 characters or 128 tokens is not read), calls
from several threads, results that do not depend on the other texts of a call. Not covered: accelerators.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conductor.adapters.encoder_onnx.letters import LetterExpert
from conductor.adapters.shipped_model import ShippedModel, open_graph
from conductor.decisions.ports import Encodings, FloatArray
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import StorageError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

SHIPPED = Path(__file__).parent
WEIGHTS = "encoder.int8.onnx"
TOKENIZER = "tokenizer.json"
LETTERS = "letters.npz"

EMBEDDING_WIDTH = 384
MAX_CHARACTERS = 1_024
MAX_TOKENS = 128
# Padded tokens of one run; bounds the working memory to about 10 MB.
TOKENS_PER_RUN = 1_024

TokenRows = Sequence[Sequence[int]]
IdArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is loaded at the first use."""

    session: "InferenceSession"
    tokenizer: "Tokenizer"
    letters: LetterExpert


class OnnxEncoder(ShippedModel[_Parts]):
    """The `TextEncoder` of `decisions` on onnxruntime; nothing heavy happens until the first use of `checksum` or `encode`.

    Args:
        folder: where weights, tokenizer and card lie.
        threads: processor threads of one run.
    """

    def __init__(self, folder: Path = SHIPPED, *, threads: int = 1) -> None:
        super().__init__(folder, WEIGHTS, TOKENIZER, LETTERS)
        self._threads = threads

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return EMBEDDING_WIDTH

    def encode(self, texts: Sequence[str]) -> Encodings:
        """Encode texts; blocking, thread-safe.

        Returns:
            Rows in the order of `texts`; widths are those of `Encodings`. Device probabilities are calibrated: they
            join what the network says of the meaning with what `letters` says of the wording.

        Raises:
            StorageError: a file of the encoder is missing or damaged.
        """
        parts = self._parts()
        heads = [_readable(text) for text in texts]
        tokens = [_tokens(parts.tokenizer, head) for head in heads]
        embeddings, device_logits, kind_logits = (
            np.zeros((len(texts), output.shape[1]), np.float32) for output in parts.session.get_outputs()
        )
        for rows in _runs([len(ids) for ids in tokens]):
            ids, mask = _padded([tokens[row] for row in rows])
            embeddings[rows], device_logits[rows], kind_logits[rows] = parts.session.run(
                None, {"input_ids": ids, "attention_mask": mask}
            )
        device_logits += parts.letters.logits(heads)
        return Encodings(embeddings, _softmax(device_logits), _softmax(kind_logits))

    def _load(self) -> _Parts:
        from tokenizers import Tokenizer

        session = open_graph(self._folder / WEIGHTS, threads=self._threads)
        _check_classes(self._folder, [output.shape[1] for output in session.get_outputs()])
        tokenizer = Tokenizer.from_file(str(self._folder / TOKENIZER))
        return _Parts(session, tokenizer, LetterExpert.load(self._folder / LETTERS))


def _check_classes(folder: Path, widths: Sequence[int]) -> None:
    expected = [len(DeviceType), len(TaskKind)]
    if list(widths[1:]) != expected:
        raise StorageError(f"the encoder in {folder} tells {widths[1:]} classes apart, this version needs {expected}")


def _readable(text: str) -> str:
    # Cut before anything else looks at the text: 100 kB must cost no more than a page.
    head = " ".join(text[: 4 * MAX_CHARACTERS].split())[:MAX_CHARACTERS]
    return head.encode("utf-8", "replace").decode("utf-8")  # lone surrogates would be refused


def _tokens(tokenizer: "Tokenizer", text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text).ids
    return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]


def _runs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers of each run: neighbours in length together, at most `TOKENS_PER_RUN` with padding."""
    run: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if run and (len(run) + 1) * lengths[row] > TOKENS_PER_RUN:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _padded(rows: TokenRows) -> tuple[IdArray, IdArray]:
    """int64 [rows, longest] ids and mask; zero is the padding."""
    shape = (len(rows), max(len(row) for row in rows))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def _softmax(logits: FloatArray) -> FloatArray:
    powers: FloatArray = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
