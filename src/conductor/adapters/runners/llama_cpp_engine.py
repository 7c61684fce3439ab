"""Run a GGUF file through llama.cpp, as `xllamacpp` packages it, for several requests at a time.

llama.cpp's server runs inside this process, with its own batching, prefix cache, chat templates, tool calls and grammar;
it is asked over its loopback port, which wants a key that only this process knows. A request is a thread that reads a
stream; closing the connection stops the generation. Belongs into the engine process: a file that llama.cpp stumbles
over may end it.

Not covered: a form where plain text is gone on with; models that translate by language codes; a stranger's control
tokens in messages (llama.cpp tokenises the whole conversation with them; prompts and gaps are protected).
"""

import http.client
import json
import math
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from conductor.adapters.minds.files import check_gguf, check_memory
from conductor.adapters.runners.beginnings import Tell, common_tokens
from conductor.adapters.runners.llama_cpp_answers import answer_of_chat, answer_of_text
from conductor.adapters.runners.llama_cpp_requests import as_call, conversation, score_count, scores_of_chat, wishes_of
from conductor.adapters.runners.writing import Emit
from conductor.domain.errors import InvalidInput, ModelError
from conductor.domain.generation import Generation, Message, Usage
from conductor.domain.json import JsonObject
from conductor.domain.model import ModelName
from conductor.serving.ports import RunnerFacts, Warmed

#: Without a bound of its own a context is no longer than this: models for 128,000 tokens would take all memory.
_LONGEST_UNASKED: Final = 8_192
_LARGEST_BATCH: Final = 2_048
_PATIENCE_S: Final = 600.0
_QUIET: Final = -1
#: Tokens of a beginning that are read at once: as long as a request may have to wait for it.
_WARMED_AT_ONCE: Final = 64


@dataclass(slots=True)
class _Place:
    """Where a beginning is kept, and how much of it was read there."""

    slot: int
    read: int = 0


class LlamaCppEngine:
    """An `worker.Engine` of one GGUF file.

    Args:
        available_bytes: free memory; the model is refused where it does not fit.
        key: a secret that guards the loopback port; made up by the caller.
        threads: processor threads of one forward pass; leave a core free, llama.cpp's threads spin.
        most_rows: requests that are computed at a time; others wait.
        most_context_tokens: longest prompt and answer together, all requests under way share it.
        measure_bytes: tells how much memory this process holds.

    Raises:
        ModelError: xllamacpp is missing, or the file cannot be loaded; names the remedy.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self, path: Path, *, name: str, available_bytes: int, key: str, threads: int, most_rows: int,
        most_context_tokens: int | None, measure_bytes: Callable[[], int],
    ) -> None:  # fmt: skip
        size_bytes = check_gguf(path)
        check_memory(str(path), weight_bytes=size_bytes, available_bytes=available_bytes)
        try:
            import xllamacpp
        except ImportError as missing:
            raise ModelError(
                "GGUF files need xllamacpp; install it with `pip install 'conductor[gguf]'`",
                details={"reason": "missing_extra"},
            ) from missing
        self._key = key
        self._open: dict[int, http.client.HTTPConnection] = {}
        self._guard = threading.Lock()
        self._warming = 0  # number of the beginning that is being read
        self._reading = threading.Lock()  # held during a stretch of it
        self._places: dict[tuple[int, ...], _Place] = {}
        self._rows = most_rows
        context = most_context_tokens or _LONGEST_UNASKED
        try:
            chosen = _parameters(xllamacpp, path, key, threads=threads, rows=most_rows, context=context)
            self._server = xllamacpp.Server(chosen)
        except Exception as wrong:  # llama.cpp's failures come as whatever the binding makes of them
            raise ModelError(
                f"llama.cpp cannot load {path} ({str(wrong).strip()[:200]}); the file may be cut off or made for a newer "
                "version: fetch it again or choose another",
                details={"reason": "corrupt"},
            ) from wrong
        self._address = urlsplit(self._server.listening_address).netloc
        meta = self._asked("GET", "/v1/models")["data"][0]["meta"]
        self._context = min(context, int(meta["n_ctx_train"]))
        self.facts = RunnerFacts(
            backend="llama.cpp",
            device="gpu" if getattr(xllamacpp, "get_device_info", None) and _has_gpu(xllamacpp) else "cpu",
            precision=None,
            context_tokens=self._context,
            memory_bytes=measure_bytes(),
            constrains=True,
            embeds=True,
            fills_in=self._fills_in(),
            model=ModelName(name),
        )

    @property
    def has_work(self) -> bool:
        """Never: llama.cpp computes in its own threads."""
        return False

    def step(self) -> None:
        """Nothing."""

    def begin(self, number: int, asked: Generation, emit: Emit) -> None:
        """Have an answer written; `emit` is called from a thread of the request."""
        connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE_S)
        self._warming = 0
        self._open[number] = connection
        threading.Thread(target=self._write, args=(number, connection, asked, emit), daemon=True).start()

    def warm(self, number: int, beginning: Sequence[Message], tell: Tell) -> None:
        """Read a beginning while nothing else is asked for; `tell` is called from a thread of its own."""
        self._warming = number
        threading.Thread(target=self._warm, args=(number, beginning, tell), daemon=True).start()

    def cancel(self, number: int) -> None:
        """Stop an answer; nothing happens if it has ended."""
        if self._warming == number:
            self._warming = 0
        with self._guard:
            connection = self._open.pop(number, None)
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def ended(self, number: int) -> None:
        """Its last piece or its error was told."""
        with self._guard:
            self._open.pop(number, None)

    def count_tokens(self, asked: Generation) -> int:
        """Tokens of the prompt."""
        if asked.messages:
            return len(self._tokens_of_messages(asked))
        return len(self._tokens(asked.prompt)) + len(self._tokens(asked.suffix, start=False))

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        """Unit vectors: means over a text's tokens."""
        if not texts:
            return [], Usage(prompt_tokens=0, completion_tokens=0)
        tokens = [self._tokens(text or " ") for text in texts]
        found = self._asked("POST", "/v1/embeddings", {"input": tokens})
        vectors = [each["embedding"] for each in sorted(found["data"], key=lambda each: each["index"])]
        usage = Usage(prompt_tokens=int(found["usage"]["prompt_tokens"]), completion_tokens=0)
        return [_at_length_one(vector) for vector in vectors], usage

    # -- requests -----------------------------------------------------------------------------------------------

    def _request(self, asked: Generation) -> tuple[str, JsonObject]:
        if asked.languages is not None:
            raise InvalidInput("this model is not told languages by codes; take an NLLB model", field="languages")
        wishes = {**wishes_of(asked.sampling), "stream": True, "cache_prompt": True}
        if asked.messages:
            return "/v1/chat/completions", {
                **wishes,
                **conversation(asked),
                **scores_of_chat(asked.sampling),
                "max_tokens": asked.sampling.max_tokens or -1,
                "stream_options": {"include_usage": True},
            }
        wishes |= {"n_predict": asked.sampling.max_tokens or -1, "n_probs": score_count(asked.sampling)}
        if asked.form is not None:
            # its completions take a form too, but by llguidance, and then it was seen to be ignored (b11549)
            raise InvalidInput("llama.cpp keeps to a form in conversations only; send messages", field="form")
        if asked.suffix:
            return "/infill", {**wishes, "input_prefix": asked.prompt, "input_suffix": asked.suffix}
        tokens = self._tokens(asked.prompt)
        if not tokens or not asked.prompt:
            raise InvalidInput("the prompt is empty; write something to go on with", field="prompt")
        return "/completion", {**wishes, "prompt": tokens}

    def _write(self, number: int, connection: http.client.HTTPConnection, asked: Generation, emit: Emit) -> None:
        """Runs in a thread of its own: hand on what llama.cpp streams."""
        try:
            with self._reading:  # the stretch under way may be the beginning of this one
                pass
            path, body = self._request(asked)
            events = takewhile(lambda _: number in self._open, _events(self._sent(connection, "POST", path, body)))
            (answer_of_chat if asked.messages else answer_of_text)(events, as_call(asked, emit))
        except (InvalidInput, ModelError) as failed:
            if number in self._open:
                emit(failed)
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError) as broken:
            if number in self._open:
                emit(ModelError(f"llama.cpp broke off ({type(broken).__name__}: {str(broken)[:200]}); ask again"))
        finally:
            connection.close()

    def _warm(self, number: int, beginning: Sequence[Message], tell: Tell) -> None:
        """Runs in a thread of its own: have llama.cpp read on, a stretch at a time, for as long as nobody wants more.

        Each beginning goes into a slot of its own, the last ones first: requests are given the first ones, and llama.cpp
        puts a text into the slot that begins most like it, over what else that one holds.
        """
        try:
            tokens = common_tokens(beginning, self._tokens_of_messages)
            place = self._places.setdefault(tuple(tokens), _Place(self._rows - 1 - len(self._places) % self._rows))
            known = ready = 0
            while ready < len(tokens):
                with self._reading:
                    if self._warming != number or self._open:
                        break
                    # A shorter text than the last one would have the rest forgotten.
                    until = min(len(tokens), max(ready, place.read) + _WARMED_AT_ONCE)
                    wanted: JsonObject = {"prompt": [*tokens[:until]], "n_predict": 0, "cache_prompt": True}
                    read = self._asked("POST", "/completion", {**wanted, "id_slot": place.slot})
                computed = int(read["timings"]["prompt_n"])
                known += until - ready - computed if computed > 1 else until - ready  # the last one always is
                ready = place.read = until
            tell(Warmed(len(tokens), known, ready))
        except (InvalidInput, ModelError) as failed:
            tell(failed)
        except (LookupError, TypeError, ValueError) as broken:
            tell(ModelError(f"llama.cpp answered nonsense ({type(broken).__name__}: {str(broken)[:200]})"))

    def _tokens_of_messages(self, asked: Generation) -> list[int]:
        written = self._asked("POST", "/apply-template", conversation(asked))["prompt"]
        return self._tokens(written, control=True)

    def _tokens(self, text: str, *, start: bool = True, control: bool = False) -> list[int]:
        """Token ids; a stranger's control tokens are letters unless `control`."""
        wanted: JsonObject = {"content": text, "add_special": start, "parse_special": control}
        return [int(each) for each in self._asked("POST", "/tokenize", wanted)["tokens"]]

    def _fills_in(self) -> bool:
        try:
            self._asked("POST", "/infill", {"input_prefix": "a", "input_suffix": "b", "n_predict": 0})
        except (InvalidInput, ModelError):
            return False
        return True

    def _asked(self, method: str, path: str, body: JsonObject | None = None) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE_S)
        try:
            return json.loads(self._sent(connection, method, path, body).read())
        except (OSError, http.client.HTTPException, ValueError) as broken:
            raise ModelError(f"llama.cpp does not answer: {str(broken)[:200]}") from broken
        finally:
            connection.close()

    def _sent(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: JsonObject | None
    ) -> http.client.HTTPResponse:
        connection.request(
            method,
            path,
            None if body is None else json.dumps(body),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"},
        )
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise _refused(response.status, response.read())
        return response


def _refused(status: int, content: bytes) -> InvalidInput | ModelError:
    try:
        error = json.loads(content)["error"]
        told, kind = str(error["message"]), str(error.get("type"))
    except (ValueError, LookupError, TypeError, AttributeError):
        told, kind = repr(content[:200]), ""
    if kind == "exceed_context_size_error":
        return InvalidInput(f"{told}; shorten the prompt", field="prompt")
    if status == http.client.BAD_REQUEST:
        form = any(word in told.lower() for word in ("schema", "grammar", "samplers"))
        if "samplers" in told.lower():  # all that llama.cpp says where a grammar cannot be begun
            told += "; the model's vocabulary cannot write the beginning of the form"
        return InvalidInput(f"llama.cpp refuses the request: {told[:300]}", field="response_format" if form else None)
    return ModelError(f"llama.cpp answers {status}: {told[:300]}")


def _events(response: http.client.HTTPResponse) -> Iterator[Mapping[str, Any]]:
    """Server-sent events with JSON in them."""
    for line in response:
        kind, _, content = line.partition(b":")
        if kind == b"data" and content.strip() != b"[DONE]":
            yield json.loads(content)
        elif kind == b"error":
            raise _refused(500, b'{"error":' + content + b"}")


def _at_length_one(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(each * each for each in vector)) or 1.0
    return [each / length for each in vector]


def _has_gpu(xllamacpp: Any) -> bool:
    """Whether llama.cpp was built for one that is here; it puts layers there by itself."""
    with suppress(Exception):  # an optional question to a binding that changes often
        return any("gpu" in str(each.get("type", "")).lower() for each in xllamacpp.get_device_info())
    return False


def _parameters(xllamacpp: Any, path: Path, key: str, *, threads: int, rows: int, context: int) -> Any:
    """Rows share the context's memory; quiet, nothing served but what is used here, and only to who knows the key."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = str(path)
    chosen.n_ctx = max(context, min(rows * context, _LONGEST_UNASKED))
    chosen.n_parallel = rows
    chosen.kv_unified = True
    chosen.n_batch = chosen.n_ubatch = min(chosen.n_ctx, _LARGEST_BATCH)
    chosen.cpuparams.n_threads = chosen.cpuparams_batch.n_threads = threads
    chosen.embedding = True
    chosen.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    chosen.use_jinja = True
    chosen.cache_ram_mib = 0
    chosen.hostnames = ["127.0.0.1"]
    chosen.api_keys = [key]
    chosen.ui = chosen.endpoint_slots = chosen.warmup = chosen.fit_params = False
    chosen.verbosity = _QUIET
    return chosen
