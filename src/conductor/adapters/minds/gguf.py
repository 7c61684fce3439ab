"""Run a GGUF file (Q4_K_M, Q8_0, f32 …) through llama.cpp, as `xllamacpp` packages it, one token after the other.

llama.cpp's server runs inside this process. Asked for one token with the probabilities of those that matter, it shows
what follows a text, so the same trie walk serves as for every other model. (Asking for all of 32,000 was tried: 200 ms
per token, most of it JSON.) It keeps what it read last: a session is only its tokens, and a fork costs nothing. Tokens
are made over its loopback port, which wants a key that only this process knows. Belongs into the worker process: a file
that llama.cpp stumbles over may end it.

Not covered: images, several texts at a time.
"""

import http.client
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from conductor.adapters.minds.files import check_gguf, check_memory, digest
from conductor.decisions.ports import FloatArray, TokenSession
from conductor.domain.errors import ModelError
from conductor.domain.json import JsonObject

#: Positions that are allotted; the form needs about 1,000.
CONTEXT: Final = 2_048
_PATIENCE_S: Final = 30.0
_QUIET: Final = -1
_LIKELIEST: Final = 100
#: Added to logits: far more than they differ by, little enough that float32 keeps five digits of their difference.
_LIFT: Final = 100.0
_LEAST_SHARE: Final = 1e-38


class GgufModel:
    """The `TokenModel` of one GGUF file.

    Args:
        path: the file.
        available_bytes: free memory; the model is refused where it does not fit.
        key: a secret that guards the loopback port; made up by the caller.
        threads: processor threads of one forward pass; leave a core free, llama.cpp's threads spin.

    Raises:
        ModelError: xllamacpp is missing, or the file cannot be loaded; names the remedy.
    """

    def __init__(self, path: Path, *, available_bytes: int, key: str, threads: int = 1) -> None:
        size_bytes = check_gguf(path)
        check_memory(str(path), weight_bytes=size_bytes, available_bytes=available_bytes)
        try:
            import xllamacpp
        except ImportError as missing:
            raise ModelError(
                "GGUF files need xllamacpp; install it with `pip install 'conductor[gguf]'`", field="mind.model"
            ) from missing
        self.name = path.stem
        self.checksum = digest((path,))
        self._key = key
        try:
            self._server = xllamacpp.Server(_parameters(xllamacpp, path, key, threads))
        except Exception as wrong:  # llama.cpp's failures come as whatever the binding makes of them
            raise ModelError(
                f"llama.cpp cannot load {path} ({str(wrong).strip()[:200]}); the file may be cut off or made for a newer "
                "version: fetch it again or choose another",
                field="mind.model",
            ) from wrong
        self._address = urlsplit(self._server.listening_address).netloc
        facts = self._ask("/v1/models")["data"][0]["meta"]
        self.context = min(CONTEXT, int(facts["n_ctx_train"]))
        self._vocabulary = int(facts["n_vocab"])
        self._first = self._ask("/tokenize", {"content": "", "add_special": True})["tokens"]
        self._printable = self.tokens("0", start=False)[-1]
        everything = self._completed([self._printable], self._likeliest(self._vocabulary))
        self._silent = frozenset(option["id"] for option in everything if not option["bytes"])  # control tokens

    def tokens(self, text: str, *, start: bool) -> list[int]:
        """Token ids of a text; `start` puts the beginning-of-text token in front where the model wants one."""
        ids = self._ask("/tokenize", {"content": text, "add_special": False, "parse_special": False})["tokens"]
        return [*self._first, *ids] if start else list(ids)

    def text(self, tokens: Sequence[int]) -> str:
        """The text that tokens stand for; llama.cpp would write control tokens out."""
        spoken = [token for token in tokens if token not in self._silent]
        return str(self._ask("/detokenize", {"tokens": spoken})["content"])

    def open(self) -> TokenSession:
        """An empty session."""
        return _Session(self, [])

    def logits(self, tokens: Sequence[int], among: Sequence[int]) -> FloatArray:
        """What may follow, float32 [vocabulary], −∞ where it was not asked for; see `TokenSession.extend`.

        Raises:
            ModelError: llama.cpp refuses.
        """
        options = self._completed(tokens, self._only(among) if among else self._likeliest(_LIKELIEST))
        found = np.full(self._vocabulary, -np.inf, np.float32)
        for option in options:
            share = option.get("prob")
            found[option["id"]] = option["logprob"] if share is None else math.log(max(share, _LEAST_SHARE))
        return found

    def _only(self, among: Sequence[int]) -> dict[str, Any]:
        """Lift some tokens above all others by the same amount, and see how sampling would divide between them."""
        return {
            "n_probs": len(among),
            "post_sampling_probs": True,
            "samplers": [],
            "temperature": 1.0,
            "logit_bias": [[token, _LIFT] for token in among],
        }

    def _likeliest(self, count: int) -> dict[str, Any]:
        """Ask for the likeliest tokens, before sampling. What is sampled does not matter, but it must be printable:
        for half a character llama.cpp shows nothing.
        """
        return {"n_probs": count, "temperature": 0.0, "logit_bias": [[self._printable, _LIFT]]}

    def _completed(self, tokens: Sequence[int], how: JsonObject) -> list[dict[str, Any]]:
        request = {"prompt": list(tokens), "n_predict": 1, "cache_prompt": True, **how}
        answer = self._server.handle_completions(request)
        try:
            first = answer["choices"][0]["logprobs"]["content"][0]
            return list(first["top_probs"] if "top_probs" in first else first["top_logprobs"])
        except (KeyError, IndexError, TypeError) as wrong:
            raise ModelError(f"llama.cpp gives no probabilities for {self.name}: {str(answer)[:200]}") from wrong

    def _ask(self, path: str, body: JsonObject | None = None) -> Any:
        """One exchange over the loopback port."""
        connection = http.client.HTTPConnection(self._address, timeout=_PATIENCE_S)
        try:
            connection.request(
                "GET" if body is None else "POST",
                path,
                None if body is None else json.dumps(body),
                {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"},
            )
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as broken:
            raise ModelError(f"llama.cpp does not answer for {self.name}: {broken}") from broken
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ModelError(f"llama.cpp answers {response.status} for {self.name}: {content[:200]!r}")
        return json.loads(content)


class _Session:
    """One text, as its tokens; llama.cpp finds in its cache how far it has read them."""

    def __init__(self, model: GgufModel, read: list[int]) -> None:
        self._model = model
        self._read = read

    def extend(self, tokens: Sequence[int], *, among: Sequence[int] = ()) -> FloatArray:
        self._read = [*self._read, *tokens]
        return self._model.logits(self._read, among)

    def fork(self) -> "_Session":
        return _Session(self._model, self._read)


def _parameters(xllamacpp: Any, path: Path, key: str, threads: int) -> Any:
    """One slot, quiet, nothing served but what is used here, and only to who knows the key."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = str(path)
    chosen.n_ctx = CONTEXT
    chosen.n_parallel = 1
    chosen.cpuparams.n_threads = chosen.cpuparams_batch.n_threads = threads
    chosen.hostnames = ["127.0.0.1"]
    chosen.api_keys = [key]
    chosen.ui = chosen.endpoint_slots = chosen.warmup = chosen.fit_params = False
    chosen.verbosity = _QUIET
    return chosen
