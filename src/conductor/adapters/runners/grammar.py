"""Allow only tokens that keep an answer within a JSON Schema, by llguidance.

A schema is compiled once and kept; each text walks through a copy. White space is fixed: a model that may write any
amount of it does. Runs in the engine process.

Not covered: what llguidance's JSON Schema does not know; it says so when it compiles.
"""

import json
from collections import OrderedDict
from typing import Any, Final

from conductor.domain.errors import InvalidInput, ModelError
from conductor.domain.json import JsonObject

_MOST_KEPT: Final = 64


class Grammars:
    """Compiled schemas of one tokenizer.

    Args:
        torch: the module.
        tokenizer: of transformers, a fast one.
        vocabulary: how many scores the model gives, which may be more than the tokenizer knows.
        ends: token ids that end a text.
    """

    def __init__(self, torch: Any, tokenizer: Any, *, vocabulary: int, ends: frozenset[int]) -> None:
        try:
            import llguidance
            import llguidance.hf
        except ImportError as missing:
            raise ModelError(
                "answers in a form need llguidance; install it with `pip install 'conductor[hf]'`",
                field="form",
                details={"reason": "missing_extra"},
            ) from missing
        self._torch = torch
        self._matcher = llguidance.LLMatcher
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=sorted(ends) or None)
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def of(self, form: JsonObject) -> "WalkedGrammar":
        """A walk through the form, at its beginning.

        Raises:
            InvalidInput: the form is no JSON Schema, or one that cannot be enforced.
        """
        schema = json.dumps(form)  # in its own order, in which members are written
        if schema not in self._kept:
            self._kept[schema] = self._compiled(schema)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(schema)
        return WalkedGrammar(self._torch, self._kept[schema].deep_copy())

    def _compiled(self, schema: str) -> Any:
        try:
            grammar = self._matcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
        except ValueError as wrong:
            raise InvalidInput(f"the form is no JSON Schema: {str(wrong)[:300]}", field="response_format") from wrong
        matcher = self._matcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise InvalidInput(f"the form cannot be enforced: {matcher.get_error()[:300]}", field="response_format")
        return matcher


class WalkedGrammar:
    """Where one text is in its form; a `choosing_tokens.Grammar`."""

    def __init__(self, torch: Any, matcher: Any) -> None:
        self._torch = torch
        self._matcher = matcher

    def allowed(self, size: int) -> Any:
        """Bool [size]."""
        bias = self._torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=self._torch.uint8)
        allowed = self._torch.zeros(size, dtype=self._torch.bool)
        allowed[: len(bias)] = bias[:size] != 0
        return allowed

    def accept(self, token: int) -> bool:
        """Whether the form is complete.

        Raises:
            ModelError: the token was not allowed, or the form became too complex to follow.
        """
        if not self._matcher.consume_token(token):
            raise ModelError(f"the form could not be followed: {self._matcher.get_error()[:300]}")
        return bool(self._matcher.is_stopped())
