"""The shipped language model as the `LanguageModel` of `decisions`.

Decides how it is loaded (once, at the first use, after its files were compared with their digests), and how texts are
batched. The graph is run by onnxruntime on one thread: steps are too small to share.

Covered: calls from several threads, any text. Not covered: accelerators; splitting the layers over machines, which
reads the same weights file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from conductor.adapters.mind_llama.decoder import Decoder
from conductor.adapters.mind_llama.form_filling import Filled, Tongue, fill
from conductor.adapters.mind_llama.vocabulary import Vocabulary
from conductor.adapters.shipped_model import ShippedModel, open_graph
from conductor.decisions.ports import Pooling, Proposal
from conductor.domain.device import DeviceType, TaskKind
from conductor.domain.errors import StorageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHIPPED: Final = Path(__file__).parent
WEIGHTS: Final = "mind.q4.safetensors"
GRAPH: Final = "decoder.onnx"
TOKENIZER: Final = "tokenizer.json"
MAX_CHARACTERS: Final = 1_024
_ROWS_PER_RUN: Final = 16
_FIELDS: Final = ("device", "task_kind", "priority", "compute_units", "duration_s")
_DEVICES: Final = tuple(DeviceType)
_KINDS: Final = tuple(TaskKind)


@dataclass(frozen=True, slots=True)
class Form:
    """The decision form as this model speaks it: tokens, temperatures by field, and what the numeric answers mean."""

    tongue: Tongue
    temperatures: tuple[float, ...]
    priorities: tuple[int, ...]
    units: tuple[float, ...]
    durations_s: tuple[float, ...]
    pooling: Pooling


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is loaded at the first use."""

    decoder: Decoder
    tokenizer: "Tokenizer"
    form: Form


class OwnMind(ShippedModel[_Parts]):
    """The shipped model; nothing heavy happens until the first use of `checksum` or `propose`.

    Args:
        folder: where weights, graph, tokenizer and card lie.
        threads: processor threads of one run.
    """

    def __init__(self, folder: Path = SHIPPED, *, threads: int = 1) -> None:
        super().__init__(folder, WEIGHTS, GRAPH, TOKENIZER)
        self._threads = threads

    def propose(self, texts: Sequence[str]) -> list[Proposal]:
        """Fill in the decision form for each text; blocking, thread-safe.

        Raises:
            StorageError: a file of the model is missing or damaged.
        """
        parts = self._parts()
        heads = [text[:MAX_CHARACTERS] for text in texts]
        proposals: dict[int, Proposal] = {}
        form = parts.form
        for rows in _runs(heads):
            filled = fill(parts.decoder, parts.tokenizer, form.tongue, [heads[row] for row in rows], form.temperatures)
            proposals.update(zip(rows, (proposal_of(each, form) for each in filled), strict=True))
        return [proposals[row] for row in range(len(texts))]

    def _load(self) -> _Parts:
        from safetensors import safe_open
        from tokenizers import Tokenizer

        with safe_open(self._folder / WEIGHTS, framework="numpy") as weights:
            # Stored in half precision; converted inside the graph they would cost a third of every step.
            scales = {
                name: weights.get_tensor(name).astype(np.float32)
                for name in weights.keys()  # noqa: SIM118  # it is no mapping
                if name.endswith(".scale") and "layers" in name
            }
            vocabulary = Vocabulary(
                weights.get_tensor("model.embed_tokens.q8"), weights.get_tensor("model.embed_tokens.scale")
            )
        session = open_graph(self._folder / GRAPH, threads=self._threads, initializers=scales)
        decoder = Decoder(session, vocabulary, rope_theta=float(self._card.facts["rope_theta"]))
        form = parse_form(self.name, self._card.facts["form"])
        return _Parts(decoder, Tokenizer.from_file(str(self._folder / TOKENIZER)), form)


def parse_form(name: str, said: Mapping[str, Any]) -> Form:
    """The form as a card, or the metadata of an exported file, describes it.

    Raises:
        StorageError: the model was trained for other device types or task kinds than this version knows.
    """
    answers = said["answers"]
    devices, kinds = (tuple(answers[field]) for field in ("device", "task_kind"))
    if devices != tuple(map(str, _DEVICES)) or kinds != tuple(map(str, _KINDS)):
        raise StorageError(f"{name} answers {devices} and {kinds}, which is another form than ours; install it again")
    fields = tuple(tuple(int(token) for token in said["tokens"][field]) for field in _FIELDS)
    return Form(
        Tongue(fields, int(said["separator"]), int(said["end"])),
        tuple(float(said["temperatures"][field]) for field in _FIELDS),
        tuple(answers["priority"]),
        tuple(answers["compute_units"]),
        tuple(answers["duration_s"]),
        Pooling(**said["pooling"]),
    )


def proposal_of(filled: Filled, form: Form) -> Proposal:
    """A filled-in form as decisions take it."""
    device, kind, priority, units, duration = filled.probabilities
    return Proposal(
        device_probabilities=dict(zip(_DEVICES, device.tolist(), strict=True)),
        task_kind=_KINDS[int(kind.argmax())],
        kind_probability=float(kind.max()),
        priority=form.priorities[int(priority.argmax())],
        compute_units=form.units[int(units.argmax())],
        duration_s=form.durations_s[int(duration.argmax())],
        cues=filled.cues,
        pooling=form.pooling,
    )


def _runs(texts: Sequence[str]) -> Iterator[list[int]]:
    """Every row once, texts of like length together."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(order), _ROWS_PER_RUN):
        yield order[start : start + _ROWS_PER_RUN]
