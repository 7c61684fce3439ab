"""Tell languages apart with lingua (extra `languages`), restricted to a set, because memory grows with every language.

lingua carries its models with it and goes online for nothing. They are loaded with the first text: for the twelve usual
languages 16 MB in 0.2 s as it is used here, 255 MB in 5 s where it is thorough, which only pays for texts of a few words.
It lets other threads work meanwhile.

Source: https://github.com/pemistahl/lingua-py.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any, Final

from conductor.domain.errors import SettingsError

#: Spoken by many of our users, and few enough for an idle server.
USUAL_LANGUAGES: Final = ("en", "de", "fr", "es", "pt", "it", "nl", "pl", "zh", "ja", "ru", "ar")
_LONGEST_TEXT: Final = 4_000
#: Below this, the best guess is hardly better than the next.
_LEAST_CERTAINTY: Final = 1e-6


class LinguaDetector:
    """The `LanguageDetector` that lingua is.

    Args:
        languages: ISO 639-1 codes to tell apart, at least two.
        thorough: whether all of its models are loaded, instead of those that longer texts need.

    Raises:
        SettingsError: the extra is missing, a code is unknown to lingua, or there are fewer than two.
    """

    def __init__(self, languages: Sequence[str] = USUAL_LANGUAGES, *, thorough: bool = False) -> None:
        if not self.is_installed():
            raise SettingsError("telling languages apart needs an extra: pip install 'conductor[languages]'")
        # By name, so that it is imported when it is used, and not by whoever imports this module.
        self._lingua: Any = importlib.import_module("lingua")
        self._codes = [self._code(language) for language in dict.fromkeys(languages)]
        if len(self._codes) < 2:
            raise SettingsError("languages to tell apart: at least two are needed", field="languages")
        self._thorough = thorough
        self._detector: Any = None

    @staticmethod
    def is_installed() -> bool:
        """Whether the extra is there; imports nothing."""
        return importlib.util.find_spec("lingua") is not None

    def detect(self, text: str) -> tuple[str, float] | None:
        """The likeliest of the languages by the first 4,000 characters, with its probability; None without any word."""
        if self._detector is None:
            builder = self._lingua.LanguageDetectorBuilder.from_iso_codes_639_1(*self._codes)
            self._detector = (builder if self._thorough else builder.with_low_accuracy_mode()).build()
        best = self._detector.compute_language_confidence_values(text[:_LONGEST_TEXT])[0]
        if best.value < _LEAST_CERTAINTY:
            return None
        return best.language.iso_code_639_1.name.lower(), round(min(best.value, 1.0), 4)

    def _code(self, language: str) -> Any:
        found = getattr(self._lingua.IsoCode639_1, language.upper(), None) if len(language) == 2 else None
        if found is None:
            raise SettingsError(f"{language!r} is no ISO 639-1 code that lingua tells apart", field="languages")
        return found
