"""What serving needs from the outside: something that loads models, and models that were loaded."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from conductor.domain.generation import Generation, Message, Piece, Usage
from conductor.domain.model import Category, ModelName, Precision

_NAMELESS: Final = ModelName("")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerFacts:
    """What a loaded model is and can.

    Args:
        backend: which one runs it.
        device: `cpu`, `cuda:0`, `cuda:0+cuda:1` where it is sharded, or the address of an endpoint.
        precision: as it is computed; None where it cannot be known.
        context_tokens: longest prompt and answer together.
        memory_bytes: measured after loading; 0 where it is elsewhere.
        memory_on: how much of it is on each of several devices; empty where it is on one, or the backend does not say.
        constrains: whether `Generation.form` is enforced token by token.
        embeds: whether `embed` works.
        fills_in: whether `Generation.suffix` works.
        translates: whether it is told languages by codes (`Generation.languages`), and does nothing but translate.
        sees: whether pictures in `Message.parts` reach it; where that cannot be known, the endpoint refuses by itself.
        model: its technical name; empty where the backend does not say. Some engines ask some models in another form, and
            no answer is remembered where it is empty.
        notes: what is otherwise than it was asked for, a sentence each; for people.
    """

    backend: str
    device: str
    precision: Precision | None
    context_tokens: int
    memory_bytes: int
    constrains: bool
    embeds: bool
    fills_in: bool
    model: ModelName = _NAMELESS
    notes: tuple[str, ...] = ()
    translates: bool = False
    memory_on: tuple[tuple[str, int], ...] = ()
    sees: bool = False


class Runner(Protocol):
    """One loaded model, answering several requests at a time."""

    @property
    def facts(self) -> RunnerFacts:
        """What it is."""
        ...

    def generate(self, asked: Generation) -> AsyncGenerator[Piece, None]:
        """Write; closing the generator ends the work within one token and frees what it held.

        Raises:
            InvalidInput: the prompt does not fit the context, or the model cannot do what is asked; before any piece.
            ModelError: the model failed; the message says whether it can be asked again.
        """
        ...

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Unit vectors, one a text, in order.

        Raises:
            InvalidInput: it does not embed, or a text is longer than it reads.
            ModelError: it failed.
        """
        ...

    async def count_tokens(self, asked: Generation) -> int:
        """Tokens that the prompt has in the model's own form."""
        ...

    async def close(self) -> None:
        """Give everything back; generations under way end with `ModelError`."""
        ...


@dataclass(frozen=True, slots=True)
class Warmed:
    """What became of a beginning that was to be read ahead, in tokens.

    Args:
        tokens: that it has; 0 where the model remembers no beginnings.
        known: that were known from before.
        ready: that are known now; fewer than `tokens` where it gave way to a request.
    """

    tokens: int
    known: int
    ready: int


@runtime_checkable
class WarmingRunner(Protocol):
    """A runner that can read the beginning of requests before they come."""

    async def warm(self, beginning: Sequence[Message]) -> Warmed:
        """Compute what all conversations that begin with these turns have in common, and remember it.

        A request that comes meanwhile goes first, and ends this. Cancelling ends it too; what was read is remembered.

        Raises:
            InvalidInput: the model cannot be told such a beginning, or it is longer than the context.
            ModelError: the model failed.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """What the key-value cache holds: in each of `layers`, a key and a value of `heads` × `head_width` a token."""

    layers: int
    heads: int
    head_width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """What a model's files say about it without being loaded (`adapters.model_headers`).

    Args:
        architecture: `llama`, as `config.json` or the GGUF file has it.
        fixed: whether the numbers stay as they are stored, as in a GGUF file.
        stored_bytes: of all tensors, as they are stored.
        matrices: numbers in floating-point tensors of two and more dimensions, those of `tables` left out.
        tables: numbers in the token embedding and the output layer, which quantisation leaves in 16 bits.
        vectors: numbers in floating-point tensors of fewer dimensions.
        other_bytes: of tensors that are no floating point; they stay as they are.
        context_tokens: longest that it was trained for; None where the files do not say.
        attention: None where the files do not say; its cache cannot be estimated then.
        precision: that most of it is stored in, where it is one of ours.
    """

    architecture: str
    fixed: bool
    stored_bytes: int
    matrices: int
    tables: int
    vectors: int
    other_bytes: int
    context_tokens: int | None
    attention: Attention | None
    precision: Precision | None

    @property
    def parameters(self) -> int:
        """All floating-point numbers."""
        return self.matrices + self.tables + self.vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """What loading would take, from file headers, before anything is loaded; bytes.

    Args:
        weights_bytes: in the asked precision.
        context_bytes: of the key-value cache at full context.
        overhead_bytes: of the process and its libraries.
    """

    weights_bytes: int
    context_bytes: int
    overhead_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.context_bytes + self.overhead_bytes


class Backend(Protocol):
    """Something that runs models of some kind: Transformers, llama.cpp, an endpoint, an external server."""

    @property
    def name(self) -> str:
        """Short, for people: `transformers`, `llama.cpp`, `endpoint`."""
        ...

    def can_load(self, model: ModelName) -> bool:
        """Whether names like this one are its business; looks at nothing."""
        ...

    async def need(self, model: ModelName, precision: Precision) -> MemoryNeed:
        """Estimate from headers alone.

        Raises:
            NotFound: there is no such model here; the message says how to get it.
            ModelError: it is empty, corrupt, unsafe or of an unknown architecture; `details["reason"]` says which.
        """
        ...

    async def load(self, model: ModelName, precision: Precision) -> Runner:
        """Load it, in a process of its own where it is loaded on this machine; cancelling ends the attempt.

        Raises:
            NotFound, ModelError: as `need`; and `ModelError` where loading failed, with the remedy.
        """
        ...


@runtime_checkable
class PlacingBackend(Backend, Protocol):
    """A backend that loads onto devices that it is told."""

    async def load_on(self, devices: Sequence[str], model: ModelName, precision: Precision) -> Runner:
        """As `load`, onto these of the devices that the `MemoryMeter` names for this backend, and no others.

        Where they are several, the model is sharded over them.
        """
        ...


class NeedEstimate(Protocol):
    """The arithmetic from headers to memory (`serving.lifetimes.memory_budget.memory_need`), handed to backends by `app`."""

    def __call__(
        self,
        header: ModelHeader,
        precision: Precision,
        *,
        backend: str,
        most_context_tokens: int | None = None,
        cache_value_bytes: float | None = None,
    ) -> MemoryNeed:
        """What loading the model will take; at most so many tokens of context are kept, in so many bytes a number."""
        ...


class MemoryMeter(Protocol):
    """How much memory the devices of this machine have left."""

    def devices(self, backend: str) -> Sequence[str]:
        """Devices that this backend puts models on, in its order of preference: `cuda:0`, `cpu`."""
        ...

    async def free_bytes(self) -> Mapping[str, int]:
        """What could be taken on each device now without swapping, by device."""
        ...


class WeightFiles(Protocol):
    """Where models' files lie on this machine."""

    def fetch(self, model: ModelName) -> AsyncGenerator[int, None]:
        """Have them read into the operating system's memory, stretch after stretch, behind everybody else who reads.

        Yields how many bytes of each stretch were not there yet. Ends before memory becomes short; closing it ends it.
        Nothing is yielded for models whose files are elsewhere, missing, or all there already. It never fails.
        """
        ...


class Leisure(Protocol):
    """Whether this machine has time and room for what nobody has asked for yet."""

    async def spare_bytes(self) -> int:
        """Memory that may be filled without anybody missing it; 0 while the machine is busy."""
        ...


class CategoryReader(Protocol):
    """Reads from a request in plain words which categories it may belong to."""

    async def categories(self, text: str) -> Mapping[Category, float]:
        """Probabilities by category, summing to at most 1; categories that it never heard of are missing."""
        ...


class LanguageDetector(Protocol):
    """Something that tells the language of a text."""

    def detect(self, text: str) -> tuple[str, float] | None:
        """The language as BCP-47 tag or FLORES-200 code, and how sure that is, in 0-1; None when nothing tells."""
        ...


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer that is kept as bytes, and when it was given."""

    body: bytes
    kept_at_unix_s: float


@dataclass(slots=True)
class LevelCounts:
    """What one level of the answer cache did since the start, and what it holds.

    Args:
        expired: misses on answers that were too old; they are counted as misses, too.
        corrupt: misses on answers that could not be read back; they are counted as misses, too.
        evictions: answers that gave way to others.
        bytes: of everything it holds, by its own bookkeeping.
    """

    hits: int = 0
    misses: int = 0
    expired: int = 0
    corrupt: int = 0
    evictions: int = 0
    entries: int = 0
    bytes: int = 0


class AnswerStore(Protocol):
    """A slower level of the answer cache, asked where memory has nothing. A failure is a miss: nothing here raises."""

    @property
    def name(self) -> str:
        """Short: `disk`."""
        ...

    @property
    def counts(self) -> LevelCounts:
        """As they are now."""
        ...

    async def get(self, key: str, model: ModelName, *, not_before_unix_s: float) -> KeptAnswer | None:
        """What was kept under this key of lowercase hex; what is older is dropped."""
        ...

    async def put(self, key: str, model: ModelName, answer: KeptAnswer) -> None:
        """Keep it, in place of what has this key; others give way where there is no room."""
        ...

    async def forget(self, model: ModelName | None) -> int:
        """Drop everything of one model, or of all; how many answers that were."""
        ...
