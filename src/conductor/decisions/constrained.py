"""Let any causal language model fill in the form, token by token, so that nothing but the form can come out.

The form is written as one line of JSON. At each field the answers make a trie over the model's own tokens, which `trie`
walks; fixed text, and the rest of an answer once it is the only one left, cost no forward pass.

Probabilities. The product along the trie is exactly the distribution of a sampler under this grammar; all answers
of `device` and `task_kind` are summed up, so they add to one. An answer of many tokens is not punished for them, as a
forced token has probability one; so no normalisation by length is needed. What a model prefers before it has
read anything (small ones say `CPU` to everything) is divided out: the same form is filled in for a text without content
(Zhao et al. 2021, contextual calibration, arXiv:2102.09690), once per device. Priority, units and duration are the
model's greedy answers. The sentence at the end is greedy too, over characters that cannot end the JSON string.

Not covered: chat templates (the prompt is plain text), several texts in one forward pass.
"""

import json
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from conductor.decisions.form import ANSWERS, DEVICES, DURATIONS, KINDS, LONGEST_REASON
from conductor.decisions.ports import FloatArray, Proposal, TokenModel, TokenSession
from conductor.decisions.prompt import CLOSING, INSTRUCTIONS, LONGEST_DESCRIPTION, OPENING, quoted
from conductor.decisions.trie import Tokens, likeliest, log_probabilities, log_softmax, shared
from conductor.domain.errors import ModelError

#: More tokens of a description are not read: on a processor, reading is what a decision by a foreign model waits for.
LONGEST_DESCRIPTION_TOKENS: Final = 256
#: What the filled-in form takes beside the reason, generously, for models that spell letter by letter.
_FORM_TOKENS: Final = 160
_LEAST_DESCRIPTION_TOKENS: Final = 32
#: Candidates looked at for the next piece of the reason; if none fits the grammar, the sentence ends.
_CANDIDATES: Final = 20
_WITHOUT_CONTENT: Final = "N/A"


class FormReader:
    """The `LanguageModel` of a `TokenModel`.

    Args:
        model: any causal language model that shows its logits.
        reason_tokens: the longest sentence it may give as a reason; 0 asks for none.
    """

    def __init__(self, model: TokenModel, *, reason_tokens: int = 40) -> None:
        self._model = model
        self._reason_tokens = reason_tokens
        self._lock = threading.Lock()
        self._head: TokenSession | None = None
        self._head_tokens = 0
        self._bias: dict[str, FloatArray] = {}

    @property
    def name(self) -> str:
        """Name and version of the weights."""
        return self._model.name

    @property
    def checksum(self) -> str:
        """SHA-256 of the weights, lowercase hex."""
        return self._model.checksum

    def propose(self, texts: Sequence[str]) -> Sequence[Proposal]:
        """Read each description, one after the other; blocking, thread-safe.

        Raises:
            ModelError: the model is too small for the form, cannot write it, or computes no usable numbers.
        """
        with self._lock:
            return [self._proposal(text) for text in texts]

    def prepare(self) -> None:
        """Read the instructions and find the first bias now: both take longer than a question, and are needed once.

        Raises:
            ModelError: as `propose`.
        """
        with self._lock:
            self._proposal(_WITHOUT_CONTENT)

    def _proposal(self, text: str) -> Proposal:
        line = self._line(text)
        devices = self._unbiased(line, "device")
        device = int(devices.argmax())
        line.write("device", device)
        kinds = self._unbiased(line, "task_kind")
        kind = int(kinds.argmax())
        line.write("task_kind", kind)
        priority = line.choose("priority")
        units = line.choose("compute_units")
        duration = line.choose("duration")
        return Proposal(
            device_probabilities=dict(zip(DEVICES, devices.tolist(), strict=True)),
            task_kind=KINDS[kind],
            kind_probability=float(kinds[kind]),
            priority=int(ANSWERS["priority"][priority]),
            compute_units=float(ANSWERS["compute_units"][units]),
            duration_s=DURATIONS[duration][0],
            reason=line.sentence(self._reason_tokens) if self._reason_tokens else "",
        )

    def _unbiased(self, line: "_Line", field: str) -> FloatArray:
        """Probabilities of all answers of a field, without what the model says to a text that has no content."""
        so_far = line.text
        if so_far not in self._bias:
            blank = self._line(_WITHOUT_CONTENT)
            blank.text = so_far
            self._bias[so_far] = blank.log_probabilities(field)
        shares = np.exp(log_softmax(line.log_probabilities(field) - self._bias[so_far]))
        return np.asarray(shares, np.float32)

    def _line(self, text: str) -> "_Line":
        """A form about a text, nothing filled in. The instructions are read once; every text continues from there."""
        if self._head is None:
            tokens = self._model.tokens(INSTRUCTIONS + OPENING, start=True)
            self._head_tokens = len(tokens)
            self._description_room()
            head = self._model.open()
            head.extend(tokens)
            self._head = head
        return _Line(self._model, self._head, self._description(text))

    def _description(self, text: str) -> list[int]:
        """Tokens of a quoted description and what closes it, cut by characters so that no escape is torn."""
        room = self._description_room()
        text = text[:LONGEST_DESCRIPTION]
        while len(tokens := self._model.tokens(quoted(text), start=False)) > room:
            text = text[: len(text) * room // len(tokens)]
        return [*tokens, *self._model.tokens(CLOSING, start=False)]

    def _description_room(self) -> int:
        taken = self._head_tokens + _FORM_TOKENS + self._reason_tokens
        room = min(LONGEST_DESCRIPTION_TOKENS, self._model.context - taken)
        if room < _LEAST_DESCRIPTION_TOKENS:
            raise ModelError(
                f"{self.name} holds {self._model.context:,} tokens, but the form alone takes {taken:,} of its tokens; "
                f"choose a model with a context of at least {taken + _LEAST_DESCRIPTION_TOKENS:,}",
                field="mind.model",
            )
        return room


class _Line:
    """The line of JSON being written about one text: what is decided, and how much of it the model has read.

    Tokens are always those of the whole line, so that they are what the model saw in training. Should a tokenizer
    join a piece with what was read before, the line is read again from the instructions on.
    """

    def __init__(self, model: TokenModel, head: TokenSession, description: Tokens) -> None:
        self._model = model
        self._head = head
        self._description = list(description)
        self._session = head.fork()
        self._read: list[int] = []
        self.text = "{"

    def write(self, field: str, answer: int) -> None:
        """Fill in a field."""
        self.text = self._with(field, answer) + " "

    def log_probabilities(self, field: str) -> FloatArray:
        """Of every answer of a field; their exponentials add to one."""
        paths = self._paths(field)
        depth = shared(paths)
        found = log_probabilities(self._session, len(self._read), paths)
        self._read = paths[0][:depth]
        return found

    def choose(self, field: str) -> int:
        """Fill in the answer that is likeliest token by token."""
        paths = self._paths(field)
        chosen, read = likeliest(self._session, len(self._read), paths)
        self._read = paths[chosen][:read]
        self.write(field, chosen)
        return chosen

    def sentence(self, longest: int) -> str:
        """Greedy text until the model closes the string, at most `longest` tokens."""
        path = [*self._description, *self._model.tokens(f'{self.text}"reason": "', start=False)]
        self._resume([path])
        logits = self._session.extend(path[len(self._read) :])
        said, tokens, ended = "", list[int](), False
        while not ended and len(tokens) < longest:
            token, said, ended = self._next(tokens, said, logits)
            if not ended:
                tokens.append(token)
                logits = self._session.extend([token])
        return said.strip()[:LONGEST_REASON]

    def _next(self, tokens: list[int], said: str, logits: FloatArray) -> tuple[int, str, bool]:
        """The likeliest next token within the grammar, the text with it, and whether that ends it."""
        count = min(_CANDIDATES, len(logits))
        best = np.argpartition(-logits, count - 1)[:count]
        for token in best[np.argsort(-logits[best], kind="stable")].tolist():
            text = self._model.text([*tokens, token])
            added = text[len(said) :]
            before_quote, quote, _ = added.partition('"')
            if not text.startswith(said) or not _plain(before_quote):
                continue
            ends = bool(quote) or not added  # a control token, such as the end of the text, adds nothing
            return token, said + before_quote, ends
        return 0, said, True

    def _paths(self, field: str) -> list[list[int]]:
        """The tokens of the line up to and including each answer; the model has read what they share at most."""
        paths = [
            [*self._description, *self._model.tokens(self._with(field, answer), start=False)]
            for answer in range(len(ANSWERS[field]))
        ]
        self._resume(paths)
        return paths

    def _resume(self, paths: Sequence[list[int]]) -> None:
        """See that what was read is a beginning of every path, with at least one token to come; else start again."""
        if shared(paths) <= len(self._read) or paths[0][: len(self._read)] != self._read:
            self._session, self._read = self._head.fork(), []

    def _with(self, field: str, answer: int) -> str:
        return f'{self.text}"{field}": {json.dumps(ANSWERS[field][answer])},'


def _plain(text: str) -> bool:
    return text.isprintable() and not set(text) & {"\\", "\ufffd"}
