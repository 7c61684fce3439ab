"""Put a text to be translated into the form of a model that is told languages by codes (NLLB), as tokens.

The source is what the model's encoder reads: language, text, end; in the order that its tokenizer says it was trained
on. The target is one token, with which the translation begins. What strangers write cannot become control tokens.

Not covered: models whose languages are told by other codes than those of FLORES-200 (M2M100, mBART).
"""

import re
from difflib import get_close_matches
from typing import Any, Final

from conductor.domain.errors import InvalidInput, ModelError
from conductor.domain.generation import Generation

_CODE: Final = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_SHOWN: Final = 80


class TranslationPrompts:
    """Prompts of one model.

    Args:
        tokenizer: of transformers, a fast one.
        name: how people call the model.

    Raises:
        ModelError: it knows no such codes.
    """

    def __init__(self, tokenizer: Any, *, name: str) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_vocab()
        self._languages = {str(token): int(at) for token, at in added.items() if _CODE.fullmatch(str(token))}
        if not self._languages or not hasattr(tokenizer, "backend_tokenizer"):
            raise ModelError(
                f"{name} translates, but is not told languages by the codes of FLORES-200; take an NLLB model, "
                "or a chat model, which is asked in words",
                details={"reason": "unknown_architecture"},
            )
        self._ends_with_code = bool(getattr(tokenizer, "legacy_behaviour", False))

    def source(self, asked: Generation) -> list[int]:
        """What the encoder reads.

        Raises:
            InvalidInput: the model cannot be asked like that; the field is named.
        """
        _check_kind(asked)
        if asked.languages is None:
            raise InvalidInput(
                "this model only translates, and must be told from which language into which; ask for the category "
                "`translation` with a target language",
                field="languages",
            )
        code = self._known(asked.languages[0])
        text = self._plain(asked.prompt)
        if not text:
            raise InvalidInput("the prompt is empty; give a text to translate", field="prompt")
        end = int(self._tokenizer.eos_token_id)
        return [*text, end, code] if self._ends_with_code else [code, *text, end]

    def target(self, asked: Generation) -> int:
        """The token with which the translation begins.

        Raises:
            InvalidInput: it is no language of this model.
        """
        assert asked.languages is not None, "`source` is asked first"
        return self._known(asked.languages[1])

    def count(self, asked: Generation) -> int:
        """Tokens of the source, whatever the languages are."""
        return len(self._plain(asked.prompt)) + 2

    def _known(self, code: str) -> int:
        found = self._languages.get(code)
        if found is None:
            near = " or ".join(get_close_matches(code, self._languages, n=2))
            raise InvalidInput(
                f"this model does not know the language {code[:_SHOWN]!r}"
                f"{f'; it knows {near}' if near else ''} (one of {len(self._languages)} FLORES-200 codes)",
                field="languages",
            )
        return found

    def _plain(self, text: str) -> list[int]:
        backend = self._tokenizer.backend_tokenizer
        backend.encode_special_tokens = True  # a stranger's control tokens are letters
        return list(backend.encode(text, add_special_tokens=False).ids)


def _check_kind(asked: Generation) -> None:
    for field, given, what in (
        ("messages", asked.messages, "holds no conversations"),
        ("suffix", asked.suffix, "cannot fill in"),
        ("form", asked.form, "cannot be held to a form"),
        ("tools", asked.tools, "asks for no tools"),
    ):
        if given:
            raise InvalidInput(f"this model translates and {what}; take a chat model for that", field=field)
